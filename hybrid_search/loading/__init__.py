"""Loading documents into an index, and reindexing: encode, add, commit, check, move the alias."""
