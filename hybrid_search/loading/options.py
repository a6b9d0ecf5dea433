"""Options of a load, and which of them contradict one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from hybrid_search.analysis import language_of
from hybrid_search.errors import UsageError
from hybrid_search.loading.into_server import ServerLoad
from hybrid_search.opening import is_on_server
from hybrid_search.settings.base import check_types
from hybrid_search.settings.index import Bm25, FieldType, Fusion, IndexSettings
from hybrid_search.settings.server import ServerOptions

__all__ = ["LoadOptions", "check_options", "taken_over", "told"]

_SEEN = ("en", "cjk", "any")  # languages that a load may have chosen by the first texts


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options of a load. For a new index, None means the model's fitted value, or else the default.

    :ivar recreate: replace an existing index. One in a folder is replaced when the load has succeeded, and otherwise
        stays; one on a server is deleted after the arguments were checked and a first document was read. What the old
        one was declared with is taken over unless these options say otherwise (:func:`taken_over`).
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
    threads: Annotated[int, Meta(ge=0, le=1_024)] = 0
    total: int | None = None
    server: ServerLoad = field(default_factory=ServerLoad)
    layout: ServerOptions = field(default_factory=ServerOptions)
    pipeline: str = ""
    default_pipeline: bool = False

    def __post_init__(self) -> None:
        check_types(self)

    def beyond(self, others: LoadOptions) -> dict[str, FieldType]:
        """Return the metadata fields that these options declare and the others don't."""
        return {name: kind for name, kind in self.fields.items() if name not in others.fields}


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


def taken_over(options: LoadOptions, old: IndexSettings, new: IndexSettings) -> LoadOptions:
    """Add to a new index's options what the index that it replaces was declared with; given options go first.

    Types of metadata fields that values have declared are not taken over, nor is a language that texts have, so that
    other documents may have others. The fusion is taken over for the same towers only.

    :param old: the settings of the replaced index.
    :param new: the settings that the options alone give.
    """
    language, is_same_model = language_of(old.analyzer), old.fingerprint == new.fingerprint
    changes: dict[str, Any] = {"fields": {**old.declared_fields, **options.fields}}
    if options.language is None and ("language" in old.declared or language not in _SEEN):
        changes["language"] = language
    if options.bm25 is None and old.bm25 != new.bm25 and ("bm25" in old.declared or is_same_model):
        changes["bm25"] = old.bm25
    if options.fusion is None and "fusion" in old.declared and is_same_model:
        changes["fusion"] = old.fusion
    if options.faiss is None and old.faiss != new.faiss and old.dimension == new.dimension:
        changes["faiss"] = old.faiss
    return replace(options, **changes)


def told(before: LoadOptions, after: LoadOptions) -> tuple[str, ...]:
    """Return what was taken over, for display."""
    fields = [f"field {name} {kind}" for name, kind in after.beyond(before).items()]
    others = {
        "language": after.language,
        "BM25": after.bm25 and f"k1 {after.bm25.k1:g} b {after.bm25.b:g}",
        "faiss": after.faiss,
        "fusion": after.fusion and "{} {:g}/{:g}".format(after.fusion.method, *after.fusion.weights),
    }
    given = {"language": before.language, "BM25": before.bm25, "faiss": before.faiss, "fusion": before.fusion}
    layout = [f"{n} {v}" for n, v in after.layout.asked().items() if n not in before.layout.asked()]
    values = [f"{name} {value}" for name, value in others.items() if value is not None and given[name] is None]
    return (*fields, *values, *layout)
