"""Options for storing and searching an index on a server, which do not apply to a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

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

_LIMITS = {"shards": (1, 1_024), "m": (2, 512), "ef_construction": (2, 4_096)}
_REPLICAS = re.compile(r"\d{1,3}(-(\d{1,3}|all))?")


class ServerOptions(Setting, frozen=True):
    """How a server stores an index. None means the default for a new index, and any value for an existing one.

    :ivar shards: number of shards, default 1.
    :ivar replicas: additional copies: a number, or least and most such as ``0-1`` (the default), of which the server
        makes as many as its nodes allow.
    :ivar knn_engine: default ``lucene``; stored in every index, as the default of servers changes.
    :ivar m: HNSW's links per node, default 16.
    :ivar ef_construction: number of neighbours that HNSW examines to find a node's links, default 100.
    :ivar compression: factor by which vectors are compressed, one of ``COMPRESSIONS``; none by default.
    :ivar on_disk: search the compressed vectors, and rescore the result with the full vectors from disk.
    """

    shards: int | None = None
    replicas: str | None = None
    knn_engine: KnnEngine | None = None
    m: int | None = None
    ef_construction: int | None = None
    compression: Compression | None = None
    on_disk: bool | None = None

    def check(self) -> None:
        """Check ranges, and that the k-NN engine supports the compression."""
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigError(f"{name} is {value}; it must be from {least} to {most}")
        if self.replicas is not None and not _REPLICAS.fullmatch(self.replicas):
            raise ConfigError(f"replicas is {self.replicas!r}; it must be a number, or fewest and most such as 0-1")
        engine = self.knn_engine or "lucene"
        if engine not in COMPRESSIONS:
            raise ConfigError(f"knn_engine is {engine!r}; it must be one of {', '.join(get_args(KnnEngine))}")
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

    :ivar pipeline: how the fusion of a hybrid query is sent: :data:`INLINE`, :data:`INDEX_DEFAULT`, :data:`IN_QUERY`
        (which the cluster must allow), or the name of a stored search pipeline. A stored pipeline that computes another
        fusion is an error.
    :ivar partial: called with a message if shards failed or timed out; the hits of the others are then returned. None:
        such a search is an error.
    :ivar explain: hits have their legs, as with a folder. The legs are searched in addition to the hybrid query, which
        takes the server about half as long again; False leaves them out.
    :ivar in_cluster: queries are sent as texts and encoded by the query tower that ``deploy`` put into the cluster, so
        that no tower is downloaded or run here.
    :ivar log_queries: write each answered query to the index NAME-queries in the background: its ``text``, or a keyed
        ``hash`` of it; empty for no log.
    """

    pipeline: str = INLINE
    partial: Callable[[str], None] | None = None
    explain: bool = True
    in_cluster: bool = False
    log_queries: Literal["", "text", "hash"] = ""

    def __post_init__(self) -> None:
        # Checked first: a misspelt "hash" must never log texts.
        if self.log_queries not in ("", "text", "hash"):
            raise ConfigError(f"log_queries is {shown(self.log_queries)}; it must be text, hash, or empty for no log")
        check_types(self)
