"""One script a question; each writes a file under ``benchmarks/results/`` with machine, versions, seed and date."""
