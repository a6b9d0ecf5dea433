"""How a server keeps an index and is searched; what has no counterpart in a folder."""

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
"""The fusion's pipeline stands in the body of each search."""

INDEX_DEFAULT = "_default"
"""The fusion's pipeline is the one that the index's settings name."""

IN_QUERY = "_fusion"
"""The fusion stands inside the hybrid query; no pipeline."""

KnnEngine = Literal["lucene", "faiss"]
Compression = Literal["2x", "4x", "8x", "16x", "32x"]

COMPRESSIONS: Mapping[KnnEngine, tuple[Compression, ...]] = {
    "lucene": ("4x", "32x"),
    "faiss": ("2x", "8x", "16x", "32x"),
}
"""What each k-NN engine offers; 32x of lucene from server 3.6 on."""

_LIMITS = {"shards": (1, 1_024), "m": (2, 512), "ef_construction": (2, 4_096)}
_REPLICAS = re.compile(r"\d{1,3}(-(\d{1,3}|all))?")


class ServerOptions(Setting, frozen=True):
    """How a server keeps an index. None: the default for a new index, and whatever it is for one that is there.

    :ivar shards: default 1.
    :ivar replicas: copies beside the first: a number, or fewest and most as ``0-1`` (the default): as many as the
        nodes allow.
    :ivar knn_engine: default ``lucene``; named in every index, since servers change their default.
    :ivar m: HNSW's links of a node, default 16.
    :ivar ef_construction: how many neighbours HNSW looks at to find a node's links, default 100.
    :ivar compression: how much smaller vectors are kept: of ``COMPRESSIONS`` what the k-NN engine has; none by default.
    :ivar on_disk: search the compressed vectors, and rank what was found again by the whole ones from disk.
    """

    shards: int | None = None
    replicas: str | None = None
    knn_engine: KnnEngine | None = None
    m: int | None = None
    ef_construction: int | None = None
    compression: Compression | None = None
    on_disk: bool | None = None

    def check(self) -> None:
        """Check ranges, and that the k-NN engine compresses so."""
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
        """Return what was asked for, by name."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How an index on a server is searched.

    :ivar pipeline: how the server learns a hybrid's fusion: :data:`INLINE`, :data:`INDEX_DEFAULT`, :data:`IN_QUERY`
        (which a cluster must allow), or the name of a stored search pipeline. What the server has must be the fusion
        asked for; another one is an error.
    :ivar partial: is told when shards gave no answer or not in time, and the hits of the others are returned; None:
        such a search is an error.
    :ivar explain: hits say what each leg contributed, as with a folder. The legs are asked for beside the hybrid query,
        which takes the server about half as long again; False leaves them out of the hits.
    :ivar in_cluster: queries are sent as texts, and the query tower that ``deploy`` put into the cluster encodes them:
        no tower is fetched or run here.
    :ivar log_queries: have each answered query written to the index NAME-queries, in the background: its ``text``, or
        a ``hash`` of it that only the holder of a key can make.
    """

    pipeline: str = INLINE
    partial: Callable[[str], None] | None = None
    explain: bool = True
    in_cluster: bool = False
    log_queries: Literal["", "text", "hash"] = ""

    def __post_init__(self) -> None:
        # A misspelt "hash" must not log texts.
        if self.log_queries not in ("", "text", "hash"):
            raise ConfigError(f"log_queries is {shown(self.log_queries)}; it must be text, hash, or empty for no log")
        check_types(self)
