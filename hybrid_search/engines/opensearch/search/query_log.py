"""The query log of an index on a server: each answered query as an entry of the index NAME-queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from time import perf_counter
from typing import Any

from hybrid_search.engines.opensearch.index.aliases import Place
from hybrid_search.engines.opensearch.index.side_index import BackgroundWriter, CompanionIndex
from hybrid_search.engines.opensearch.search.explanation import rankings_behind
from hybrid_search.engines.opensearch.search.keyed_hash import hash_key, keyed_hash
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.types import Hit

__all__ = ["Moment", "QueryLog", "Source", "entries_of"]

_TOP = 10
_LONGEST_TEXT = 1_000


class QueryLog:
    """Writes searches from a thread of its own; see :class:`BackgroundWriter` for what fails.

    :param place: of the index that answers; the log's name is that by which it was asked for, perhaps an alias.
    :param settings: that the index carries.
    :param hash_texts: write keyed hashes of the texts instead of the texts, and no ids of what was found.
    :raises ConfigError: as :func:`~hybrid_search.engines.opensearch.search.keyed_hash.hash_key`.
    """

    def __init__(self, place: Place, settings: IndexSettings, *, hash_texts: bool = False) -> None:
        self._key = hash_key() if hash_texts else None
        self._source = Source(place.address.index, settings.fingerprint)
        self._writer = BackgroundWriter(CompanionIndex(place.asked, "queries", patient=False))

    def note(self, search: Search, hits: Sequence[Sequence[Hit]], took: int | None) -> None:
        """Have an answered search written.

        :param took: the server's milliseconds; None where it was asked nothing.
        """
        moment = Moment(datetime.now(UTC), took, perf_counter() - search.began)
        self._writer.put(lambda: entries_of(search, hits, self._source, moment, self._key))

    def close(self) -> None:
        """Write what waits, for a few seconds at most."""
        self._writer.close()


@dataclass(frozen=True, slots=True)
class Source:
    """What answered: an index by its own name, and the model of its vectors."""

    index: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Moment:
    """When a search ended, and how long it took.

    :ivar took: the server's milliseconds; None where it was asked nothing.
    :ivar seconds: all of the call's, encoding and the texts of the hits included.
    """

    time: datetime
    took: int | None
    seconds: float


def entries_of(
    search: Search, hits: Sequence[Sequence[Hit]], source: Source, moment: Moment, key: bytes | None = None
) -> Iterator[dict[str, Any]]:
    """Make the entries of a call, one for each query that is not blank.

    ``overlap_*`` counts the documents that two of the top tens share; they and ``top_*`` are there where a hybrid
    search found something and told its legs.

    :param hits: of each query.
    :param key: hash the texts with it.
    """
    common = {
        "time": moment.time.isoformat(timespec="milliseconds"),
        "index": source.index,
        "fingerprint": source.fingerprint or None,
        "mode": search.mode,
        **_fusion_of(search.fusion),
        "k": search.k,
        "offset": search.offset,
        "filtered": search.filter is not None,
        "batch": len(search.texts),
        "took_ms": moment.took,
        "client_ms": round(moment.seconds * 1_000, 3),
    }
    for query, found in zip(search.texts, hits, strict=True):
        if not query.strip():
            continue
        text = _text(query) if key is None else {"text_hash": keyed_hash(query, key)}
        entry = {
            **common,
            **text,
            "words": len(query.split()),
            "hits": len(found),
            "zero_results": not found and not search.offset,
            **_legs(found, with_ids=key is None),
        }
        yield {name: value for name, value in entry.items() if value is not None}


def _named(fusion: Fusion) -> str:
    """Name how legs are joined, without the weights."""
    return f"rrf {fusion.rank_constant}" if fusion.method == "rrf" else f"{fusion.method} {fusion.combination}"


def _fusion_of(fusion: Fusion | None) -> dict[str, Any]:
    return {} if fusion is None else {"fusion": _named(fusion), "bm25_weight": fusion.weights[0]}


def _text(query: str) -> dict[str, str]:
    return {"text": query[:_LONGEST_TEXT].encode("utf-8", "replace").decode()}


def _legs(hits: Sequence[Hit], *, with_ids: bool) -> Mapping[str, Any]:
    told = rankings_behind(hits, _TOP)
    if told is None:
        return {}
    tops = {name: ranking.ids[:_TOP] for name, ranking in told.items()}
    shared = {f"overlap_{one}_{other}": len(set(tops[one]) & set(tops[other])) for one, other in combinations(tops, 2)}
    ids = {f"top_{name}": list(top) for name, top in tops.items()} if with_ids else {}
    return {"bm25_hits": len(told["bm25"]), "knn_hits": len(told["knn"]), **shared, **ids}
