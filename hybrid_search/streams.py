"""Iterables in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

__all__ = ["in_batches", "in_document_batches", "in_sized_batches"]

T = TypeVar("T")

_MOST_CHARACTERS = 1 << 24


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut a stream into lists of ``size`` items; the last may be shorter (``itertools.batched`` needs 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def in_document_batches(documents: Iterable[T], count: int) -> Iterator[list[T]]:
    """Cut a stream of documents into lists of at most ``count``, and of 16 million characters: what is held at a time.

    A larger document comes alone; what is no document counts for nothing, and is for the caller to find.
    """
    return in_sized_batches(documents, count, _MOST_CHARACTERS, _characters)


def _characters(document: object) -> int:
    text = getattr(document, "text", "")
    return len(text) if isinstance(text, str) else 0


def in_sized_batches(items: Iterable[T], count: int, most: int, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut a stream into lists of at most ``count`` items that together have at most a size.

    :param most: what the sizes of a list's items add up to at most; a larger item comes alone.
    """
    batch: list[T] = []
    held = 0
    for item in items:
        weight = size(item)
        if batch and (len(batch) == count or held + weight > most):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += weight
    if batch:
        yield batch
