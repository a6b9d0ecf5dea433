"""Options for storing and searching an index on a server, which do not apply to a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from hybrid_search.errors import ConfigError, shown
from hybrid_search.settings.base import Setting, check_types

__all__ = [
    "COMPRESSIONS",
    "INDEX_DEFAULT",
    "INLINE",
    "IN_QUERY",
    "Compression",
    "KnnEngine",
    "SearchOptions",
    "ServerOptions",
]

INLINE = "_inline"
"""Each search contains its search pipeline."""

INDEX_DEFAULT = "_default"
"""Searches use the index's default search pipeline."""

IN_QUERY = "_fusion"
"""The hybrid query contains the fusion; there is no search pipeline."""

KnnEngine = Literal["lucene", "faiss"]
Compression = Literal["2x", "4x", "8x", "16x", "32x"]

COMPRESSIONS: Mapping[KnnEngine, tuple[Compression, ...]] = {
    "lucene": ("4x", "32x"),
    "faiss": ("2x", "8x", "16x", "32x"),
}
"""Compressions of each k-NN engine; 32x of lucene needs a server of version 3.6."""

_LEVELS = "; ".join(f"{engine}: {', '.join(levels)}" for engine, levels in COMPRESSIONS.items())
_REPLICAS = r"\A\d{1,3}(-(\d{1,3}|all))?\Z"


class ServerOptions(Setting, frozen=True):
    """How a server stores an index. None means the default for a new index, and any value for an existing one."""

    shards: Annotated[int, Meta(ge=1, le=1_024, description="Shards of an index.", extra={"default": "1"})] | None = (
        None
    )
    replicas: (
        Annotated[
            str,
            Meta(
                pattern=_REPLICAS,
                title="a number, or fewest and most such as 0-1",
                description="Additional copies of a shard, as many as the nodes allow: a number, or fewest and most.",
                extra={"default": "0-1"},
            ),
        ]
        | None
    ) = None
    knn_engine: (
        Annotated[
            KnnEngine, Meta(description="The server's k-NN engine, stored in every index.", extra={"default": "lucene"})
        ]
        | None
    ) = None
    m: Annotated[int, Meta(ge=2, le=512, description="HNSW's links per node.", extra={"default": "16"})] | None = None
    ef_construction: (
        Annotated[
            int,
            Meta(
                ge=2,
                le=4_096,
                description="Neighbours that HNSW examines to find a node's links.",
                extra={"default": "100"},
            ),
        ]
        | None
    ) = None
    compression: Annotated[Compression, Meta(description=f"Keep vectors smaller ({_LEVELS}).")] | None = None
    on_disk: (
        Annotated[
            bool,
            Meta(description="Search the compressed vectors, and rescore the result with the full vectors from disk."),
        ]
        | None
    ) = None

    def check(self) -> None:
        """Check that the k-NN engine supports the compression."""
        engine = self.knn_engine or "lucene"
        if self.compression is not None and self.compression not in COMPRESSIONS[engine]:
            raise ConfigError(
                f"compression is {self.compression}; the k-NN engine {engine} has {', '.join(COMPRESSIONS[engine])}"
            )

    def asked(self) -> dict[str, Any]:
        """Return the options that were given: name -> value."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How an index on a server is searched.

    :ivar pipeline: :data:`INLINE`, :data:`INDEX_DEFAULT`, :data:`IN_QUERY` (which a cluster must allow), or the name of
        a stored search pipeline. A stored pipeline that computes another fusion is an error.
    :ivar partial: called with a message if shards failed or timed out; the hits of the others are then returned. None:
        such a search is an error.
    :ivar explain: the legs are searched in addition to the hybrid query, which takes the server half as long again.
    """

    pipeline: Annotated[
        str,
        Meta(
            title="_inline, _default, _fusion or a name",
            description="How the fusion of a hybrid query is sent: in each request, as the index's default search "
            "pipeline, inside the query (from 3.10), or as a stored search pipeline.",
        ),
    ] = INLINE
    partial: Callable[[str], None] | None = None
    explain: Annotated[bool, Meta(description="Hits have their legs, as with a folder.")] = True
    in_cluster: Annotated[
        bool, Meta(description="Send queries as texts; the query tower that deploy put into the cluster encodes them.")
    ] = False
    log_queries: Annotated[
        Literal["", "text", "hash"],
        Meta(
            description="Write each answered query to the index NAME-queries: its text, or a keyed hash of it; empty "
            "for no log."
        ),
    ] = ""

    def __post_init__(self) -> None:
        # Checked first: a misspelt "hash" must never log texts.
        if self.log_queries not in ("", "text", "hash"):
            raise ConfigError(f"log_queries is {shown(self.log_queries)}; it must be text, hash, or empty for no log")
        check_types(self)
