"""One index on a server: its template, notes, aliases, capabilities, documents as JSON, and what stands beside it."""
