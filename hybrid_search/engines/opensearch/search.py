"""Running searches: many in a request, every answer checked, ties at the cut decided by id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from hybrid_search.config import Fusion, Similarity
from hybrid_search.engines.opensearch import requests, responses
from hybrid_search.engines.opensearch.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.errors import UsageError
from hybrid_search.filters import Filter
from hybrid_search.fusion import Fused, fuse
from hybrid_search.streams import in_batches
from hybrid_search.types import Leg, Ranking

__all__ = ["LARGEST_PAGE", "HybridQuery", "Page", "Searcher"]

LARGEST_PAGE = 10_000
"""Hits that a server returns at most for one search (``index.max_result_window``)."""

_SPARE = 16
_AT_ONCE = 96
_WIDER = 8
_NEEDED = ",".join(
    f"responses.{part}"
    for part in ("hits.hits.fields.id", "hits.hits._score", "_shards", "status", "error", "timed_out")
)
_EMPTY = Ranking((), ())

_NO_HEADER = b"{}"

Answer = Mapping[str, Any]
Body = dict[str, Any]

HybridQuery = tuple[str, Sequence[float] | None]
"""A text, and its vector unless that is zero."""


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


class Searcher:
    """Searches one index."""

    def __init__(self, client: Client, index: str, server: ServerCapabilities) -> None:
        self._client = client
        self._index = index
        self._server = server

    def lexical(self, texts: Sequence[str], k: int, filter: Filter | None) -> list[Ranking]:
        """Rank by BM25."""
        answers = self._answers([requests.lexical(text, k, filter) for text in texts])
        return [responses.ranking_of(answer, k, self._index) for answer in answers]

    def dense(self, vectors: Sequence[Sequence[float]], k: int, filter: Filter | None) -> list[Ranking]:
        """Rank by vector similarity over the graph."""
        size = _with_spare(k, LARGEST_PAGE)
        answers = self._answers([requests.dense(vector, size, filter) for vector in vectors])
        rankings = []
        for vector, answer in zip(vectors, answers, strict=True):
            whole = self._past_the_tie(answer, k, size, partial(requests.dense, vector, filter=filter), LARGEST_PAGE)
            rankings.append(responses.ranking_of(whole, k, self._index))
        return rankings

    def exact_dense(
        self, vectors: Sequence[Sequence[float]], k: int, filter: Filter | None, similarity: Similarity
    ) -> list[Ranking]:
        """Rank by vector similarity over all vectors."""
        answers = self._answers([requests.exact_dense(vector, k, similarity, filter) for vector in vectors])
        return [responses.ranking_of(answer, k, self._index) for answer in answers]

    def hybrid(
        self, queries: Sequence[HybridQuery], page: Page, fusion: Fusion, filter: Filter | None
    ) -> list[list[Fused]]:
        """Fuse on the server and return a page of results for each query; see :meth:`Engine.search_hybrid`.

        What each leg contributed comes from the legs alone, asked for in the same request and put through the
        reference arithmetic: a hybrid search that is told to explain its scores takes many times as long, and answers
        with other scores (seen with 3.6, which then normalises twice).
        """
        most = min(2 * fusion.window, LARGEST_PAGE)
        size = _with_spare(page.end, most)
        in_hybrid = self._server.filter_in_hybrid

        def body(query: HybridQuery, size: int) -> Body:
            return requests.hybrid(*query, size, fusion, filter=filter, filter_in_hybrid=in_hybrid)

        groups = [[body(query, size), *requests.legs(*query, fusion.window, filter)] for query in queries]
        answers = iter(self._answers([one for group in groups for one in group]))
        results = []
        for query, group in zip(queries, groups, strict=True):
            fused = self._past_the_tie(next(answers), page.end, size, partial(body, query), most)
            legs = explained([responses.leg_of(next(answers), self._index) for _ in group[1:]], fusion, size)
            pairs = responses.pairs_of(fused, self._index)[page.offset : page.end]
            results.append([Fused(id, score, legs.get(id, {})) for id, score in pairs])
        return results

    def _past_the_tie(self, answer: Answer, wanted: int, size: int, body: Callable[[int], Body], most: int) -> Answer:
        """Ask for more until the hits tied with the last wanted one are all there: the id then decides, as everywhere.

        :param size: how many hits ``answer`` was asked for.
        :param body: makes the search for another number of hits.
        """
        while size < most and len(pairs := responses.pairs_of(answer, self._index)) >= size:
            if pairs[wanted - 1][1] > pairs[-1][1]:
                break
            size = min(size * _WIDER, most)
            answer = self._answers([body(size)])[0]
        return answer

    def _answers(self, bodies: Sequence[Body]) -> list[Answer]:
        answers: list[Answer] = []
        for batch in in_batches(bodies, _AT_ONCE):
            lines = [line for body in batch for line in (_NO_HEADER, body)]
            answer = self._client.lines(f"/{self._index}/_msearch", lines, filter_path=_NEEDED)
            answers += responses.searches(answer, self._index)
        return answers


def explained(legs: Sequence[Ranking], fusion: Fusion, top: int) -> dict[str, Mapping[str, Leg]]:
    """Return id -> what each leg contributed, by the reference arithmetic, for the ``top`` best."""
    bm25, knn = (*legs, _EMPTY)[:2]
    return {one.id: one.legs for one in fuse(bm25, knn, fusion, top=top)}


def _with_spare(wanted: int, most: int) -> int:
    return min(wanted + _SPARE, most)
