"""Writing to an index on a server: bulk requests, pacing, and settings changed during a load."""

from hybrid_search.engines.opensearch.writing.load_settings import GRAPH_THRESHOLD, OLD_NOTE, REFRESH, settable
from hybrid_search.engines.opensearch.writing.writer import Prepared

__all__ = [
    "GRAPH_THRESHOLD",
    "OLD_NOTE",
    "REFRESH",
    "Prepared",
    "settable",
]
