"""Whether an answer is one that the model allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from campaign.crowds.model import Contents, contents, name_of
from hybrid_search import Document, Hit

__all__ = ["Query", "forbidden_hits", "forbidden_ids", "forbidden_texts"]

_ROUNDING = 1e-4

Worth = Callable[[Contents], float | None]


@dataclass(frozen=True, slots=True)
class Query:
    """A query whose right answer is known from the versions that it may see.

    :ivar word: ``common``, which BM25 ranks by the number of its repeats; a word with an axis, which k-NN ranks by its
        cosine; or both joined by a blank, which finds everything.
    :ivar group: that a filter asks for; -1 without a filter.
    """

    word: str
    mode: Literal["hybrid", "bm25", "knn"]
    k: int
    group: int = -1

    @property
    def filter(self) -> str | None:
        """The filter to search with."""
        return None if self.group < 0 else f"group = g{self.group}"


@cache
def _worth(query: Query, number: int, version: int) -> float | None:
    """Return what ranks a version for a query, None where the query does not find it. Comparable within a query."""
    held = contents(number, version)
    if held.document is None or query.group not in (-1, held.group):
        return None
    words = query.word.split()
    by_bm25 = query.mode != "knn" and any(word in held.words for word in words)
    axis = next((word for word in words if word != "common"), "")
    if query.mode == "bm25":
        # A single word stands once in each text that has it, and texts are equally long: the id decides.
        return (held.repeats if words == ["common"] else 1.0) if by_bm25 else None
    by_knn = held.cosines is not None and axis in held.cosines
    if query.mode == "knn":
        return held.cosines[axis] if held.cosines is not None and by_knn else None
    return 0.0 if by_bm25 or by_knn else None


def forbidden_hits(query: Query, hits: Sequence[Hit], before: list[int], after: list[int]) -> str:
    """Return what is wrong with an answer, empty where nothing is.

    :param before: the versions acknowledged before the search; ``after``: those begun when it had ended.
    """
    seen: set[int] = set()
    for place, hit in enumerate(hits, start=1):
        if wrong := _forbidden_hit(query, hit, before, after, seen):
            return wrong
        if hit.rank != place:
            return f"hit {place} says that it has rank {hit.rank}"
    order = [(-hit.score, hit.id) for hit in hits]
    if order != sorted(order):
        return f"hits are out of order: {[(hit.id, hit.score) for hit in hits]}"
    return _missing(query, [hit.id for hit in hits], seen, before, after)


def _forbidden_hit(query: Query, hit: Hit, before: list[int], after: list[int], seen: set[int]) -> str:
    number, version = hit.metadata.get("number"), hit.metadata.get("version")
    if not (isinstance(number, int) and isinstance(version, int) and hit.id == name_of(number)):
        return f"{hit.id} came with the metadata {dict(hit.metadata)}"
    if number in seen:
        return f"{hit.id} came twice"
    seen.add(number)
    if wrong := _forbidden_version(number, version, before, after):
        return wrong
    held = contents(number, version)
    if held.document is None or (hit.text, hit.title) != (held.document.text, held.document.title):
        return f"{hit.id} of version {version} has the text {hit.text!r}"
    worth = _worth(query, number, version)
    if worth is None:
        return f"{hit.id} came with version {version}, which the query does not find: the score is another version's"
    leg = hit.legs.get("knn") if hit.legs else None
    axis = next((word for word in query.word.split() if word != "common"), "")
    if leg is not None and held.cosines and axis in held.cosines:
        right = (1 + held.cosines[axis]) / 2
        if abs(leg.score - right) > _ROUNDING:
            return f"{hit.id} of version {version} has the k-NN score {leg.score}, not {right}: another version's"
    return ""


def _forbidden_version(number: int, version: int, before: list[int], after: list[int]) -> str:
    if before[number] <= version <= after[number]:
        return ""
    which = "older than" if version < before[number] else "newer than any begun, as is"
    return f"{name_of(number)} came as version {version}, {which} {before[number]}, acknowledged before the search"


def _missing(query: Query, ids: list[str], seen: set[int], before: list[int], after: list[int]) -> str:
    """Tell of a document that each version it may have had ranks within k, and that is not there."""
    last = _last(query, ids, before, after) if len(ids) >= query.k else None
    for number, (first, latest) in enumerate(zip(before, after, strict=True)):
        if number in seen:
            continue
        worths = [_worth(query, number, version) for version in range(first, latest + 1)]
        if None in worths:
            continue
        least = min(worth for worth in worths if worth is not None)
        if last is None or (-least, name_of(number)) < last:
            return (
                f"{name_of(number)} is missing from {len(ids)} hits for {query}: acknowledged as version {first}, "
                f"begun up to {latest}"
            )
    return ""


def _last(query: Query, ids: list[str], before: list[int], after: list[int]) -> tuple[float, str]:
    """Return the place of the last hit at its best; whoever stands before it must be there."""
    if query.mode == "hybrid":  # its scores depend on what else there is
        return float("-inf"), ""
    number = int(ids[-1][1:])
    worths = [_worth(query, number, version) for version in range(before[number], after[number] + 1)]
    return -max(worth for worth in worths if worth is not None), ids[-1]


def forbidden_ids(query: Query, ids: Sequence[str], before: list[int], after: list[int]) -> str:
    """As :func:`forbidden_hits`, for an answer without texts."""
    seen: set[int] = set()
    for id in ids:
        number = int(id[1:])
        if number in seen:
            return f"{id} came twice"
        seen.add(number)
        if all(_worth(query, number, version) is None for version in range(before[number], after[number] + 1)):
            return f"{id} was found, and no version from {before[number]} to {after[number]} fits {query}"
    return _missing(query, list(ids), seen, before, after)


def forbidden_texts(
    numbers: Sequence[int], documents: Sequence[Document | None], before: list[int], after: list[int]
) -> str:
    """Return what is wrong with documents that were fetched by id."""
    for number, document in zip(numbers, documents, strict=True):
        versions = range(before[number], after[number] + 1)
        if document not in [contents(number, version).document for version in versions]:
            return (
                f"get({name_of(number)}) gave {document}, which is no version from {before[number]} to {versions[-1]}"
            )
    return ""
