"""Compares the hybrid with BM25 query by query, with readable examples of the largest differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hybrid_search.evaluation.measures import PRIMARY, Qrels
from hybrid_search.evaluation.protocol import Evaluation, without_own
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MAX_K, MODES, Mode
from hybrid_search.types import Document, Query, Ranking

__all__ = ["Answer", "QueryExample", "WinsAndLosses", "as_json", "example_rows", "wins_and_losses"]

SNIPPET = 160
"""Characters of a document that are shown."""

_CUT = 10
_SYSTEM: Final = "hybrid"
_BASELINE: Final = "bm25"

Ranks = Mapping[Mode, int | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A relevant document, and its rank in each system.

    :ivar ranks: system -> rank from 1, None if the document is not within the evaluated depth.
    """

    id: str
    grade: int
    ranks: Ranks
    title: str
    snippet: str


@dataclass(frozen=True, slots=True)
class QueryExample:
    """One query on which the hybrid and BM25 differ.

    :ivar bm25: nDCG@10 of BM25; ``hybrid``: of the hybrid; ``change``: ``hybrid`` less ``bm25``.
    :ivar answer: the relevant document whose change of rank contributes most to ``change``.
    """

    query_id: str
    query: str
    bm25: float
    hybrid: float
    change: float
    answer: Answer


@dataclass(frozen=True, slots=True)
class WinsAndLosses:
    """Numbers of queries on which the hybrid's nDCG@10 is above, equal to and below BM25's; and the largest changes.

    :ivar changes: query id -> the hybrid's less BM25's, by id.
    """

    wins: int
    ties: int
    losses: int
    largest_wins: tuple[QueryExample, ...]
    largest_losses: tuple[QueryExample, ...]
    changes: Mapping[str, float] = field(default_factory=dict)


def wins_and_losses(
    retriever: Retriever, evaluation: Evaluation, queries: Mapping[str, Query], qrels: Qrels, *, examples: int = 3
) -> WinsAndLosses | None:
    """Count wins and losses, and search again for the queries that changed most to find the ranks of their answers.

    :param queries: by id, all that were evaluated.
    :param examples: most wins, and most losses, to show; of equal changes the smaller query id first.
    :return: None if the hybrid was not evaluated.
    """
    if _SYSTEM not in evaluation.values:
        return None
    ours, theirs = (evaluation.values[name][PRIMARY] for name in (_SYSTEM, _BASELINE))
    changes = {query: ours[query] - theirs[query] for query in sorted(ours)}
    wins = sorted((query for query in changes if changes[query] > 0), key=lambda query: -changes[query])
    losses = sorted((query for query in changes if changes[query] < 0), key=lambda query: changes[query])
    chosen = [*wins[:examples], *losses[:examples]]
    answers = _answers(retriever, [queries[query] for query in chosen], evaluation, qrels)
    found = [
        QueryExample(query, queries[query].text, theirs[query], ours[query], changes[query], answer)
        for query, answer in zip(chosen, answers, strict=True)
    ]
    shown = len(wins[:examples])
    return WinsAndLosses(
        wins=len(wins),
        ties=len(changes) - len(wins) - len(losses),
        losses=len(losses),
        largest_wins=tuple(found[:shown]),
        largest_losses=tuple(found[shown:]),
        changes=changes,
    )


def _answers(retriever: Retriever, queries: Sequence[Query], evaluation: Evaluation, qrels: Qrels) -> list[Answer]:
    settings, own, texts = evaluation.settings, evaluation.own, [query.text for query in queries]
    deep = min(settings.depth + bool(own), MAX_K)
    found = {}
    for mode in MODES:
        bm25 = settings.bm25 if mode == _BASELINE else None
        found[mode] = without_own(queries, retriever.rankings(texts, deep, mode=mode, bm25=bm25), own, settings.depth)
    legs = [{mode: rankings[number] for mode, rankings in found.items()} for number in range(len(queries))]
    moved = [_most_moved(of_query, qrels.grades[query.id]) for query, of_query in zip(queries, legs, strict=True)]
    documents = retriever.get(moved)
    return [
        _answer(id, qrels.grades[query.id][id], of_query, document)
        for id, query, of_query, document in zip(moved, queries, legs, documents, strict=True)
    ]


def _most_moved(legs: Mapping[Mode, Ranking], grades: Mapping[str, int]) -> str:
    """Return the id of the relevant document whose term of nDCG@10 changed most in the direction of the whole."""
    gains = {
        id: grade * (_discount(legs[_SYSTEM], id) - _discount(legs[_BASELINE], id)) for id, grade in grades.items()
    }
    towards = math.copysign(1, sum(gains.values()))
    return max(sorted(gains), key=lambda id: towards * gains[id])


def _discount(ranking: Ranking, id: str) -> float:
    rank = _rank(ranking, id)
    return 0.0 if rank is None or rank > _CUT else 1 / math.log2(rank + 1)


def _rank(ranking: Ranking, id: str) -> int | None:
    return ranking.ids.index(id) + 1 if id in ranking.ids else None


def _answer(id: str, grade: int, legs: Mapping[Mode, Ranking], document: Document | None) -> Answer:
    title, text = (document.title, document.text) if document else ("", "")
    return Answer(id, grade, {mode: _rank(ranking, id) for mode, ranking in legs.items()}, title, _short(text))


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= SNIPPET else plain[: SNIPPET - 1].rstrip() + "…"


def as_json(found: WinsAndLosses) -> dict[str, Any]:
    """Return JSON values: the measure, the three counts, the examples under ``examples``, each query's ``changes``."""
    return {
        "measure": PRIMARY,
        "wins": found.wins,
        "ties": found.ties,
        "losses": found.losses,
        "examples": {
            "wins": [asdict(example) for example in found.largest_wins],
            "losses": [asdict(example) for example in found.largest_losses],
        },
        "changes": dict(found.changes),
    }


def example_rows(found: WinsAndLosses) -> list[tuple[str, ...]]:
    """Return a table's cells: a header row, then a row per example."""
    header = ("", "query", "BM25", "hybrid", "rank in BM25", "in k-NN", "in hybrid", "relevant document")
    sides = (("win", found.largest_wins), ("loss", found.largest_losses))
    return [header, *((name, *_cells(example)) for name, examples in sides for example in examples)]


def _cells(example: QueryExample) -> tuple[str, ...]:
    answer = example.answer
    ranks = (str(answer.ranks[mode] or "none") for mode in ("bm25", "knn", "hybrid"))
    document = f"{answer.title}: {answer.snippet}" if answer.title else answer.snippet
    return (example.query, f"{example.bm25:.3f}", f"{example.hybrid:.3f}", *ranks, f"[{answer.id}] {document}")
