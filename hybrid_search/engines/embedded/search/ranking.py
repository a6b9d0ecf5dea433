"""Cuts scored rows at k in the common order (score descending, then id ascending), and fuses both legs.

Ids and texts are looked up for the requested page only, not for whole windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.store.row_ids import RowIds
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.fusion import explain_one_leg, join
from hybrid_search.passages import document_of, grouped, hits_of_documents
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Hit, Leg, Ranking

__all__ = [
    "Page",
    "Rows",
    "ScoredRows",
    "best",
    "fused_page",
    "grouped_hits",
    "grouped_ranking",
    "hits_of",
    "joined",
    "page_of_leg",
    "ranking_of",
    "settled",
]


Rows = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """A ranking before its ids are looked up: (n,) rows and their (n,) scores, best first, ties by id."""

    rows: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    scores: Scores = field(default_factory=lambda: np.empty(0, np.float64))

    def at_least(self, least: float | None) -> ScoredRows:
        """Return the rows that score at least so much; all for None."""
        if least is None:
            return self
        return ScoredRows(self.rows[self.scores >= least], self.scores[self.scores >= least])


def best(rows: Rows, scores: Scores, k: int, ids: RowIds) -> ScoredRows:
    """Return the k best rows; ties at the cut are resolved by id.

    :param rows: (n,) distinct rows; those of deleted documents are left out.
    :param scores: (n,) their scores, descending.
    """
    there = ids.there(rows)
    if not there.all():
        rows, scores = rows[there], scores[there]
    end = k
    while end < len(scores) and scores[end] == scores[k - 1]:
        end += 1
    rows, scores = rows[:end], scores[:end]
    return ScoredRows(settled(rows, scores, ids)[:k], scores[:k])


def joined(scores: Scores, noise: float) -> Scores:
    """Make scores equal that differ only by rounding, (n,) descending -> (n,).

    :param noise: the largest difference of two neighbours, relative to the higher one.
    """
    starts = np.arange(len(scores))
    starts[1:][scores[1:] >= scores[:-1] * (1 - noise)] = 0
    return scores[np.maximum.accumulate(starts)]


def settled(rows: Rows, scores: NDArray[np.floating], ids: RowIds) -> Rows:
    """Order runs of equal scores by id; ids are looked up for such runs only.

    :param scores: (n,) descending.
    :return: (n,) the rows in ranking order.
    """
    tied = scores[1:] == scores[:-1]
    if not tied.any():
        return rows
    member = np.zeros(len(rows), bool)
    member[1:] = tied
    run = (~member).cumsum()  # increases where a run, or a row outside of runs, begins
    member[:-1] |= tied
    of_runs = rows[member]
    names = [id or "" for id in ids.ids(of_runs)]
    by_id = sorted(zip(run[member].tolist(), names, of_runs.tolist(), strict=True))
    rows = rows.copy()
    rows[member] = [row for _, _, row in by_id]
    return rows


Legs = Sequence[Mapping[str, Leg]]


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The requested hits of one query, before their documents are looked up.

    :ivar rows: (n,), best first.
    :ivar legs: returns the explanations of the hits at given positions.
    :ivar first_rank: rank of the first hit, from 1.
    """

    rows: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    scores: Sequence[float] = ()
    legs: Callable[[Sequence[int]], Legs] = lambda positions: ()
    first_rank: int = 1


def fused_page(bm25: ScoredRows, knn: ScoredRows, fusion: Fusion, search: Search, ids: RowIds) -> Page:
    """Fuse the windows of both legs and return the requested page."""
    rows, columns = _union(bm25.rows, knn.rows)
    if not len(rows):
        return Page()
    joined = join(bm25.scores, knn.scores, columns, fusion)
    top = joined.top(search.end)
    if search.min_score is not None:
        top = top[joined.scores[top] >= np.float32(search.min_score)]
    column_of = dict(zip(rows[top].tolist(), top.tolist(), strict=True))
    shown = settled(rows[top], joined.scores[top], ids)[search.offset : search.end]
    of_page = [column_of[row] for row in shown.tolist()]
    scores: list[float] = joined.scores[of_page].tolist()
    return Page(shown, scores, lambda at: joined.legs([of_page[n] for n in at]), search.offset + 1)


def page_of_leg(found: ScoredRows, search: Search) -> Page:
    """Return the requested page of one leg's ranking."""
    found = found.at_least(search.min_score)
    scores, first = found.scores[search.offset : search.end].tolist(), search.offset + 1

    def legs(at: Sequence[int]) -> Legs:
        return [explain_one_leg(search.mode, scores[position], first + position) for position in at]

    return Page(found.rows[search.offset : search.end], scores, legs, first)


def hits_of(page: Page, store: Store) -> list[Hit]:
    """Fetch the documents of a page; deleted rows are left out."""
    return list(_hits_at(range(len(page.rows)), page, store).values()) if len(page.rows) else []


def _hits_at(positions: Sequence[int], page: Page, store: Store) -> dict[int, Hit]:
    """Return position -> hit of those whose documents are there."""
    documents = store.documents_at([int(page.rows[position]) for position in positions])
    return {
        position: Hit(
            document.id,
            page.first_rank + position,
            page.scores[position],
            document.text,
            document.title,
            document.metadata,
            legs,
        )
        for position, legs, document in zip(positions, page.legs(positions), documents, strict=True)
        if document is not None
    }


def grouped_hits(page: Page, search: Search, store: Store) -> list[Hit]:
    """Fetch the hits of a search for documents from the ranking of their passages."""
    groups = grouped(store.row_ids.ids(page.rows), search.group or 0)[search.offset : search.end]
    found = _hits_at([position for group in groups for position in group], page, store)
    return hits_of_documents([[found[at] for at in group if at in found] for group in groups], search.offset)


def grouped_ranking(page: Page, search: Search, store: Store) -> Ranking:
    """Look up the ids of a search for documents from the ranking of their passages."""
    ids = store.row_ids.ids(page.rows)
    firsts = [group[0] for group in grouped(ids, 1)[search.offset : search.end]]
    return Ranking(
        tuple(document_of(ids[at] or "") for at in firsts),
        tuple(page.scores[at] for at in firsts),
        tuple(int(page.rows[at]) for at in firsts),
    )


def ranking_of(page: Page, store: Store) -> Ranking:
    """Look up the ids of a page; deleted rows are left out. The row serves as the document's version."""
    known = zip(store.row_ids.ids(page.rows), page.scores, page.rows.tolist(), strict=True)
    there = [(id, score, row) for id, score, row in known if id is not None]
    return Ranking(*zip(*there, strict=True)) if there else Ranking((), ())


def _union(first: Rows, second: Rows) -> tuple[Rows, NDArray[np.intp]]:
    """Return the distinct rows of both, those of ``first`` in front, and the index of each row of ``second``."""
    if not len(first):
        return second, np.arange(len(second))
    ascending = np.argsort(first)
    columns = ascending[np.minimum(np.searchsorted(first, second, sorter=ascending), len(first) - 1)]
    new = first[columns] != second
    columns[new] = np.arange(len(first), len(first) + np.count_nonzero(new))
    return np.concatenate([first, second[new]]), columns
