"""Undoes steps in reverse order if a later one fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from hybrid_search.errors import HybridSearchError, Unreachable

__all__ = ["Made", "Undo"]

_PATIENCE = 2.0
_PAUSE = 0.2

_log = logging.getLogger(__name__)


class Made:
    """Something that a request creates, whose id comes with the answer.

    If the answer never arrived, because of an interruption, it is searched for on the server.

    :param find: returns the ids of matching objects that did not exist before.
    :param delete: deletes an object by its id.
    """

    def __init__(self, find: Callable[[], Iterable[str]], delete: Callable[[str], object]) -> None:
        self._find = find
        self._delete = delete
        self._id = ""

    def known(self, id: str) -> str:
        """Remember the id from the answer; returns it."""
        self._id = id
        return id

    def remove(self) -> None:
        """Delete it if it exists."""
        until = time.monotonic() + _PATIENCE
        while not (ids := [self._id] if self._id else list(self._find())) and time.monotonic() < until:
            time.sleep(_PAUSE)  # the server may still be creating it
        for id in ids:
            self._delete(id)


class Undo:
    """Collects how to undo each step."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def by(self, what: str, step: Callable[[], object]) -> None:
        """Add how to undo a step.

        :param what: what the step created, for the message if undoing fails.
        """
        self._steps.append((what, step))

    @property
    def ahead(self) -> list[str]:
        """What is not undone yet, in the order of undoing."""
        return [what for what, _ in reversed(self._steps)]

    def run(self) -> list[str]:
        """Undo everything; returns what could not be undone, as the server refused or was unreachable."""
        left: list[str] = []
        is_unreachable = False
        while self._steps:
            what, step = self._steps[-1]
            try:
                if is_unreachable:  # each further try would wait as long as the first
                    left.append(what)
                else:
                    step()
            except HybridSearchError as error:
                _log.info("%s could not be undone: %s", what, error)
                left.append(what)
                is_unreachable = isinstance(error, Unreachable)
            self._steps.pop()
        return left
