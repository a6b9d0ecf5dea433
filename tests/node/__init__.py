"""A real OpenSearch server for the tests and for ``make opensearch``."""
