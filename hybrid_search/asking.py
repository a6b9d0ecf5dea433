"""What the searches of a retriever ask of its encoder and its engine, step by step."""

from __future__ import annotations

from operator import methodcaller

import numpy as np

from hybrid_search.filters import Filter
from hybrid_search.protocols import Vectors
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.steps import Ask, Encode, Steps
from hybrid_search.types import Hit, Ranking

__all__ = ["hits_of_hybrid", "hits_of_leg", "rankings_of_leg"]

_TRIES = 5
"""How often a leg is ranked while documents are replaced between the ranking and the reading of their texts."""


def hits_of_hybrid(
    texts: list[str],
    k: int,
    condition: Filter | None,
    fusion: Fusion,
    *,
    in_engine: bool,
    offset: int = 0,
    bare: bool = False,
) -> Steps[list[list[Hit]]]:
    """Answer texts by both legs.

    :param in_engine: the engine encodes.
    """
    hits: list[list[Hit]] = [[] for _ in texts]
    if not texts:
        return hits
    if in_engine:  # which then also tells the queries that the tower knows nothing of
        arguments = {"fusion": fusion, "filter": condition, "offset": offset, "bare": bare}
        hits = yield Ask(methodcaller("search_hybrid", texts, texts, k, **arguments))
        return hits
    vectors: Vectors = yield Encode(texts)
    known = vectors.any(axis=1)
    # A query the towers know nothing of must not depend on the k-NN leg's weight: (0, 1) would tie all its hits.
    for rows, joined in ((known, fusion), (~known, fusion.replace(weights=(1.0, 0.0)))):
        places = np.flatnonzero(rows).tolist()
        if places:
            of_places = [texts[place] for place in places]
            arguments = {"fusion": joined, "filter": condition, "offset": offset, "bare": bare}
            found = yield Ask(methodcaller("search_hybrid", of_places, vectors[rows], k, **arguments))
            for place, of_query in zip(places, found, strict=True):
                hits[place] = of_query
    return hits


def rankings_of_leg(
    texts: list[str], k: int, mode: str, condition: Filter | None, bm25: Bm25 | None = None, *, in_engine: bool
) -> Steps[list[Ranking]]:
    """Rank by one leg; otherwise as :func:`hits_of_hybrid`."""
    rankings: list[Ranking] = []
    if texts and mode == "bm25":
        rankings = yield Ask(methodcaller("search_lexical", texts, k, condition, bm25=bm25))
    elif texts:
        vectors = texts if in_engine else (yield Encode(texts))
        rankings = yield Ask(methodcaller("search_dense", vectors, k, condition))
    return rankings


def hits_of_leg(
    texts: list[str], k: int, mode: str, condition: Filter | None, *, in_engine: bool, offset: int = 0
) -> Steps[list[list[Hit]]]:
    """Answer texts by one leg, each hit with the text that was ranked; otherwise as :func:`hits_of_hybrid`."""
    found: list[list[Hit]] = []
    for _ in range(_TRIES):
        rankings = yield from rankings_of_leg(texts, k + offset, mode, condition, in_engine=in_engine)
        pages = [ranking.after(offset) for ranking in rankings]
        found = []
        for page in pages:
            found.append((yield Ask(methodcaller("hits", page, first_rank=offset + 1, leg=mode))))
        # A document that was replaced or deleted since it was ranked is left out.
        if all(len(hits) == len(page) for hits, page in zip(found, pages, strict=True)):
            break
    return found
