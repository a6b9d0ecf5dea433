"""Finds queries that are documents themselves, and leaves them out of their own rankings, as BEIR does.

In some data sets the queries are documents of the corpus (ArguAna: find the argument against this one), and every
system would rank the query itself first. BEIR leaves out the document with the query's id. An equal id alone is no
proof, though: many data sets number both queries and documents from 1. So the rule is applied only if no judgement
says that a query is answered by the document of its own id, and most of these documents have the query's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Query, Ranking, normalise_text

__all__ = ["own_documents", "without_own"]

_BATCH = 256
_ALIKE = 0.5
"""Least share of a query's words that its own document must have, and of such queries among those that share an id."""

_NOBODY: frozenset[str] = frozenset()


def own_documents(
    queries: Sequence[Query],
    grades: Mapping[str, Mapping[str, int]],
    get: Callable[[Sequence[str]], Sequence[Document | None]],
) -> frozenset[str]:
    """Return the ids of the queries that are documents; empty if equal ids are mere coincidence.

    :param grades: query id -> document id -> grade.
    :param get: fetches documents by id, None where there is none.
    """
    found: set[str] = set()
    alike = 0
    for batch in in_batches(queries, _BATCH):
        for query, document in zip(batch, get([query.id for query in batch]), strict=True):
            if document is None:
                continue
            if grades.get(query.id, {}).get(query.id, 0) > 0:
                return _NOBODY
            found.add(query.id)
            alike += _is_alike(query.text, document.searchable_text)
    return frozenset(found) if found and alike >= _ALIKE * len(found) else _NOBODY


def without_own(
    queries: Sequence[Query], rankings: Sequence[Ranking], own: frozenset[str], depth: int
) -> list[Ranking]:
    """Leave each query that is a document out of its own ranking, and cut all rankings to a depth.

    :param rankings: one per query, one document deeper than ``depth`` if ``own`` is not empty.
    """
    if not own:
        return list(rankings)
    return [
        _without(ranking, query.id, depth) if query.id in own else _without(ranking, None, depth)
        for query, ranking in zip(queries, rankings, strict=True)
    ]


def _without(ranking: Ranking, id: str | None, depth: int) -> Ranking:
    kept = [pair for pair in zip(ranking.ids, ranking.scores, strict=True) if pair[0] != id][:depth]
    return Ranking(tuple(id for id, _ in kept), tuple(score for _, score in kept))


def _is_alike(query: str, document: str) -> bool:
    words = set(normalise_text(query).split())
    return bool(words) and len(words & set(normalise_text(document).split())) >= _ALIKE * len(words)
