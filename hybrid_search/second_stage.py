"""What a second stage of a search does with the first hits; :mod:`hybrid_search.retrieval.reranking` does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from hybrid_search.errors import UsageError, shown
from hybrid_search.protocols import Reranker

__all__ = ["RERANK_DEPTH", "SecondStage", "check_depth"]

RERANK_DEPTH = 50
"""How many hits a second stage ranks again, unless it is told."""

_DEEPEST = 10_000


@dataclass(frozen=True, slots=True)
class SecondStage:
    """How the first hits of a search are ranked again before its page is cut out of them.

    :ivar depth: how many hits, from the first on; there are no others then.
    :ivar rerank: scores them; None to keep their scores.
    :ivar diversity: how much a hit's likeness to those before it counts, 0..1; None not to look at it.
    """

    depth: int
    rerank: Reranker | None = None
    diversity: float | None = None

    @classmethod
    def of(cls, k: int, rerank: Reranker | bool | None, depth: int | None, diversity: float | None) -> Self | None:
        """Check a user's arguments; return None if they ask for no second stage.

        :param k: how many hits are wanted.
        :raises UsageError: if one is invalid.
        """
        if rerank is True:
            raise UsageError("rerank is True, and the index was opened without a reranker; give one here, or to open")
        chosen = None if rerank is False else rerank
        if not (chosen is None or callable(chosen)):
            raise UsageError(f"rerank is {shown(rerank)}; give a callable of a query and its hits, or True or False")
        if diversity is not None and (
            isinstance(diversity, bool) or not isinstance(diversity, int | float) or not 0 <= diversity <= 1
        ):
            raise UsageError(f"diversity is {shown(diversity)}; it must be a number from 0 to 1")
        check_depth(depth)
        if chosen is None and diversity is None:
            if depth is not None:
                raise UsageError(
                    f"rerank_depth is {depth}, and nothing is reranked; give rerank or diversity, or leave it"
                )
            return None
        return cls(depth or max(RERANK_DEPTH, k), chosen, diversity)


def check_depth(depth: int | None) -> None:
    """Check how many hits are to be ranked again; None for the default.

    :raises UsageError: if this is no whole number from 1 to 10,000.
    """
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= _DEEPEST):
        raise UsageError(f"rerank_depth is {shown(depth)}; it must be a whole number from 1 to {_DEEPEST}")
