"""Undoing what was made, last things first, when something after it goes wrong."""

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
    """What a request is to make under an id that its answer brings.

    Where the answer never arrived, as somebody interrupted, it is looked for on the server.

    :param find: ids of what looks like it and was not there before.
    """

    def __init__(self, find: Callable[[], Iterable[str]], delete: Callable[[str], object]) -> None:
        self._find = find
        self._delete = delete
        self._id = ""

    def known(self, id: str) -> str:
        """Take the id from the answer, and give it back."""
        self._id = id
        return id

    def remove(self) -> None:
        """Delete it, if it is there."""
        until = time.monotonic() + _PATIENCE
        while not (ids := [self._id] if self._id else list(self._find())) and time.monotonic() < until:
            time.sleep(_PAUSE)  # the server may be at it
        for id in ids:
            self._delete(id)


class Undo:
    """Remembers how each thing that was made is removed again."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def by(self, what: str, step: Callable[[], object]) -> None:
        """Remember how to undo one thing.

        :param what: for the message, if that fails.
        """
        self._steps.append((what, step))

    @property
    def ahead(self) -> list[str]:
        """What is not undone yet, last things first."""
        return [what for what, _ in reversed(self._steps)]

    def run(self) -> list[str]:
        """Undo everything; returns what is left, where the server could not be asked or refused."""
        left: list[str] = []
        gone = False
        while self._steps:
            what, step = self._steps[-1]
            try:
                if gone:  # each further try would wait for as long as the first
                    left.append(what)
                else:
                    step()
            except HybridSearchError as error:
                _log.info("%s could not be undone: %s", what, error)
                left.append(what)
                gone = isinstance(error, Unreachable)
            self._steps.pop()
        return left
