"""Who takes part in a crowd: searchers, which judge each answer, and writers, which note what was acknowledged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from campaign.crowds.judge import Query, forbidden_hits, forbidden_ids, forbidden_texts
from campaign.crowds.model import GROUPS, Ledger, contents, name_of
from hybrid_search import AsyncRetriever, Document, Retriever

__all__ = ["Searcher", "Writer", "drawn_query"]

_WORDS = ("common", "cat", "dog", "tree", "cat common", "tree common")
_MANY = 10
"""Queries in one call; an index in a folder searches so many in several threads."""


def drawn_query(rng: random.Random, documents: int) -> Query:
    """Draw a query."""
    mode = rng.choices(("hybrid", "bm25", "knn"), (5, 3, 2))[0]
    word = rng.choice(_WORDS)
    if mode == "knn":
        word = rng.choice(_WORDS[1:4])
    elif mode == "bm25":
        word = rng.choice(_WORDS[:4])
    group = rng.randrange(GROUPS) if rng.random() < 0.3 else -1
    k = 5 if mode != "hybrid" and rng.random() < 0.3 else documents
    return Query(word, mode, k, group)


class Searcher:
    """Searches one retriever, in every way there is, and judges what comes."""

    def __init__(self, retriever: Retriever, ledger: Ledger, seed: int) -> None:
        self._retriever = retriever
        self._ledger = ledger
        self._rng = random.Random(seed)

    def step(self) -> tuple[int, str]:
        """Search once; returns how many answers were judged, and what was wrong with one, empty if nothing was."""
        way = self._rng.choices((self._one, self._many, self._rankings, self._get, self._count), (72, 8, 8, 8, 4))[0]
        return way()

    def _query(self) -> Query:
        return drawn_query(self._rng, self._ledger.documents)

    def _one(self) -> tuple[int, str]:
        query = self._query()
        before = self._ledger.acknowledged()
        hits = self._retriever.search(query.word, query.k, mode=query.mode, filter=query.filter)
        return 1, forbidden_hits(query, hits, before, self._ledger.begun())

    def _many(self) -> tuple[int, str]:
        query = self._query()
        before = self._ledger.acknowledged()
        answers = self._retriever.search_many([query.word] * _MANY, query.k, mode=query.mode, filter=query.filter)
        after = self._ledger.begun()
        wrong = [forbidden_hits(query, hits, before, after) for hits in answers]
        return _MANY, next(filter(None, wrong), "" if len(answers) == _MANY else f"{len(answers)} answers came")

    def _rankings(self) -> tuple[int, str]:
        query = self._query()
        before = self._ledger.acknowledged()
        found = self._retriever.rankings([query.word], query.k, mode=query.mode, filter=query.filter)
        return 1, forbidden_ids(query, found[0].ids, before, self._ledger.begun())

    def _get(self) -> tuple[int, str]:
        numbers = self._rng.sample(range(self._ledger.documents), 5)
        before = self._ledger.acknowledged()
        documents = self._retriever.get([name_of(number) for number in numbers])
        return 1, forbidden_texts(numbers, documents, before, self._ledger.begun())

    def _count(self) -> tuple[int, str]:
        before = self._ledger.acknowledged()
        count = self._retriever.engine.count()
        least, most = bounds(before, self._ledger.begun())
        return 1, "" if least <= count <= most else f"count() is {count}, not from {least} to {most}"

    async def step_awaited(self, retriever: AsyncRetriever) -> tuple[int, str]:
        """As :meth:`step`, in a task."""
        if self._rng.random() < 0.9:
            query = self._query()
            before = self._ledger.acknowledged()
            hits = await retriever.search(query.word, query.k, mode=query.mode, filter=query.filter)
            return 1, forbidden_hits(query, hits, before, self._ledger.begun())
        numbers = self._rng.sample(range(self._ledger.documents), 5)
        before = self._ledger.acknowledged()
        documents = await retriever.get([name_of(number) for number in numbers])
        return 1, forbidden_texts(numbers, documents, before, self._ledger.begun())


def bounds(before: list[int], after: list[int]) -> tuple[int, int]:
    """Return how many documents there may be, at the least and at the most."""
    least = most = 0
    for number, (first, latest) in enumerate(zip(before, after, strict=True)):
        there = [contents(number, version).document is not None for version in range(first, latest + 1)]
        least, most = least + all(there), most + any(there)
    return least, most


@dataclass(frozen=True, slots=True)
class _Change:
    """Documents of one writer that are added or deleted together; so many of them are there before."""

    numbers: list[int]
    added: list[Document]
    there: int

    @property
    def deleted(self) -> list[str]:
        return [] if self.added else [name_of(number) for number in self.numbers]

    def wrong(self, taken: int, rejected: Sequence[object] = ()) -> str:
        """Say what is wrong with the product's own count of what it took."""
        due = len(self.added) or self.there
        if taken == due and not rejected:
            return ""
        return f"{taken} of {due} changes to own documents were taken, rejected: {list(rejected)}"


class Writer:
    """Writes the next versions of its own documents, in order."""

    def __init__(self, ledger: Ledger, numbers: Sequence[int], seed: int) -> None:
        self._ledger = ledger
        self._numbers = list(numbers)
        self._rng = random.Random(seed)

    def step(self, retriever: Retriever) -> str:
        """Write once and note it; returns what was wrong, empty if nothing was."""
        change = self._drawn()
        self._ledger.begin(change.numbers)
        if change.added:
            report = retriever.add(change.added, allow_rejected=True)
            wrong = change.wrong(report.added, report.rejected)
        else:
            wrong = change.wrong(retriever.delete(change.deleted))
        self._ledger.acknowledge(change.numbers)
        return wrong

    async def step_awaited(self, retriever: AsyncRetriever) -> str:
        """As :meth:`step`, in a task."""
        change = self._drawn()
        self._ledger.begin(change.numbers)
        if change.added:
            report = await retriever.add(change.added, allow_rejected=True)
            wrong = change.wrong(report.added, report.rejected)
        else:
            wrong = change.wrong(await retriever.delete(change.deleted))
        self._ledger.acknowledge(change.numbers)
        return wrong

    def _drawn(self) -> _Change:
        chosen = self._rng.sample(self._numbers, min(len(self._numbers), self._rng.randint(1, 3)))
        last = {number: self._ledger.next_of(number) - 1 for number in chosen}
        made = {number: contents(number, version + 1).document for number, version in last.items()}
        if made[chosen[0]] is None:
            gone = [number for number, document in made.items() if document is None]
            return _Change(gone, [], sum(contents(number, last[number]).document is not None for number in gone))
        kept = {number: document for number, document in made.items() if document is not None}
        return _Change(list(kept), list(kept.values()), 0)
