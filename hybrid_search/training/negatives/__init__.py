"""Hard negatives: mining them, their file, and drawing them for each step."""
