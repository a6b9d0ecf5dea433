"""A hybrid retriever for OpenSearch: BM25 plus RNN two-tower vectors that you train on your own data."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hybrid_search.telemetry import switch_off

if TYPE_CHECKING:
    from hybrid_search.api import load, open, train
    from hybrid_search.async_retriever import AsyncRetriever
    from hybrid_search.engines.opensearch.connection import Connection
    from hybrid_search.errors import HybridSearchError
    from hybrid_search.retriever import Retriever
    from hybrid_search.server_options import SearchOptions, ServerOptions
    from hybrid_search.types import Document, Example, Hit, Judgement, Query

__version__ = "0.1.0"

__all__ = [
    "AsyncRetriever",
    "Connection",
    "Document",
    "Example",
    "Hit",
    "HybridSearchError",
    "Judgement",
    "Query",
    "Retriever",
    "SearchOptions",
    "ServerOptions",
    "__version__",
    "load",
    "open",
    "train",
]

switch_off()

# Where each public name lives; imported when it is first used (PEP 562), so that the package imports nothing else.
_HOMES = {
    "api": ("load", "open", "train"),
    "errors": ("HybridSearchError",),
    "async_retriever": ("AsyncRetriever",),
    "engines.opensearch.connection": ("Connection",),
    "retriever": ("Retriever",),
    "server_options": ("SearchOptions", "ServerOptions"),
    "types": ("Document", "Example", "Hit", "Judgement", "Query"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"hybrid_search.{module}"), name)
    raise AttributeError(f"module 'hybrid_search' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
