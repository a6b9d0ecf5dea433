"""Iterables in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

__all__ = ["in_batches", "in_document_batches", "in_sized_batches"]

T = TypeVar("T")

_MOST_CHARACTERS = 1 << 24


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split a stream into lists of ``size`` items; the last may be shorter (``itertools.batched`` needs 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def in_document_batches(documents: Iterable[T], count: int) -> Iterator[list[T]]:
    """Split a stream of documents into lists of at most ``count`` documents and 16 million characters, to limit memory.

    A larger document is a list of its own; objects that are no documents count as empty, and are checked by the caller.
    """
    return in_sized_batches(documents, count, _MOST_CHARACTERS, _characters)


def _characters(document: object) -> int:
    text = getattr(document, "text", "")
    return len(text) if isinstance(text, str) else 0


def in_sized_batches(items: Iterable[T], count: int, most: int, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Split a stream into lists of at most ``count`` items with a limited total size.

    :param most: maximum of the sum of a list's sizes; a larger item is a list of its own.
    """
    batch: list[T] = []
    total = 0
    for item in items:
        weight = size(item)
        if batch and (len(batch) == count or total + weight > most):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += weight
    if batch:
        yield batch
