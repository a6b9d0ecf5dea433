"""Undoing what was made, last things first, when something after it goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hybrid_search.errors import HybridSearchError, Unreachable

__all__ = ["Undo"]

_log = logging.getLogger(__name__)


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
