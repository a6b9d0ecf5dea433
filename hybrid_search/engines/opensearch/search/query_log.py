"""The query log of an index on a server: each answered query becomes an entry of the index NAME-queries.

If the texts must not be stored, a hash takes the place of each. A plain hash would not be secret, as queries are easy
to guess and a guess can be checked. With a key (HMAC-SHA-256) that is not stored beside the hashes, equal texts still
have equal hashes, and nothing else can be learned.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import Any

from hybrid_search.engines.opensearch.index.aliases import Place
from hybrid_search.engines.opensearch.index.side_index import BackgroundWriter, CompanionIndex
from hybrid_search.engines.opensearch.search.explanation import rankings_behind
from hybrid_search.errors import ConfigError
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.storage import cache_folder, disk_errors
from hybrid_search.types import Hit, normalise_text

__all__ = ["KEY_VARIABLE", "Moment", "QueryLog", "Source", "entries_of", "hash_key", "keyed_hash"]


_TOP = 10
_LONGEST_TEXT = 1_000


class QueryLog:
    """Writes searches from a background thread; see :class:`BackgroundWriter` for failures.

    :param place: the index that answers; the log is named after the address used, perhaps an alias.
    :param settings: the index's settings.
    :param hash_texts: write keyed hashes of the texts instead of the texts, and no ids of documents.
    :raises ConfigError: as :func:`~hybrid_search.engines.opensearch.search.query_log.hash_key`.
    """

    def __init__(self, place: Place, settings: IndexSettings, *, hash_texts: bool = False) -> None:
        self._key = hash_key() if hash_texts else None
        self._source = Source(place.address.index, settings.fingerprint)
        self._writer = BackgroundWriter(CompanionIndex(place.asked, "queries", patient=False))

    def note(self, search: Search, hits: Sequence[Sequence[Hit]], took: int | None) -> None:
        """Queue an answered search for writing.

        :param took: the server's milliseconds; None if nothing was sent.
        """
        moment = Moment(datetime.now(UTC), took, perf_counter() - search.began)
        self._writer.put(lambda: entries_of(search, hits, self._source, moment, self._key))

    def close(self) -> None:
        """Write queued entries, for a few seconds at most."""
        self._writer.close()


@dataclass(frozen=True, slots=True)
class Source:
    """What answered: the index's own name, and the fingerprint of its model."""

    index: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Moment:
    """When a search ended, and how long it took.

    :ivar took: the server's milliseconds; None if nothing was sent.
    :ivar seconds: of the whole call, including encoding and fetching texts.
    """

    time: datetime
    took: int | None
    seconds: float


def entries_of(
    search: Search, hits: Sequence[Sequence[Hit]], source: Source, moment: Moment, key: bytes | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the entries of a call, one for each query that is not blank.

    ``overlap_*`` counts the documents common to two of the top-10 lists; it and ``top_*`` are present if a hybrid
    search has hits and its legs are known.

    :param hits: the hits of each query.
    :param key: if given, texts are hashed with it.
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
    """Return the name of the fusion's method, without the weights."""
    return f"rrf {fusion.rank_constant}" if fusion.method == "rrf" else f"{fusion.method} {fusion.combination}"


def _fusion_of(fusion: Fusion | None) -> dict[str, Any]:
    return {} if fusion is None else {"fusion": _named(fusion), "bm25_weight": fusion.weights[0]}


def _text(query: str) -> dict[str, str]:
    return {"text": query[:_LONGEST_TEXT].encode("utf-8", "replace").decode()}


def _legs(hits: Sequence[Hit], *, with_ids: bool) -> Mapping[str, Any]:
    rankings = rankings_behind(hits, _TOP)
    if rankings is None:
        return {}
    tops = {name: ranking.ids[:_TOP] for name, ranking in rankings.items()}
    shared = {f"overlap_{one}_{other}": len(set(tops[one]) & set(tops[other])) for one, other in combinations(tops, 2)}
    ids = {f"top_{name}": list(top) for name, top in tops.items()} if with_ids else {}
    return {"bm25_hits": len(rankings["bm25"]), "knn_hits": len(rankings["knn"]), **shared, **ids}


KEY_VARIABLE = "HYBRID_SEARCH_LOG_KEY"
"""Environment variable of the key, for several machines whose hashes should agree."""

_DIGITS = 32
_KEY_BYTES = 32
_SHORTEST = 16


def keyed_hash(text: str, key: bytes) -> str:
    """Return 32 hexadecimal digits for a text; independent of its Unicode form, case and white space."""
    normalised = normalise_text(text).encode("utf-8", "surrogatepass")
    return hmac.new(key, normalised, hashlib.sha256).hexdigest()[:_DIGITS]


def hash_key() -> bytes:
    """Return the user's key: from the environment, else from a file in the cache folder, created if missing.

    :raises ConfigError: if the environment's key has fewer than 16 characters, and could be guessed.
    :raises StorageError: if the file can't be read or created.
    """
    if given := os.environ.get(KEY_VARIABLE):
        if len(given) < _SHORTEST:
            raise ConfigError(f"{KEY_VARIABLE} has {len(given)} characters; give at least {_SHORTEST} random ones")
        return given.encode("utf-8", "surrogateescape")
    file = cache_folder("query-log") / "key"
    with disk_errors(f"the key of hashed queries in {file}"):
        if not file.exists():
            _make(file)
        return bytes.fromhex(file.read_text(encoding="ascii"))


def _make(file: Path) -> None:
    """Write a new key, readable by its owner only; if another process was faster, its key stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as written:
            written.write(secrets.token_hex(_KEY_BYTES))
        try:
            os.link(part, file)
        except FileExistsError:
            return
    finally:
        part.unlink()
