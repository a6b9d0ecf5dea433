"""A hybrid retriever for OpenSearch: BM25 plus RNN two-tower vectors that you train on your own data.

The names in ``__all__`` are the public interface; modules behind them may move.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hybrid_search.telemetry import switch_off

if TYPE_CHECKING:
    from hybrid_search.api import backup, create, load, load_in_sync, open, restore, sweep, train
    from hybrid_search.engines.opensearch.transport import Connection
    from hybrid_search.errors import (
        AccessDenied,
        CollapsedTowers,
        ConfigError,
        CorruptIndex,
        CorruptModel,
        DataError,
        DatasetNotFound,
        FilterError,
        HybridSearchError,
        IndexExists,
        IndexLocked,
        IndexNotFound,
        MissingExtra,
        ModelError,
        ModelMismatch,
        ModelNotFound,
        Overloaded,
        PartialAlias,
        RecordsRejected,
        RerankingFailed,
        ResumeMismatch,
        SearchIndexError,
        StorageError,
        TrainingError,
        UnfitIndex,
        Unreachable,
        UnsupportedCapability,
        UsageError,
    )
    from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms
    from hybrid_search.loaders import Allowance, open_dataset, rejecting
    from hybrid_search.loading.load import LoadOptions, LoadReport, ServerLoad
    from hybrid_search.loading.sync import Synced
    from hybrid_search.protocols import Dataset, Reranker
    from hybrid_search.retrieval.adding import AddReport
    from hybrid_search.retrieval.async_retriever import AsyncRetriever
    from hybrid_search.retrieval.reranking import CrossEncoderReranker
    from hybrid_search.retrieval.retriever import Retriever
    from hybrid_search.search import Mode
    from hybrid_search.service import create_app
    from hybrid_search.settings.index import Bm25, Fusion
    from hybrid_search.settings.server import SearchOptions, ServerOptions
    from hybrid_search.settings.service import ServiceOptions
    from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
    from hybrid_search.towers.coverage import pieces_of
    from hybrid_search.training.request import DataSource, TrainRequest, TrainSummary
    from hybrid_search.training.sweep.run import SweepReport, SweepRequest
    from hybrid_search.training.teacher.vector_store import write_vectors
    from hybrid_search.types import (
        Document,
        Example,
        Highlights,
        Hit,
        Judgement,
        Leg,
        Matches,
        Query,
        Ranking,
        Rejection,
    )

__version__ = "0.1.0"

__all__ = [
    "AccessDenied", "AddReport", "Allowance", "And", "AsyncRetriever", "Bm25", "CollapsedTowers", "ConfigError",
    "Connection", "CorruptIndex", "CorruptModel", "CrossEncoderReranker", "DataError", "DataSource", "Dataset",
    "DatasetNotFound", "Document", "Example", "Exists", "Filter", "FilterError", "Fusion", "Highlights", "Hit",
    "HybridSearchError", "IndexExists", "IndexLocked", "IndexNotFound", "Judgement", "Leg", "LoadOptions", "LoadReport",
    "Matches", "MissingExtra", "Mode", "ModelError", "ModelMismatch", "ModelNotFound", "Not", "Or", "Overloaded",
    "PartialAlias", "Query", "Range", "Ranking", "RecordsRejected", "Rejection", "Reranker", "RerankingFailed",
    "ResumeMismatch", "Retriever", "SearchIndexError", "SearchOptions", "ServerLoad", "ServerOptions", "ServiceOptions",
    "StorageError", "SweepReport", "SweepRequest", "Synced", "Term", "Terms", "TowerConfig", "TrainConfig",
    "TrainRequest", "TrainSummary", "TrainingError", "UnfitIndex", "Unreachable", "UnsupportedCapability", "UsageError",
    "WordVectorConfig", "__version__", "backup", "create", "create_app", "load", "load_in_sync", "open", "open_dataset",
    "pieces_of", "rejecting", "restore", "sweep", "train", "write_vectors",
]  # fmt: skip

switch_off()

# Where each public name lives; imported when it is first used (PEP 562), so that the package imports nothing else.
_NAMES = {
    "hybrid_search.api": ("backup", "create", "load", "load_in_sync", "open", "restore", "sweep", "train"),
    "hybrid_search.retrieval.adding": ("AddReport",),
    "hybrid_search.retrieval.async_retriever": ("AsyncRetriever",),
    "hybrid_search.settings.index": ("Bm25", "Fusion"),
    "hybrid_search.engines.opensearch.transport": ("Connection",),
    "hybrid_search.errors": (
        "AccessDenied", "CollapsedTowers", "ConfigError", "CorruptIndex", "CorruptModel", "DataError",
        "DatasetNotFound", "FilterError", "HybridSearchError", "IndexExists", "IndexLocked", "IndexNotFound",
        "MissingExtra", "ModelError", "ModelMismatch", "ModelNotFound", "Overloaded", "PartialAlias",
        "RecordsRejected", "RerankingFailed", "ResumeMismatch", "SearchIndexError", "StorageError", "TrainingError",
        "UnfitIndex", "Unreachable", "UnsupportedCapability", "UsageError",
    ),
    "hybrid_search.filters": ("And", "Exists", "Filter", "Not", "Or", "Range", "Term", "Terms"),
    "hybrid_search.protocols": ("Dataset", "Reranker"),
    "hybrid_search.retrieval.reranking": ("CrossEncoderReranker",),
    "hybrid_search.retrieval.retriever": ("Retriever",),
    "hybrid_search.search": ("Mode",),
    "hybrid_search.service": ("create_app",),
    "hybrid_search.settings.server": ("SearchOptions", "ServerOptions"),
    "hybrid_search.settings.service": ("ServiceOptions",),
    "hybrid_search.settings.training": ("TowerConfig", "TrainConfig", "WordVectorConfig"),
    "hybrid_search.towers.coverage": ("pieces_of",),
    "hybrid_search.training.teacher.vector_store": ("write_vectors",),
    "hybrid_search.types": (
        "Document", "Example", "Highlights", "Hit", "Judgement", "Leg", "Matches", "Query", "Ranking", "Rejection",
    ),
    "hybrid_search.loading.load": ("LoadOptions", "LoadReport", "ServerLoad"),
    "hybrid_search.loading.sync": ("Synced",),
    "hybrid_search.training.request": ("DataSource", "TrainRequest", "TrainSummary"),
    "hybrid_search.training.sweep.run": ("SweepReport", "SweepRequest"),
    "hybrid_search.loaders": ("Allowance", "open_dataset", "rejecting"),
}  # fmt: skip

_HOMES = {name: module for module, names in _NAMES.items() for name in names}

if not TYPE_CHECKING:  # to a type checker, a name that is not above is an error

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'hybrid_search' has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found


def __dir__() -> list[str]:
    return __all__
