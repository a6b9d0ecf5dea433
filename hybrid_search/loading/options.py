"""Options of a load, and which of them contradict one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hybrid_search.errors import UsageError
from hybrid_search.loading.into_server import ServerLoad
from hybrid_search.opening import is_on_server
from hybrid_search.settings.base import check_types
from hybrid_search.settings.index import Bm25, FieldType, Fusion
from hybrid_search.settings.server import ServerOptions

__all__ = ["LoadOptions", "check_options"]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options of a load. For a new index, None means the model's fitted value, or else the default.

    :ivar recreate: replace an existing index. One in a folder is replaced when the load has succeeded, and otherwise
        stays; one on a server is deleted after the arguments were checked and a first document was read.
    :ivar lexical_only: make an index without vectors, for BM25 alone.
    :ivar total: number of documents, if known; for the estimate of the remaining time.
    :ivar server: how to load into a server.
    :ivar language: whose words BM25 tells apart, one of ``hybrid_search.analysis.languages()``. None for what the
        first documents of a new index seem to have (``hybrid_search.analysis.seen_in``).
    :ivar weigh: choose the weights of the legs for a new index whose model asks for it; False leaves that to the
        next load that does.
    :ivar layout: the server's options of a new index.
    :ivar pipeline: store the index's fusion on the server as a search pipeline of this name.
    :ivar default_pipeline: make that the default of searches without a pipeline.
    """

    bm25: Bm25 | None = None
    fusion: Fusion | None = None
    faiss: str | None = None
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    language: str | None = None
    recreate: bool = False
    lexical_only: bool = False
    weigh: bool = True
    threads: int = 0
    total: int | None = None
    server: ServerLoad = field(default_factory=ServerLoad)
    layout: ServerOptions = field(default_factory=ServerOptions)
    pipeline: str = ""
    default_pipeline: bool = False

    def __post_init__(self) -> None:
        check_types(self)


def check_options(location: str | Path, options: LoadOptions) -> None:
    """Check options that a data class can't: those that depend on the location and on one another.

    :raises UsageError: with advice.
    """
    if options.server.resume and options.recreate:
        raise UsageError("resume and recreate contradict one another; give one of them")
    if not is_on_server(location) and options.server != ServerLoad(source=options.server.source):
        raise UsageError(
            f"{location}: resume, connections, without_replicas, force_merge and warm_up are for an index on a server; "
            f"a load into a folder goes on by itself when it is run again"
        )
    if is_on_server(location) and options.faiss is not None:
        raise UsageError(
            f"{location}: faiss names the embedded engine's index; a server is told by knn_engine, m, ef_construction, "
            f"compression and on_disk"
        )
    of_server = [*options.layout.asked(), *(["pipeline"] if options.pipeline or options.default_pipeline else [])]
    if not is_on_server(location) and of_server:
        raise UsageError(f"{location}: {', '.join(of_server)}: for an index on a server; leave them out for a folder")
    if options.default_pipeline and not options.pipeline:
        raise UsageError("default_pipeline needs the pipeline's name; give pipeline=NAME too")
