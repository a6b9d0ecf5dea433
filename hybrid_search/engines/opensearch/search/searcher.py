"""The requests of one call, as plans: several searches in a request, checked answers, ties resolved by id. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from hybrid_search.engines.opensearch.search import answers as responses
from hybrid_search.engines.opensearch.search import bodies as requests
from hybrid_search.engines.opensearch.search.answers import UNKNOWN, Counted, Found, Pairs
from hybrid_search.engines.opensearch.search.bodies import DenseQuery, EncodedThere, HybridQuery, Words
from hybrid_search.engines.opensearch.search.explanation import LegsOfPage
from hybrid_search.engines.opensearch.transport.plan import Plan, Request
from hybrid_search.filters import Filter
from hybrid_search.search import MAX_K
from hybrid_search.settings.index import Fusion, Similarity
from hybrid_search.types import Document

__all__ = ["Counted", "Page", "Searches", "Stored"]

_SPARE = 16
_AT_ONCE = 96
_BYTES_AT_ONCE = 8 << 20
_DOCUMENTS_AT_ONCE = 1_000
_WIDER = 8
_DOCUMENTS_NEEDED = {"realtime": "false", "_source_excludes": "vector,added"}

_NO_HEADER = b"{}"

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """The requested hits of one query, before their texts are fetched.

    :ivar pairs: (id, score, version) of each hit, best first.
    :ivar legs: what each leg contributed to the hits of a hybrid search; None if not requested.
    """

    pairs: Pairs
    legs: LegsOfPage | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A document on the server, and its version."""

    document: Document
    version: int

    def is_of(self, version: int) -> bool:
        """Return whether a hit of this version was ranked with this text; True if the version is unknown."""
        return UNKNOWN in (version, self.version) or version == self.version


