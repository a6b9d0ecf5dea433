"""A search: the arguments of one call, checked once at the surface."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack, cast, get_args, overload

import numpy as np

from hybrid_search.errors import ModelMismatch, UsageError, shown
from hybrid_search.filters import Filter
from hybrid_search.filters.parser import parse_filter
from hybrid_search.protocols import Reranker, Vectors
from hybrid_search.second_stage import SecondStage
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.types import is_unicode

__all__ = [
    "MAX_K",
    "MODES",
    "MOST_VALUES",
    "MatchArguments",
    "Mode",
    "Search",
    "SearchArguments",
    "checked_vectors",
    "facets_of",
    "only",
    "texts_of",
]

Mode = Literal["hybrid", "bm25", "knn"]

MODES: tuple[Mode, ...] = get_args(Mode)
"""How queries are answered: with both legs fused, or with one leg."""

MAX_K = 10_000
"""The deepest rank that can be requested, as on OpenSearch."""

MOST_VALUES = 1_000
"""Most values of a field whose documents are counted."""

_MOST_FACETS = 20
_FIRST_DEPTH = 200
_MOST_SHOWN = 100


class MatchArguments(TypedDict, total=False):
    """What else a user may say of what is searched: arguments of the retrievers' methods, described there."""

    filter: Filter | str | None
    offset: int
    fusion: Fusion | None
    group: int | None
    min_score: float | None
    min_bm25: float | None
    min_knn: float | None


class SearchArguments(MatchArguments, total=False):
    """The same of a search for hits."""

    highlight: bool
    rerank: Reranker | bool | None
    rerank_depth: int | None
    diversity: float | None


Arguments = TypeVar("Arguments")


