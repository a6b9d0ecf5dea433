"""One seam over system calls: a child is watched, killed or failed at each step that changes a disk or sends."""
