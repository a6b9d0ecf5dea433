"""Reads a server's answers. Pure: JSON in, records or an error out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from hybrid_search.engines.opensearch.index.document_json import from_source
from hybrid_search.engines.opensearch.transport.failures import failure, reason_of, taken_apart
from hybrid_search.errors import SearchIndexError
from hybrid_search.types import Document, Ranking

__all__ = [
    "UNKNOWN",
    "Counted",
    "Found",
    "Pairs",
    "Partial",
    "checked",
    "counted",
    "documents",
    "found",
    "hits_of",
    "is_zero_vector",
    "leg_later",
    "leg_of",
    "pairs_of",
    "ranking",
    "ranking_of",
    "refuse_partial",
    "searches",
]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_ZERO_VECTOR = "zero vector is not supported"
"""Part of a server's message about a zero vector with cosine similarity."""

_SENTINEL = -1e9
"""Hybrid queries that were not fused by a pipeline have scores far below this."""

Pairs = list[tuple[str, float, int]]
"""(id, score, version) of hits."""

UNKNOWN = -1
"""The version if the server did not return one."""

Partial = Callable[[str], None]
"""Called with a message if an answer is incomplete; returns if the incomplete answer is acceptable, else raises."""


class _Struct(msgspec.Struct, frozen=True, gc=False):
    """Base of answers; parts without a field here are skipped without being decoded."""


class _Columns(_Struct, frozen=True):
    id: list[str] = []


class _Hit(_Struct, frozen=True):
    """A hit; a document that was not indexed by this package may lack the id."""

    score: float = msgspec.field(name="_score")
    fields: _Columns = _Columns()
    version: int = msgspec.field(name="_seq_no", default=UNKNOWN)


class _Hits(_Struct, frozen=True):
    hits: list[_Hit] = []


class _Shards(_Struct, frozen=True):
    total: int
    successful: int
    failed: int = 0
    skipped: int | None = None
    failures: list[dict[str, Any]] = []

    @property
    def missing(self) -> int:
        """Number of shards without an answer. A search counts an unassigned one neither as successful nor failed."""
        if self.skipped is None:  # not a search: the numbers count copies, and an unassigned copy is no fault
            return self.failed
        return max(self.failed, self.total - self.successful)


class _Outcome(_Struct, frozen=True):
    """The outcome of a search.

    :ivar took: milliseconds on the server.
    """

    shards: _Shards | None = msgspec.field(name="_shards", default=None)
    timed_out: bool = False
    took: int = 0
    status: int = 200
    error: Any = None


class Found(_Outcome, frozen=True):
    """The answer to a search whose hits have their ids in a column."""

    hits: _Hits = _Hits()


class _Total(_Struct, frozen=True):
    value: int = 0


class _TotalOfHits(_Struct, frozen=True):
    total: _Total = _Total()


class Counted(_Outcome, frozen=True):
    """The answer to a search that only counts."""

    hits: _TotalOfHits = _TotalOfHits()
    aggregations: dict[str, Any] = {}

    @property
    def total(self) -> int:
        """Number of documents that match."""
        return self.hits.total.value


class _Answers(_Struct, frozen=True):
    responses: list[msgspec.Raw]
    took: int = 0


class _Stored(_Struct, frozen=True):
    id: str = msgspec.field(name="_id")
    found: bool = False
    source: dict[str, Any] | None = msgspec.field(name="_source", default=None)
    version: int = msgspec.field(name="_seq_no", default=UNKNOWN)
    error: Any = None


class _AllStored(_Struct, frozen=True):
    docs: list[_Stored] = []


_read_answers = msgspec.json.Decoder(_Answers)
_read_found = msgspec.json.Decoder(Found)
_read_counted = msgspec.json.Decoder(Counted)
_read_outcome = msgspec.json.Decoder(_Outcome)
_read_stored = msgspec.json.Decoder(_AllStored)


def refuse_partial(message: str) -> None:
    """Refuse answers with missing hits.

    :raises SearchIndexError: always.
    """
    raise SearchIndexError(f"{message}; so there is no answer (`partial` takes what is there)")


def searches(answer: bytes, where: str) -> tuple[list[msgspec.Raw], int]:
    """Split the answer of an ``_msearch``: one answer for each search, and the server's time in milliseconds."""
    read = _decoded(_read_answers, answer, where)
    return read.responses, read.took


def found(answer: msgspec.Raw, where: str, partial: Partial = refuse_partial) -> Found:
    """Read and check the answer of one search.

    :param partial: called if hits of a shard are missing.
    :raises SearchIndexError: if the search failed.
    """
    read = _decoded(_read_found, answer, where)
    _check(read, where, partial)
    return read


def counted(answer: msgspec.Raw, where: str, partial: Partial = refuse_partial) -> Counted:
    """Read and check the answer of a search that only counts; as :func:`found`."""
    read = _decoded(_read_counted, answer, where)
    _check(read, where, partial)
    return read


