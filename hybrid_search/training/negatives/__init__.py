"""Hard negatives: mined, kept in a file, drawn for each step."""
