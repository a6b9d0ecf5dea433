"""Disks that are full, read-only or broken, files that are damaged, and memory that is out."""