def is_zero_vector(answer: msgspec.Raw) -> bool:
    """Return whether a search failed because its vector is zero, which a server refuses with cosine similarity."""
    return _ZERO_VECTOR.encode() in bytes(answer) and _ZERO_VECTOR in reason_of(_read_outcome.decode(answer).error)[1]


def leg_later(answer: msgspec.Raw, where: str, partial: Partial = refuse_partial) -> Callable[[], Ranking]:
    """Check the answer of a leg now, as :func:`found`; return a function that reads its hits."""
    _check(_decoded(_read_outcome, answer, where), where, partial)
    return lambda: leg_of(_decoded(_read_found, answer, where))


def documents(answer: bytes, where: str) -> Iterator[tuple[Document | None, int]]:
    """Read the answer of an ``_mget``: each document and its version; None for unknown ids.

    :raises SearchIndexError: if one of them can't be read.
    """
    for one in _decoded(_read_stored, answer, where).docs:
        if one.error is not None:
            raise failure(500, {"error": one.error}, where)
        yield (from_source(one.source or {}, one.id) if one.found else None), one.version


@taken_apart("a search")
def checked(answer: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return a decoded answer if it is complete.

    :raises SearchIndexError: if the call failed, timed out, or failed on a shard.
    """
    _check(
        msgspec.convert({name: answer[name] for name in _CHECKED if name in answer}, _Outcome), where, refuse_partial
    )
    return answer


_CHECKED = ("_shards", "timed_out", "status", "error")


def hits_of(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a decoded answer's hits; an answer reduced by ``filter_path`` lacks the list if there are none."""
    hits: list[Mapping[str, Any]] = answer.get("hits", {}).get("hits", [])
    return hits


def pairs_of(found: Found, where: str) -> Pairs:
    """Return a search's hits in ranking order.

    :raises SearchIndexError: if the scores are those of a hybrid query that was not fused.
    """
    hits = found.hits.hits
    if hits and min([hit.score for hit in hits]) < _SENTINEL:
        raise SearchIndexError(f"{where}: the server did not fuse the legs; is the plugin opensearch-neural-search on?")
    return sorted(_each_once(hits), key=lambda pair: (-pair[1], pair[0]))


def ranking_of(found: Found, k: int, where: str) -> Ranking:
    """Return a search's best k hits.

    :raises SearchIndexError: as :func:`pairs_of`.
    """
    return ranking(pairs_of(found, where)[:k])


def ranking(pairs: Pairs) -> Ranking:
    """Convert hits to a ranking, keeping their order."""
    return Ranking(*zip(*pairs, strict=True)) if pairs else Ranking((), ())


def leg_of(found: Found) -> Ranking:
    """Return a leg in the order that a fusion uses: the server does not order ties, and RRF depends on ranks."""
    return ranking(_each_once(found.hits.hits))


def _each_once(hits: Sequence[_Hit]) -> Pairs:
    """Return the hits with an id, each id once with its best score; others may have indexed without ids.

    Which of several documents with one id a score belongs to is unknown, and so is its version.
    """
    ids = [id for hit in hits for id in hit.fields.id[:1]]
    if len(set(ids)) == len(hits):
        return [(id, hit.score, hit.version) for id, hit in zip(ids, hits, strict=True)]
    pairs: dict[str, tuple[str, float, int]] = {}
    for hit in hits:
        for id in hit.fields.id[:1]:
            if id not in pairs:
                pairs[id] = (id, hit.score, hit.version)
            else:
                pairs[id] = (id, max(hit.score, pairs[id][1]), UNKNOWN)
    _log.warning("%d hits were left out: documents without an id, or with another's", len(hits) - len(pairs))
    return list(pairs.values())


def _decoded(decoder: msgspec.json.Decoder[T], answer: bytes | msgspec.Raw, where: str) -> T:
    try:
        return decoder.decode(answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise SearchIndexError(f"{where}: the server's answer can't be read ({error}); is a proxy between?") from error


def _check(found: _Outcome, where: str, partial: Partial) -> None:
    if found.error is not None:
        raise failure(found.status if found.status >= 400 else 500, {"error": found.error}, where)
    if found.shards is None:
        raise SearchIndexError(f"{where}: the server's answer does not say which shards gave it; is a proxy between?")
    if missing := found.shards.missing:
        kind, reason = reason_of(next(iter(found.shards.failures), {}).get("reason", {}))
        why = f" ({kind}: {reason})" if kind else " (no node holds them: look at GET _cat/shards)"
        partial(f"{where}: {missing} of {found.shards.total} shards failed{why}, so hits would be missing")
    if found.timed_out:
        partial(f"{where}: the search timed out on the server, so hits would be missing")