def only(names: type[Arguments], given: Arguments) -> Arguments:
    """Return the arguments of a call, whose names no type checker may have looked at.

    :param names: the typed dictionary that has the names.
    :raises TypeError: if there is another one.
    """
    if unknown := cast("Mapping[str, Any]", given).keys() - names.__annotations__.keys():
        known = ", ".join(names.__annotations__)
        raise TypeError(f"unexpected argument {min(unknown)!r}; besides the query, k and mode there are {known}")
    return given


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """The n queries of a call, and how to answer them. Created by :meth:`of` or :meth:`near`, which check it.

    :ivar texts: of the n queries, in the order of the results; a blank one is answered by its vector, if it has one.
    :ivar k: hits per query.
    :ivar vectors: (n, dimension) float32, a zero row for "no vector". None if the engine encodes the texts, and in mode
        ``bm25``. The engine, which knows the dimension, checks them.
    :ivar filter: find only documents that pass.
    :ivar offset: return the hits of ranks ``offset + 1`` to ``offset + k``.
    :ivar fusion: how mode ``hybrid`` fuses its legs; None for the index's own, and in the other modes.
    :ivar bm25: k1 and b instead of the index's, in mode ``bm25``.
    :ivar group: one hit for each document, with at most so many of its passages; 0 for a hit for each passage; None
        for the index's default, which the retriever puts in.
    :ivar highlight: say of each hit where it matched; the retriever does that with the engine's hits.
    :ivar min_score: leave out hits that score less, on the mode's scale: the fusion's, BM25's or k-NN's.
    :ivar min_bm25: in mode ``hybrid``, what scores less in the BM25 leg counts as not found by it.
    :ivar min_knn: the same of the k-NN leg, on OpenSearch's scale.
    :ivar second: how the first hits are ranked again; the retriever does that with the engine's hits.
    :ivar exact: in mode ``knn``, compare with every vector, even if the engine has a graph.
    :ivar unnamed: nobody named the mode, so that an index without vectors answers by BM25.
    :ivar began: when the call began, before encoding, by ``time.perf_counter``.
    """

    texts: Sequence[str]
    k: int
    mode: Mode = "hybrid"
    vectors: Vectors | None = None
    filter: Filter | None = None
    offset: int = 0
    fusion: Fusion | None = None
    bm25: Bm25 | None = None
    group: int | None = None
    highlight: bool = False
    min_score: float | None = None
    min_bm25: float | None = None
    min_knn: float | None = None
    second: SecondStage | None = None
    exact: bool = False
    unnamed: bool = False
    began: float = field(default_factory=perf_counter)

    @classmethod
    def of(
        cls,
        queries: Sequence[str],
        k: int,
        mode: Mode | None = "hybrid",
        *,
        vectors: Vectors | None = None,
        bm25: Bm25 | None = None,
        **given: Unpack[SearchArguments],
    ) -> Self:
        """Check a user's arguments.

        :param mode: None for the index's own: ``hybrid``, or ``bm25`` if it holds no vectors.
        :raises UsageError: if k, the offset, the group, a least score or the mode is invalid, or a value has the wrong
            type.
        :raises FilterError: if the filter can't be parsed.
        """
        began = perf_counter()
        _check_page(k, given.get("offset", 0))
        more: dict[str, Any] = {**only(SearchArguments, given), "filter": _parsed(given.get("filter"))}
        again = [more.pop(name, None) for name in ("rerank", "rerank_depth", "diversity")]
        stage = None if all(one is None for one in again) else SecondStage.of(k, *again)
        unnamed = mode is None
        meant: Mode = "hybrid" if mode is None else mode
        search = cls(
            texts_of(queries, "queries"),
            k,
            meant,
            vectors,
            bm25=bm25,
            began=began,
            unnamed=unnamed,
            second=stage,
            **more,
        )
        return search._checked()

    def first_stage(self) -> Self:
        """Return the search for the hits that are ranked again; this search if none are."""
        return self if self.second is None else replace(self, k=self.second.depth, offset=0)

    def by_words(self) -> Self:
        """Return this search in mode ``bm25``, for an index without vectors.

        :raises UsageError: if an argument is for the other modes.
        """
        return replace(self, mode="bm25", unnamed=False)._checked()

    def _checked(self) -> Self:
        self._check()
        return self if self.mode == "hybrid" or self.fusion is None else replace(self, fusion=None)

    def _check(self) -> None:
        group, mode, fusion, bm25 = self.group, self.mode, self.fusion, self.bm25
        if group is not None and not (isinstance(group, int) and 0 <= group <= _MOST_SHOWN):
            raise UsageError(f"group is {shown(group)}; it must be a whole number from 0 to {_MOST_SHOWN}")
        if mode not in MODES:
            raise UsageError(f"mode is {shown(mode)}; it must be one of {', '.join(MODES)}")
        if not isinstance(fusion, Fusion | None):
            raise UsageError(f"fusion is {shown(fusion)}; give a hybrid_search.Fusion")
        if not isinstance(bm25, Bm25 | None):
            raise UsageError(f"bm25 is {shown(bm25)}; give a hybrid_search.Bm25")
        if bm25 is not None and mode != "bm25":
            raise UsageError(f"bm25 parameters were given with mode {mode!r}; they apply to mode 'bm25'")
        _check_least(mode, min_score=self.min_score, min_bm25=self.min_bm25, min_knn=self.min_knn)
        if mode == "hybrid" and fusion is not None:
            _check_window(self.offset, fusion)
        if self.second is not None and self.offset >= self.second.depth:
            raise UsageError(
                f"offset is {self.offset}; it must be 0 to {self.second.depth - 1}, as so many hits are ranked again; "
                f"raise rerank_depth to page further"
            )

    @classmethod
    def near(cls, vectors: Vectors, k: int, *, filter: Filter | None = None, exact: bool = False) -> Self:
        """Create a search by vectors only, (n, dimension).

        :raises UsageError: as :meth:`of`.
        """
        return replace(cls.of([""] * len(vectors), k, "knn", vectors=vectors, filter=filter), exact=exact)

    @property
    def end(self) -> int:
        """The rank of the last requested hit."""
        return self.offset + self.k

    def least_of(self, leg: Mode) -> float | None:
        """Return the least score of a leg's hits, None for any."""
        if self.mode == leg:
            return self.min_score
        return self.min_bm25 if leg == "bm25" else self.min_knn

    def neighbours(self, fusion: Fusion) -> int:
        """Return how many nearest documents match in the k-NN leg: the window, or as many hits as are wanted.

        :param fusion: the index's.
        """
        if self.mode == "hybrid":
            return (self.fusion or fusion).window
        return max(fusion.window, self.end)

    def of_passages(self, depth: int) -> Self:
        """Return the search for the passages of this search's documents, the first ``depth`` of them."""
        return replace(self, k=depth, offset=0, group=0)

    @property
    def first_depth(self) -> int:
        """How many passages to rank at first to have this search's documents: all that a fusion has."""
        if self.mode == "hybrid" and self.fusion is not None:
            return min(2 * self.fusion.window, MAX_K)
        return min(max(_FIRST_DEPTH, 4 * self.end), MAX_K)

    def is_deep_enough(self, depth: int, passages: int, documents: int) -> bool:
        """Return whether a ranking has this search's documents.

        :param depth: how many passages were asked for; ``passages`` were found, of so many ``documents``.
        """
        return self.mode == "hybrid" or passages < depth or documents >= self.end or depth >= MAX_K

    def with_fusion(self, fusion: Fusion) -> Self:
        """Return this search with the index's fusion, if it needs one and has none.

        :raises UsageError: if the offset is beyond what two windows can contain.
        """
        if self.mode != "hybrid" or self.fusion is not None:
            return self
        _check_window(self.offset, fusion)
        return replace(self, fusion=fusion)

    def with_vectors(self, vectors: Vectors) -> Self:
        """Return this search with the vectors of its texts."""
        return replace(self, vectors=vectors)

    def vectors_of(self, dimension: int) -> Vectors:
        """Return the vectors of the texts as contiguous float32, (queries, dimension).

        :raises ModelMismatch: if their length is not the index's dimension.
        :raises UsageError: if there are none, or they are not one row of finite floats for each query.
        """
        if self.vectors is None:
            raise UsageError("this index does not encode queries; give their vectors, or search with mode 'bm25'")
        checked = checked_vectors(self.vectors, len(self.texts), dimension)
        if not np.isfinite(checked).all():
            raise UsageError("a query vector has a number that is not finite; encode the query again")
        return checked


