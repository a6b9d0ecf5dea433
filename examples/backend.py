"""A small backend on the public interface: add notes, search them with a filter, blocking and asynchronous.

    hybrid-search quickstart
    python examples/backend.py quickstart/index "how often is the key rotated"

Works the same with ``opensearch://host:9200/passages`` in the place of the folder.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import hybrid_search
from hybrid_search import (
    And,
    AsyncRetriever,
    DataError,
    Document,
    Filter,
    Fusion,
    Hit,
    HybridSearchError,
    IndexNotFound,
    Overloaded,
    Range,
    Rejection,
    Retriever,
    Term,
    Unreachable,
    UsageError,
)

STATUS: tuple[tuple[type[HybridSearchError], int], ...] = (
    (UsageError, 400),
    (DataError, 422),
    (IndexNotFound, 404),
    (Overloaded, 503),
    (Unreachable, 503),
)
"""Error class -> HTTP status; the first class that fits decides, and any other error is 500."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the backend sends to its client.

    :ivar share_of_bm25: how much of the score came from BM25, 0..1.
    """

    id: str
    score: float
    text: str
    share_of_bm25: float

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """Take what the client needs out of a hit."""
        lexical = hit.legs.get("bm25")
        return cls(hit.id, hit.score, hit.text, lexical.share if lexical else 0.0)


class Notes:
    """Notes with an author and a year, in one index. Safe to share between threads."""

    def __init__(self, location: str) -> None:
        self._retriever: Retriever = hybrid_search.open(location, writable=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._retriever.close()

    def add(self, notes: Iterable[Document]) -> tuple[Rejection, ...]:
        """Add or replace notes; they are found as soon as this returns.

        :return: the notes that were refused, each with the field and the reason; the others are in.
        """
        return self._retriever.add(notes, allow_rejected=True).rejected

    def remove(self, ids: Sequence[str]) -> int:
        """Delete notes; returns how many there were."""
        return self._retriever.delete(ids)

    def search(self, query: str, *, author: str = "", since: int | None = None, k: int = 3) -> list[Answer]:
        """Find the k best notes, of an author and from a year on where these are given.

        :raises HybridSearchError: see :func:`status_of`.
        """
        fusion = Fusion(weights=(0.7, 0.3))
        hits = self._retriever.search(query, k, filter=condition(author, since), fusion=fusion)
        return [Answer.of(hit) for hit in hits]


async def search_all(location: str, queries: Sequence[str], *, author: str = "", k: int = 3) -> list[list[Answer]]:
    """Answer several queries at once without blocking the event loop; each as :meth:`Notes.search`."""
    async with AsyncRetriever(hybrid_search.open(location)) as retriever:
        searches = (retriever.search(query, k, filter=condition(author)) for query in queries)
        return [[Answer.of(hit) for hit in hits] for hits in await asyncio.gather(*searches)]


def condition(author: str = "", since: int | None = None) -> Filter | None:
    """Build the filter; None lets every note through. A text such as ``'author = "ada"'`` would do as well."""
    parts: list[Filter] = []
    if author:
        parts.append(Term("author", author))
    if since is not None:
        parts.append(Range("year", gte=since))
    return And(tuple(parts)) if parts else None


def status_of(error: HybridSearchError) -> int:
    """Return the HTTP status for an error; the error's message is fit to be shown."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def main() -> int:
    """Add two notes, search for them, and take them out again."""
    parser = argparse.ArgumentParser(description="Add two notes to an index, search, and take them out again.")
    parser.add_argument("location", help="an index: a folder, or opensearch://host:9200/index")
    parser.add_argument("query")
    arguments = parser.parse_args()
    notes = [
        Document("note-1", "Rotate the signing key every ninety days.", metadata={"author": "ada", "year": 2026}),
        Document("note-2", "The signing key was rotated in May.", metadata={"author": "grace", "year": 2025}),
    ]
    try:
        with Notes(arguments.location) as backend:
            for rejection in backend.add(notes):
                sys.stderr.write(f"refused: {rejection.field} {rejection.reason}\n")
            found = backend.search(arguments.query, author="ada", since=2026)
            [found_async] = asyncio.run(search_all(arguments.location, [arguments.query], author="grace"))
            backend.remove([note.id for note in notes])
    except HybridSearchError as error:
        sys.stderr.write(f"{status_of(error)} {error}\n")
        return 1
    for answer in (*found, *found_async):
        sys.stdout.write(f"{answer.id} {answer.score:.3f} {answer.share_of_bm25:.2f} {answer.text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
