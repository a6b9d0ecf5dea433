"""Being told of every search that a retriever answered: for a query log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from hybrid_search.settings.index import Fusion
from hybrid_search.steps import Steps
from hybrid_search.types import Hit

__all__ = ["Asked", "Observer", "Searched", "observed"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a retriever in one call.

    :ivar filtered: whether a filter was given.
    :ivar fusion: None for a search of one leg alone.
    """

    queries: Sequence[str]
    k: int
    offset: int
    mode: str
    filtered: bool
    fusion: Fusion | None


@dataclass(frozen=True, slots=True)
class Searched:
    """A call and its answer.

    :ivar hits: for each query.
    :ivar seconds: that the call took, encoding and the texts of the hits included.
    """

    asked: Asked
    hits: Sequence[Sequence[Hit]]
    seconds: float


class Observer(Protocol):
    """Is told of searches, in the thread or task that searches; must be quick about it, and never raise."""

    def began(self) -> None:
        """A search begins."""

    def ended(self, search: Searched) -> None:
        """It was answered; nothing is told of one that failed."""

    def close(self) -> None:
        """No more will come."""


def observed(steps: Steps[list[list[Hit]]], asked: Asked, observer: Observer) -> Steps[list[list[Hit]]]:
    """Do what ``steps`` does, and tell the observer."""
    observer.began()
    started = perf_counter()
    hits = yield from steps
    observer.ended(Searched(asked, hits, perf_counter() - started))
    return hits