@overload
def checked_vectors(vectors: Vectors, count: int, dimension: int) -> Vectors: ...


@overload
def checked_vectors(vectors: None, count: int, dimension: int) -> None: ...


@overload
def checked_vectors(vectors: Vectors | None, count: int, dimension: int) -> Vectors | None: ...


def checked_vectors(vectors: Vectors | None, count: int, dimension: int) -> Vectors | None:
    """Return vectors as contiguous float32, (count, dimension); None stays None.

    :raises ModelMismatch: if their length is not the index's dimension.
    :raises UsageError: if they are not ``count`` rows of floats.
    """
    if vectors is None:
        return None
    array = np.asarray(vectors)
    if array.ndim != 2 or len(array) != count:
        raise UsageError(f"the vectors have shape {array.shape}; they must be {count} rows, one for each text")
    if array.dtype.kind != "f":
        raise UsageError(f"the vectors are {array.dtype}; they must be floats (float32)")
    if array.shape[1] != dimension:
        existing = f"vectors of dimension {dimension}" if dimension else "no vectors"
        raise ModelMismatch(
            f"the vectors have dimension {array.shape[1]}, the index holds {existing}; "
            f"use the model that the index was built with"
        )
    with np.errstate(over="ignore"):  # numbers too large for float32 become infinite, and are rejected by the caller
        return np.ascontiguousarray(array, np.float32)


def facets_of(fields: Sequence[str], most_values: int) -> tuple[str, ...]:
    """Check the fields whose values are counted, and how many values of each are wanted.

    :raises UsageError: if these are no list of names, or the number is not from 1 to 1,000.
    """
    names = tuple(dict.fromkeys(texts_of(fields, "facets")))
    if not (isinstance(most_values, int) and 1 <= most_values <= MOST_VALUES):
        raise UsageError(f"facet_size is {shown(most_values)}; it must be a whole number from 1 to {MOST_VALUES}")
    if len(names) > _MOST_FACETS:
        raise UsageError(f"{len(names)} facets; at most {_MOST_FACETS} can be counted at once")
    return names


def texts_of(texts: Sequence[str], name: str) -> list[str]:
    """Check that these are texts.

    :param name: of the argument, for the message.
    :raises UsageError: if this is a single text, which would be taken as its letters, or contains other values or a
        text with a lone surrogate, which no index takes in a document either.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        what = "one text" if isinstance(texts, str) else type(texts).__name__
        raise UsageError(f"{name} is {what}; give a list of texts")
    given = list(texts)
    for text in given:
        if not isinstance(text, str):
            raise UsageError(f"{name} holds {shown(text)}, which is no text")
    try:
        "".join(given).encode()  # all at once: nearly always all are valid
    except UnicodeEncodeError:
        text = next(text for text in given if not is_unicode(text))
        raise UsageError(
            f"{name} holds {shown(text)}, which has a lone surrogate (half of a character); give valid Unicode"
        ) from None
    return given


def _check_page(k: int, offset: int) -> None:
    if not (isinstance(k, int) and isinstance(offset, int)):
        raise UsageError(f"k is {shown(k)} and offset {shown(offset)}; both must be whole numbers")
    if not 1 <= k <= MAX_K:
        raise UsageError(f"k is {shown(k)}; it must be from 1 to {MAX_K}")
    if not 0 <= offset <= MAX_K - k:
        raise UsageError(
            f"offset is {shown(offset)}; it must be from 0 to {MAX_K - k} with k {k}: {MAX_K} ranks is the limit"
        )


def _check_least(mode: Mode, **least: float | None) -> None:
    for name, score in least.items():
        if score is None:
            continue
        if isinstance(score, bool) or not isinstance(score, int | float) or not _is_finite(score):
            raise UsageError(f"{name} is {shown(score)}; it must be a finite number")
        if name != "min_score" and mode != "hybrid":
            raise UsageError(f"{name} was given with mode {mode!r}; it is for mode 'hybrid', use min_score")


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer that no float is near
        return False


def _check_window(offset: int, fusion: Fusion) -> None:
    if offset >= 2 * fusion.window:
        raise UsageError(
            f"offset is {offset}; it must be 0 to {2 * fusion.window - 1}, as two legs of {fusion.window} hits hold "
            f"no more; raise the fusion's window to page further"
        )


def _parsed(filter: Filter | str | None) -> Filter | None:
    if filter is None or isinstance(filter, get_args(Filter)):
        return filter
    if isinstance(filter, str):
        return parse_filter(filter)
    raise UsageError(
        f"filter is {shown(filter)}; give an expression such as 'year >= 2020', or a tree of hybrid_search.filters"
    )
