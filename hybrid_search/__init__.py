"""A hybrid retriever for OpenSearch: BM25 plus RNN two-tower vectors that you train on your own data."""

__version__ = "0.1.0"
