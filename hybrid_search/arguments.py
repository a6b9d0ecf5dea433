"""What searches and additions are given, checked once, whichever retriever was asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from hybrid_search.engines.documents import ids_of
from hybrid_search.errors import UsageError, shown
from hybrid_search.filters import Filter
from hybrid_search.filters.parser import parse_filter

__all__ = ["MAX_K", "asked_texts", "check_page", "ids_of", "parsed", "texts_of"]

MAX_K = 10_000
"""The deepest rank that can be asked for, as on OpenSearch."""


def check_page(k: int, offset: int) -> None:
    """Check how many hits are asked for, and from which on.

    :raises UsageError: if these are no whole numbers, or reach behind the last rank that there can be.
    """
    if not (isinstance(k, int) and isinstance(offset, int)):
        raise UsageError(f"k is {shown(k)} and offset {shown(offset)}; both must be whole numbers")
    if not 1 <= k <= MAX_K:
        raise UsageError(f"k is {k}; it must be from 1 to {MAX_K}")
    if not 0 <= offset <= MAX_K - k:
        raise UsageError(f"offset is {offset}; it must be from 0 to {MAX_K - k} with k {k}: {MAX_K} ranks is the limit")


def parsed(filter: Filter | str | None) -> Filter | None:
    """Return a filter's tree.

    :raises FilterError: if it can't be parsed; :raises UsageError: if it is neither a text nor a tree.
    """
    if filter is None or isinstance(filter, get_args(Filter)):
        return filter
    if isinstance(filter, str):
        return parse_filter(filter)
    raise UsageError(
        f"filter is {shown(filter)}; give an expression such as 'year >= 2020', or a tree of hybrid_search.filters"
    )


def asked_texts(queries: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the positions and texts of the queries that ask anything.

    :raises UsageError: if a query is no text.
    """
    texts = texts_of(queries, "queries")
    asked = [place for place, text in enumerate(texts) if text.strip()]
    return asked, [texts[place] for place in asked]


def texts_of(texts: Sequence[str], name: str) -> list[str]:
    """Check that these are texts; lone surrogates, which have no UTF-8 form, become question marks.

    :raises UsageError: if they are one text, which would be taken for its letters, or hold anything else.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        what = "one text" if isinstance(texts, str) else type(texts).__name__
        raise UsageError(f"{name} is {what}; give a list of texts")
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"{name} holds {shown(text)}, which is no text")
    return [text if text.isascii() else text.encode("utf-8", "replace").decode() for text in texts]