class Searches:
    """The searches of one call, in one index.

    :param partial: called if an answer lacks a shard's hits.
    :ivar took: milliseconds of the server's work; None before the first answer.
    """

    def __init__(self, index: str, partial: responses.Partial = responses.refuse_partial) -> None:
        self.took: int | None = None
        self._index = index
        self._partial = partial

    def lexical(self, queries: Sequence[Words], offset: int, end: int, filter: Filter | None) -> Plan[list[Page]]:
        """Rank by BM25; return the hits of ranks ``offset + 1`` to ``end``."""
        answers = yield from self._answers([requests.lexical(words, end, filter) for words in queries])
        pages = []
        for words, found in zip(queries, self._found(answers), strict=True):
            pairs, size = responses.pairs_of(found, self._index), end
            while len(pairs) < end and len(found.hits.hits) >= size < MAX_K:  # some of them have no id
                size = min(size * _WIDER, MAX_K)
                [answer] = yield from self._answers([requests.lexical(words, size, filter)])
                found = responses.found(answer, self._index, self._partial)
                pairs = responses.pairs_of(found, self._index)
            pages.append(Page(pairs[offset:end]))
        return pages

    def dense(self, queries: Sequence[DenseQuery], offset: int, end: int, filter: Filter | None) -> Plan[list[Page]]:
        """Rank by vector similarity in the graph; a text without known words finds nothing."""
        size = _with_spare(end, MAX_K)
        answers = yield from self._answers([requests.dense(query, size, filter) for query in queries])
        pages = []
        for query, answer in zip(queries, answers, strict=True):
            if _is_unknown(query, answer):
                pages.append(Page([]))
                continue
            found = responses.found(answer, self._index, self._partial)
            wider = partial(requests.dense, query, filter=filter)
            pairs = yield from self._past_the_tie(found, end, size, wider, MAX_K)
            pages.append(Page(pairs[offset:end]))
        return pages

    def exact_dense(
        self, vectors: Sequence[Sequence[float]], offset: int, end: int, filter: Filter | None, similarity: Similarity
    ) -> Plan[list[Page]]:
        """Rank by vector similarity, comparing with every vector."""
        bodies = [requests.exact_dense(vector, end, similarity, filter) for vector in vectors]
        answers = yield from self._answers(bodies)
        return [Page(responses.pairs_of(found, self._index)[offset:end]) for found in self._found(answers)]

    def hybrid(
        self, queries: Sequence[HybridQuery], offset: int, end: int, asking: requests.Hybrid, *, explained: bool
    ) -> Plan[list[Page]]:
        """Rank by both legs, fused on the server.

        What each leg contributed is computed on first access, by this package's own fusion, from the legs' rankings,
        which are requested along with the search. The server could explain hybrid scores itself, but that takes many
        times as long and returns other scores (seen with 3.6, which then normalises twice).

        A text that the server should encode but has no known word of is searched again by BM25 alone.

        :param explained: False leaves the legs out, which saves the server about a third of its time.
        """
        size = _with_spare(end, _most(asking.fusion))
        groups = [asking.bodies(query, size, explained=explained) for query in queries]
        answers = iter((yield from self._answers([body for group in groups for body in group])))
        pages = []
        for query, group in zip(queries, groups, strict=True):
            answered = [next(answers) for _ in group]
            if _is_unknown(query[1], answered[0]):
                query = (query[0], None)
                answered = yield from self._answers(asking.bodies(query, size, explained=explained))
            pages.append((yield from self._fused(query, offset, end, size, asking, answered)))
        return pages

    def _fused(
        self,
        query: HybridQuery,
        offset: int,
        end: int,
        size: int,
        asking: requests.Hybrid,
        answers: Sequence[msgspec.Raw],
    ) -> Plan[Page]:
        """Return a query's page.

        :param size: number of hits that were requested.
        :param answers: the hybrid query's answer, followed by its legs' if they were requested.
        """
        first = responses.found(answers[0], self._index, self._partial)
        wider = partial(asking.body, query)
        pairs = yield from self._past_the_tie(first, end, size, wider, _most(asking.fusion))
        page = pairs[offset:end]
        legs = [responses.leg_later(answer, self._index, self._partial) for answer in answers[1:]]
        versions = {id: version for id, _, version in page}
        return Page(page, LegsOfPage(legs, asking.fusion_of(query), versions) if legs else None)

    def counted(self, body: Body) -> Plan[Counted]:
        """Send a search that only counts."""
        [answer] = yield from self._answers([body])
        return responses.counted(answer, self._index, self._partial)

    def documents(self, ids: Iterable[str]) -> Plan[dict[str, Stored]]:
        """Fetch documents by id; unknown ids are left out."""
        stored: dict[str, Stored] = {}
        distinct = list(dict.fromkeys(ids))
        for start in range(0, len(distinct), _DOCUMENTS_AT_ONCE):
            batch = distinct[start : start + _DOCUMENTS_AT_ONCE]
            body = msgspec.json.encode({"ids": batch})
            answer = yield Request("POST", f"/{self._index}/_mget", body, _DOCUMENTS_NEEDED)
            for id, (document, version) in zip(batch, responses.documents(answer, self._index), strict=True):
                if document is not None:
                    stored[id] = Stored(document, version)
        return stored

    def _past_the_tie(
        self, found: Found, needed: int, size: int, body: Callable[[int], Body], most: int
    ) -> Plan[Pairs]:
        """Request more hits until all that tie with the last needed one are there, as ties are ordered by id.

        :param size: number of hits that were requested for ``found``.
        :param body: returns the search for another number of hits.
        """
        pairs = responses.pairs_of(found, self._index)
        while (
            size < most
            and len(found.hits.hits) >= size
            and (len(pairs) < needed or pairs[needed - 1][1] <= pairs[-1][1])
        ):
            size = min(size * _WIDER, most)
            answers = yield from self._answers([body(size)])
            found = responses.found(answers[0], self._index, self._partial)
            pairs = responses.pairs_of(found, self._index)
        return pairs

    def _found(self, answers: Sequence[msgspec.Raw]) -> list[Found]:
        return [
            responses.found(answer, self._one_of(number, len(answers)), self._partial)
            for number, answer in enumerate(answers, 1)
        ]

    def _one_of(self, number: int, queries: int) -> str:
        """Name a query in an error message: its number among several."""
        return self._index if queries == 1 else f"{self._index}, query {number} of {queries}"

    def _answers(self, bodies: Sequence[Body]) -> Plan[list[msgspec.Raw]]:
        answers: list[msgspec.Raw] = []
        for batch in _requestfuls(map(msgspec.json.encode, bodies)):
            lines = [line for body in batch for line in (_NO_HEADER, body)]
            path = f"/{self._index}/_msearch"
            answer = yield Request("POST", path, b"\n".join([*lines, b""]), in_lines=True)
            of_batch, took = responses.searches(answer, self._index)
            answers += of_batch
            self.took = (self.took or 0) + took
        return answers


def _requestfuls(bodies: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Group searches into requests of limited number and size in bytes."""
    batch: list[bytes] = []
    size = 0
    for body in bodies:
        if batch and (len(batch) == _AT_ONCE or size + len(body) > _BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield batch


def _is_unknown(query: DenseQuery | None, answer: msgspec.Raw) -> bool:
    """Return whether a text that the server should encode has no known word."""
    return isinstance(query, EncodedThere) and responses.is_zero_vector(answer)


def _most(fusion: Fusion) -> int:
    return min(2 * fusion.window, MAX_K)


def _with_spare(needed: int, most: int) -> int:
    return min(needed + _SPARE, most)
