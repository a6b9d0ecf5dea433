"""Searches as plans: many in a request, every answer checked, ties at the cut decided by id. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import msgspec

from hybrid_search.engines.opensearch.search import answers as responses
from hybrid_search.engines.opensearch.search import bodies as requests
from hybrid_search.engines.opensearch.search.answers import UNKNOWN, Found, Pairs
from hybrid_search.engines.opensearch.search.bodies import DenseQuery, EncodedThere, HybridQuery, Words
from hybrid_search.engines.opensearch.search.explanation import LegsOfHit, LegsOfPage
from hybrid_search.engines.opensearch.transport.plan import Plan, Request
from hybrid_search.errors import UsageError
from hybrid_search.filters import Filter
from hybrid_search.fusion import Fused
from hybrid_search.settings.index import Fusion, Similarity
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Ranking

__all__ = ["LARGEST_PAGE", "FusedPage", "Page", "Searches"]

LARGEST_PAGE = 10_000
"""Hits that a server returns at most for one search (``index.max_result_window``)."""

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
    """The hits ``offset + 1`` to ``offset + size`` of a ranking."""

    offset: int
    size: int

    @classmethod
    def inside(cls, fusion: Fusion, offset: int, size: int) -> Self:
        """Make a page of what a fusion's windows can hold.

        :raises UsageError: if it starts outside.
        """
        if not 0 <= offset < 2 * fusion.window:
            raise UsageError(
                f"offset is {offset}; it must be 0 to {2 * fusion.window - 1}, as two legs of {fusion.window} hits "
                f"hold no more; raise the fusion's window to page further"
            )
        return cls(offset, size)

    @property
    def end(self) -> int:
        """Rank of the last hit."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class FusedPage:
    """A page of fused hits, and the version of each document that was ranked."""

    fused: list[Fused]
    versions: list[int]


