"""What is stored: the SQLite tables, the folder's files and their checksums, and who may write."""
