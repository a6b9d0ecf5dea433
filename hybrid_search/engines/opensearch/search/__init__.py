"""Searching an index on a server: requests and answers are pure; nothing here opens a connection."""
