"""Fusing both legs by row: ids and texts are looked up for the one page that is shown, not for both windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.ranking import ScoredRows, settled
from hybrid_search.engines.embedded.store import Store
from hybrid_search.fusion import join
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Hit, Leg, Ranking

__all__ = ["fused_page", "page_of_one"]

Rows = NDArray[np.int64]


def fused_page(
    bm25: ScoredRows, knn: ScoredRows, fusion: Fusion, *, offset: int, size: int, store: Store, bare: bool = False
) -> list[Hit]:
    """Fuse two windows and fetch the hits ``offset + 1`` to ``offset + size``; a row that is gone is left out.

    :param bare: ids and scores only.
    """
    rows, columns = _union(bm25.rows, knn.rows)
    if not len(rows):
        return []
    joined = join(bm25.scores, knn.scores, columns, fusion)
    top = joined.top(offset + size)
    column_of = dict(zip(rows[top].tolist(), top.tolist(), strict=True))
    shown = settled(rows[top], joined.scores[top], store.row_ids)[offset : offset + size]
    page = shown.tolist()
    page_columns = [column_of[row] for row in page]
    if bare:
        named = zip(store.row_ids.ids(shown), joined.scores[page_columns].tolist(), strict=True)
        return [Hit(id, rank, score) for rank, (id, score) in enumerate(named, start=offset + 1) if id is not None]
    found = zip(joined.scores[page_columns].tolist(), joined.legs(page_columns), store.documents_at(page), strict=True)
    return [
        Hit(document.id, rank, score, document.text, document.title, document.metadata, legs)
        for rank, (score, legs, document) in enumerate(found, start=offset + 1)
        if document is not None
    ]


def page_of_one(ranking: Ranking, *, first_rank: int, leg: str | None, store: Store) -> list[Hit]:
    """Fetch the documents of (a page of) one leg's ranking; those deleted or replaced meanwhile are left out.

    :param leg: gives each hit that leg's explanation; None for none.
    """
    documents = store.documents_at(ranking.versions) if ranking.versions else store.documents(ranking.ids)
    found = enumerate(zip(ranking.ids, ranking.scores, documents, strict=True), start=first_rank)
    return [
        Hit(id, rank, score, document.text, document.title, document.metadata, _alone(leg, score, rank))
        for rank, (id, score, document) in found
        if document is not None
    ]


def _alone(leg: str | None, score: float, rank: int) -> dict[str, Leg]:
    return {leg: Leg(score, rank, normalised=score, weight=1.0, share=1.0)} if leg else {}


def _union(first: Rows, second: Rows) -> tuple[Rows, NDArray[np.intp]]:
    """List the rows of both, the first ones in front, and the column of each of the second in that list."""
    if not len(first):
        return second, np.arange(len(second))
    ascending = np.argsort(first)
    columns = ascending[np.minimum(np.searchsorted(first, second, sorter=ascending), len(first) - 1)]
    new = first[columns] != second
    columns[new] = np.arange(len(first), len(first) + np.count_nonzero(new))
    return np.concatenate([first, second[new]]), columns