@dataclass(frozen=True, slots=True)
class Searches:
    """Searches of one index.

    :ivar partial: is told of answers that lack a shard's hits.
    :ivar took: is told the server's milliseconds of each request.
    """

    index: str
    partial: responses.Partial = responses.refuse_partial
    took: Callable[[int], None] | None = None

    def lexical(self, asked: Sequence[Words], k: int, filter: Filter | None) -> Plan[list[Ranking]]:
        """Rank by BM25."""
        answers = yield from self._answers([requests.lexical(words, k, filter) for words in asked])
        rankings = []
        for words, found in zip(asked, self._found(answers), strict=True):
            pairs, size = responses.pairs_of(found, self.index), k
            while len(pairs) < k and len(found.hits.hits) >= size < LARGEST_PAGE:  # some of them have no id
                size = min(size * _WIDER, LARGEST_PAGE)
                [answer] = yield from self._answers([requests.lexical(words, size, filter)])
                found = responses.found(answer, self.index, self.partial)
                pairs = responses.pairs_of(found, self.index)
            rankings.append(responses.ranking(pairs[:k]))
        return rankings

    def dense(self, queries: Sequence[DenseQuery], k: int, filter: Filter | None) -> Plan[list[Ranking]]:
        """Rank by vector similarity over the graph; a text without a known word finds nothing."""
        size = _with_spare(k, LARGEST_PAGE)
        answers = yield from self._answers([requests.dense(query, size, filter) for query in queries])
        rankings = []
        for query, answer in zip(queries, answers, strict=True):
            if _is_unknown(query, answer):
                rankings.append(responses.ranking([]))
                continue
            found = responses.found(answer, self.index, self.partial)
            wider = partial(requests.dense, query, filter=filter)
            pairs = yield from self._past_the_tie(found, k, size, wider, LARGEST_PAGE)
            rankings.append(responses.ranking(pairs[:k]))
        return rankings

    def exact_dense(
        self, vectors: Sequence[Sequence[float]], k: int, filter: Filter | None, similarity: Similarity
    ) -> Plan[list[Ranking]]:
        """Rank by vector similarity over all vectors."""
        answers = yield from self._answers([requests.exact_dense(vector, k, similarity, filter) for vector in vectors])
        return [responses.ranking_of(answer, k, self.index) for answer in self._found(answers)]

    def hybrid(
        self,
        queries: Sequence[HybridQuery],
        page: Page,
        asking: requests.Hybrid,
        *,
        explained: bool = True,
    ) -> Plan[list[FusedPage]]:
        """Fuse on the server and return a page of results for each query; see :meth:`Engine.search_hybrid`.

        What each leg contributed comes from the legs alone, asked for in the same request and put through the
        reference arithmetic when somebody looks: a hybrid search that is told to explain its scores takes many times
        as long, and answers with other scores (seen with 3.6, which then normalises twice).

        A text that the server was to encode and knows no word of is asked for again, by BM25 alone.

        :param explained: False leaves the legs out, which takes the server about a third less.
        """
        size = _with_spare(page.end, _most(asking.fusion))
        groups = [asking.bodies(query, size, explained=explained) for query in queries]
        answers = iter((yield from self._answers([body for group in groups for body in group])))
        results = []
        for query, group in zip(queries, groups, strict=True):
            answered, told = [next(answers) for _ in group], asking
            if _is_unknown(query[1], answered[0]):
                query, told = (query[0], None), asking.of_bm25()
                answered = yield from self._answers(told.bodies(query, size, explained=explained))
            results.append((yield from self._fused(query, page, size, told, answered)))
        return results

    def _fused(
        self, query: HybridQuery, page: Page, size: int, asking: requests.Hybrid, answers: Sequence[msgspec.Raw]
    ) -> Plan[FusedPage]:
        """Read a query's page of results.

        :param size: how many hits the search was asked for.
        :param answers: the hybrid's, then its legs' where they were asked for.
        """
        first = responses.found(answers[0], self.index, self.partial)
        wider = partial(asking.body, query)
        pairs = yield from self._past_the_tie(first, page.end, size, wider, _most(asking.fusion))
        shown = pairs[page.offset : page.end]
        legs = [responses.leg_later(answer, self.index, self.partial) for answer in answers[1:]]
        told = LegsOfPage(legs, asking.fusion, {id: version for id, _, version in shown})
        fused = [Fused(id, score, LegsOfHit(told, id) if legs else {}) for id, score, _ in shown]
        return FusedPage(fused, [version for _, _, version in shown])

    def documents(self, ids: Sequence[str], versions: Sequence[int] = ()) -> Plan[list[Document | None]]:
        """Fetch documents, None where there is none.

        :param versions: that they must have; one that was replaced since is None too.
        """
        found: list[tuple[Document | None, int]] = []
        for batch in in_batches(ids, _DOCUMENTS_AT_ONCE):
            body = msgspec.json.encode({"ids": batch})
            answer = yield Request("POST", f"/{self.index}/_mget", body, _DOCUMENTS_NEEDED)
            found += responses.documents(answer, self.index)
        if not versions:
            return [document for document, _ in found]
        return [
            document if UNKNOWN in (version, known) or version == known else None
            for (document, version), known in zip(found, versions, strict=True)
        ]

    def _past_the_tie(
        self, found: Found, wanted: int, size: int, body: Callable[[int], Body], most: int
    ) -> Plan[Pairs]:
        """Ask for more until the hits tied with the last wanted one are all there: the id then decides, as everywhere.

        :param size: how many hits ``found`` was asked for.
        :param body: makes the search for another number of hits.
        """
        pairs = responses.pairs_of(found, self.index)
        while (
            size < most
            and len(found.hits.hits) >= size
            and (len(pairs) < wanted or pairs[wanted - 1][1] <= pairs[-1][1])
        ):
            size = min(size * _WIDER, most)
            answers = yield from self._answers([body(size)])
            found = responses.found(answers[0], self.index, self.partial)
            pairs = responses.pairs_of(found, self.index)
        return pairs

    def _found(self, answers: Sequence[msgspec.Raw]) -> list[Found]:
        return [
            responses.found(answer, self._one_of(number, len(answers)), self.partial)
            for number, answer in enumerate(answers, 1)
        ]

    def _one_of(self, number: int, queries: int) -> str:
        """Name a query for an error: which of many."""
        return self.index if queries == 1 else f"{self.index}, query {number} of {queries}"

    def _answers(self, bodies: Sequence[Body]) -> Plan[list[msgspec.Raw]]:
        answers: list[msgspec.Raw] = []
        for batch in _requestfuls(map(msgspec.json.encode, bodies)):
            lines = [line for body in batch for line in (_NO_HEADER, body)]
            path = f"/{self.index}/_msearch"
            answer = yield Request("POST", path, b"\n".join([*lines, b""]), in_lines=True)
            answers += responses.searches(answer, self.index)
            if self.took is not None:
                self.took(responses.milliseconds(answer, self.index))
        return answers


def _requestfuls(bodies: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Put searches together, so many and so many bytes of them at most in one request."""
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


def _is_unknown(asked: DenseQuery | None, answer: msgspec.Raw) -> bool:
    """Tell a text that the server was to encode and knows no word of."""
    return isinstance(asked, EncodedThere) and responses.is_zero_vector(answer)


def _most(fusion: Fusion) -> int:
    return min(2 * fusion.window, LARGEST_PAGE)


def _with_spare(wanted: int, most: int) -> int:
    return min(wanted + _SPARE, most)
