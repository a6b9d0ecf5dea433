"""Pages of hits by row: ids and texts are looked up for the one page that is wanted, not for whole windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.ranking import ScoredRows, settled
from hybrid_search.engines.embedded.row_ids import RowIds
from hybrid_search.engines.embedded.store import Store
from hybrid_search.fusion import explain_one_leg, join
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Hit, Leg, Ranking

__all__ = ["Page", "fused_page", "hits_of", "page_of_leg", "ranking_of"]

Rows = NDArray[np.int64]
Legs = Sequence[Mapping[str, Leg]]


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The hits of one query that are wanted, before their documents are looked up.

    :ivar rows: (n,) best first.
    :ivar legs: makes the n hits' explanations.
    :ivar first_rank: of the first hit.
    """

    rows: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    scores: Sequence[float] = ()
    legs: Callable[[], Legs] = tuple
    first_rank: int = 1


def fused_page(bm25: ScoredRows, knn: ScoredRows, fusion: Fusion, search: Search, ids: RowIds) -> Page:
    """Fuse two windows and cut the page out."""
    rows, columns = _union(bm25.rows, knn.rows)
    if not len(rows):
        return Page()
    joined = join(bm25.scores, knn.scores, columns, fusion)
    top = joined.top(search.end)
    column_of = dict(zip(rows[top].tolist(), top.tolist(), strict=True))
    shown = settled(rows[top], joined.scores[top], ids)[search.offset : search.end]
    of_page = [column_of[row] for row in shown.tolist()]
    scores: list[float] = joined.scores[of_page].tolist()
    return Page(shown, scores, lambda: joined.legs(of_page), search.offset + 1)


def page_of_leg(found: ScoredRows, search: Search) -> Page:
    """Cut the page out of one leg's ranking."""
    scores, first = found.scores[search.offset : search.end].tolist(), search.offset + 1

    def legs() -> Legs:
        return [explain_one_leg(search.mode, score, rank) for rank, score in enumerate(scores, first)]

    return Page(found.rows[search.offset : search.end], scores, legs, first)


def hits_of(page: Page, store: Store) -> list[Hit]:
    """Fetch the documents of a page; a row that is gone is left out."""
    if not len(page.rows):
        return []
    found = zip(page.scores, page.legs(), store.documents_at(page.rows.tolist()), strict=True)
    return [
        Hit(document.id, rank, score, document.text, document.title, document.metadata, legs)
        for rank, (score, legs, document) in enumerate(found, page.first_rank)
        if document is not None
    ]


def ranking_of(page: Page, store: Store) -> Ranking:
    """Look the ids of a page up; a row that is gone is left out. A row is the version of its document."""
    known = zip(store.row_ids.ids(page.rows), page.scores, page.rows.tolist(), strict=True)
    there = [(id, score, row) for id, score, row in known if id is not None]
    return Ranking(*zip(*there, strict=True)) if there else Ranking((), ())


def _union(first: Rows, second: Rows) -> tuple[Rows, NDArray[np.intp]]:
    """List the rows of both, the first ones in front, and the column of each of the second in that list."""
    if not len(first):
        return second, np.arange(len(second))
    ascending = np.argsort(first)
    columns = ascending[np.minimum(np.searchsorted(first, second, sorter=ascending), len(first) - 1)]
    new = first[columns] != second
    columns[new] = np.arange(len(first), len(first) + np.count_nonzero(new))
    return np.concatenate([first, second[new]]), columns
