"""The embedded engine: SQLite is the truth, tantivy and FAISS are caches."""
