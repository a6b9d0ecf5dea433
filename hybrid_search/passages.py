"""Passages: how the parts of a long document are called, and how a ranking of passages becomes one of documents.

A passage is a document of its own, with the id ``DOCUMENT#p1``, ``DOCUMENT#p2`` and so on, and with metadata that say
which document it is of and how many passages that has. An index with the metadata field :data:`OF` is one of passages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from hybrid_search.types import Document, Hit

__all__ = [
    "COUNT",
    "DEFAULT_SHOWN",
    "HEADING",
    "NUMBER",
    "OF",
    "Pieces",
    "count_of",
    "document_of",
    "grouped",
    "hits_of_documents",
    "joined",
    "passage_id",
]

OF = "passage_of"
"""The metadata field with the id of the document."""

NUMBER = "passage"
COUNT = "passages"
HEADING = "heading"

DEFAULT_SHOWN = 3
"""Most passages of a document that are shown with its hit."""

_LEVEL = " › "
_MOST_REPEATED = 4_000
_FEWEST_REPEATED = 8
"""Characters; that two texts share fewer at their border is chance."""

_ID = re.compile(r"(.+)#p([1-9]\d*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pieces:
    """How towers read a text.

    :ivar count: returns the number of word pieces of a text; of a long one at least as many as a passage can have.
    :ivar most: number of pieces of a title and a text that the document tower reads.
    """

    count: Callable[[str], int]
    most: int


def passage_id(document_id: str, number: int) -> str:
    """Return the id of a document's passage, counted from 1."""
    return f"{document_id}#p{number}"


def document_of(id: str) -> str:
    """Return the id of a passage's document; any other id is that of its document."""
    found = _ID.fullmatch(id)
    return found[1] if found else id


def count_of(first: Document | None) -> int:
    """Return how many passages a document has.

    :param first: its first passage, which says so, whoever wrote it; None if there is none.
    """
    count = first.metadata.get(COUNT, 0) if first is not None else 0
    return count if isinstance(count, int) else 0


def joined(document_id: str, passages: Sequence[Document]) -> Document:
    """Put a document together again; what a passage repeats of the one before is there once.

    :param passages: all of them, in order; at least one.
    """
    text = passages[0].text
    for passage in passages[1:]:
        text = _continued(text, passage.text)
    titles = [passage.title.split(_LEVEL) for passage in passages]
    shared = takewhile(lambda level: len(set(level)) == 1, zip(*titles, strict=False))
    metadata = {name: value for name, value in passages[0].metadata.items() if name not in (OF, NUMBER, COUNT, HEADING)}
    return Document(document_id, text, _LEVEL.join(level[0] for level in shared), metadata)


def _continued(text: str, more: str) -> str:
    end = text[-_MOST_REPEATED:]
    for size in range(min(len(end), len(more)), _FEWEST_REPEATED - 1, -1):
        if end.endswith(more[:size]):
            return text + more[size:]
    return f"{text}\n\n{more}"


def grouped(ids: Sequence[str | None], shown: int) -> list[list[int]]:
    """Group a ranking of passages: a document ranks as its best passage.

    :param ids: of the passages, best first; None for one that is not there any more.
    :param shown: most passages of a document.
    :return: for each document, in ranking order, the positions of its passages.
    """
    groups: dict[str, list[int]] = {}
    for position, id in enumerate(ids):
        if id is not None:
            group = groups.setdefault(document_of(id), [])
            if len(group) < shown:
                group.append(position)
    return list(groups.values())


def hits_of_documents(groups: Sequence[Sequence[Hit]], offset: int) -> list[Hit]:
    """Return a hit for each document.

    :param groups: the hits of each document's passages, best first; one without any is left out.
    :param offset: how many documents are before these.
    """
    return [
        replace(group[0], id=document_of(group[0].id), rank=rank, passages=tuple(group))
        for rank, group in enumerate(groups, offset + 1)
        if group
    ]
