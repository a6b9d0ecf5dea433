"""The OpenSearch engine: an index on a server, searched and fused there."""

from hybrid_search.engines.opensearch.engine import OpenSearchEngine
from hybrid_search.location import SCHEMES

__all__ = ["SCHEMES", "OpenSearchEngine"]
