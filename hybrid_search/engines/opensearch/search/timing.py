"""How long the server worked for the search at hand, in this thread or task."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["forget", "note", "noted"]

_TOOK: ContextVar[int | None] = ContextVar("took", default=None)


def note(milliseconds: int) -> None:
    """Note the server's time for a request; several add up."""
    _TOOK.set((_TOOK.get() or 0) + milliseconds)


def forget() -> None:
    """Begin anew."""
    _TOOK.set(None)


def noted() -> int | None:
    """Return the milliseconds noted since; None without a request."""
    return _TOOK.get()
