"""An index under attack beside what it must hold, a plain mapping that is kept by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from campaign.fuzz.conditions import KINDS, fits, leaves, may_be_refused
from campaign.fuzz.expectation import Answer, Broken, Refused, outcome_of, shown
from campaign.fuzz.strategies import WORDS
from hybrid_search import Document, Hit, Retriever

__all__ = ["EVERYTHING", "Place"]

EVERYTHING = " ".join(WORDS)
"""Finds each document that has any of the usual words."""


@dataclass(slots=True)
class Place:
    """One index.

    :ivar held: what was accepted, by id.
    :ivar kinds: the types of the fields declared so far.
    :ivar most_leaves: conditions that a filter may have.
    """

    retriever: Retriever
    held: dict[str, Document] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=lambda: dict(KINDS))
    most_leaves: float = math.inf

    def add(self, documents: Sequence[Document]) -> list[int]:
        """Add documents; returns the positions of those that were refused.

        :raises Broken: if a refusal gives no reason, or not the document.
        """
        told = outcome_of(lambda: self.retriever.add(documents, allow_rejected=True))
        if isinstance(told, Refused):
            raise Broken(f"one of {len(documents)} documents ended the addition of all: {told}")
        refused = self._positions(documents, [json.loads(one.record) for one in told.value.rejected])
        if silent := [one for one in told.value.rejected if len(one.reason) < 5]:
            raise Broken(f"{silent[0]} was refused without a reason")
        taken = {document.id for position, document in enumerate(documents) if position not in refused}
        if told.value.added != len(taken):  # of those with one id the last is there
            raise Broken(f"{told.value.added} were added and {len(refused)} refused of {len(documents)}")
        for position, document in enumerate(documents):
            if position not in refused:
                self.held[document.id] = document
        self.kinds = dict(self.retriever.engine.settings.fields)
        return refused

    @staticmethod
    def _positions(documents: Sequence[Document], records: Sequence[Mapping[str, Any]]) -> list[int]:
        """Find the refused documents by what the refusals say of them."""
        left = [(position, _named(vars_of(one)), _told(one.metadata)) for position, one in enumerate(documents)]
        positions = []
        for record in records:
            alike = [one for one in left if one[1] == _named(record)]
            # Of two documents that differ in their metadata alone, that whose metadata is told.
            found = next((one for one in alike if one[2] == _told(record.get("metadata"))), next(iter(alike), None))
            if found is None:
                raise Broken(f"a refusal names {record!r}, which was not among the documents")
            left.remove(found)
            positions.append(found[0])
        return sorted(positions)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents, of which some may not be there.

        :raises Broken: if another number is told.
        """
        told = outcome_of(lambda: self.retriever.delete(ids))
        if isinstance(told, Refused):
            return
        there = {id for id in ids if self.held.pop(id, None) is not None}
        if told.value != len(there):
            raise Broken(f"delete({ids!r}) tells {told.value} deleted, there were {len(there)}")

    def check(self, others: Sequence[Any]) -> None:
        """Check that what was accepted is there as it was given, and nothing else.

        :param others: ids of documents that were refused.
        :raises Broken: naming the first difference.
        """
        ids = list(self.held)
        for id, found in zip(ids, self.retriever.get(ids), strict=True):
            if found is None:
                raise Broken(f"document {id!r} was accepted and is not there")
            if not _equal(found, self.held[id]):
                raise Broken(f"{self.held[id]!r} came back as {found!r}")
        count = self.retriever.engine.count()
        if count != len(self.held):
            raise Broken(f"the index counts {count} documents, {len(self.held)} were accepted")
        for id in others:
            if isinstance(id, str) and id not in self.held:
                told = outcome_of(lambda id=id: self.retriever.get([id]))
                if isinstance(told, Answer) and told.value != [None]:
                    raise Broken(f"document {id!r} was refused and is there: {told.value}")
        listed = sorted(document.id for document in self.retriever.engine.documents())
        if listed != sorted(self.held):
            raise Broken(f"iterating gives {listed}, accepted were {sorted(self.held)}")

    def ask(self, queries: Sequence[str], mode: str, k: int = 10) -> list[list[Hit]]:
        """Search in one batch, and check the hits.

        :raises Broken: if a query is refused, or hits are not whole, in order, each once.
        """
        told = outcome_of(lambda: self.retriever.search_many(queries, k, mode=mode))  # type: ignore[arg-type]
        if isinstance(told, Refused):
            if len(queries) > 1:  # name the one that is at fault
                for query in queries:
                    self.ask([query], mode, k)
            what = f"query {shown(queries[0], 200)} ({len(queries[0])} characters)" if len(queries) == 1 else "a batch"
            raise Broken(f"{what} ({mode}) was refused: {told}")
        for query, hits in zip(queries, told.value, strict=True):
            self._check_hits(f"{shown(query, 200)} ({mode})", hits, k)
        return told.value

    def _check_hits(self, asked: str, hits: Sequence[Hit], k: int) -> None:
        ids = [hit.id for hit in hits]
        if len(set(ids)) != len(ids) or len(ids) > k:
            raise Broken(f"{asked} finds {ids}")
        for rank, hit in enumerate(hits, 1):
            if hit.id not in self.held or not _equal(hit, self.held[hit.id]):
                raise Broken(f"{asked} finds {hit!r}, held is {self.held.get(hit.id)!r}")
            if hit.rank != rank or not math.isfinite(hit.score):
                raise Broken(f"{asked} gives rank {rank} as {hit!r}")
        order = [(-hit.score, hit.id) for hit in hits]
        if order != sorted(order):
            raise Broken(f"{asked} is not in order: {[(hit.id, hit.score) for hit in hits]}")

    def narrow(self, condition: Any, mode: str, base: frozenset[str]) -> frozenset[str] | None:
        """Search everything under a filter, and check what is found; None where the filter was refused.

        :param base: what the same search finds without a filter.
        :raises Broken: if other documents are found than fit, or a sound filter is refused.
        """
        told = outcome_of(lambda: self.retriever.rankings([EVERYTHING], 200, mode=mode, filter=condition))  # type: ignore[arg-type]
        if isinstance(told, Refused):
            if not may_be_refused(condition, self.kinds) and leaves(condition) <= self.most_leaves:
                raise Broken(f"filter {shown(condition)} was refused: {told}")
            return None
        found = frozenset(told.value[0].ids)
        try:
            wanted = {id for id in base if fits(condition, self.held[id].metadata, self.kinds)}
        except (LookupError, TypeError, RecursionError) as error:
            raise Broken(f"filter {shown(condition)} means nothing ({error}), and found {sorted(found)}") from None
        if found != wanted:
            wrong = sorted(found ^ wanted)[:3]
            metadata = {id: dict(self.held[id].metadata) if id in self.held else "not held" for id in wrong}
            raise Broken(f"filter {shown(condition)} found {sorted(found)}, fitting are {sorted(wanted)}; {metadata}")
        return found

    def everything(self, mode: str) -> frozenset[str]:
        """Search everything without a filter."""
        return frozenset(self.retriever.rankings([EVERYTHING], 200, mode=mode)[0].ids)  # type: ignore[arg-type]


def vars_of(document: Document) -> dict[str, Any]:
    """Take a document apart."""
    return {"id": document.id, "text": document.text, "title": document.title}


def _named(record: Mapping[str, Any]) -> str:
    return json.dumps([record["id"], record["text"], record["title"]], default=repr)


def _told(metadata: Any) -> str:
    return json.dumps(metadata, default=repr)


def _equal(found: Document | Hit, given: Document) -> bool:
    same = (found.id, found.text, found.title) == (given.id, given.text, given.title)
    return same and _plain(found.metadata) == _plain(given.metadata)


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Let 1 and 1.0 be equal, and 1 and True not."""
    return {name: (isinstance(value, bool), isinstance(value, tuple), value) for name, value in metadata.items()}
