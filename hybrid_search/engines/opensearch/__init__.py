"""The OpenSearch engine: an index on a server, searched and fused there."""

from hybrid_search.engines.opensearch.engine import OpenSearchEngine

__all__ = ["OpenSearchEngine"]
