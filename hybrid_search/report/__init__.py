"""A report: what trainings, evaluations and benchmarks wrote, as one HTML file and as pictures."""
