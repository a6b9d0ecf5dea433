"""Small indexes for a crowd, with towers that need no model."""

from __future__ import annotations

from pathlib import Path

from fakes import AXIS_SETTINGS, AxisEncoder

from hybrid_search import Retriever
from hybrid_search.opening import create_index, open_engine

__all__ = ["created", "opened"]


def created(location: str | Path) -> Retriever:
    """Make an empty index and open it to write."""
    return Retriever(AxisEncoder(), create_index(location, AXIS_SETTINGS))


def opened(location: str | Path, *, writable: bool = False) -> Retriever:
    """Open an index."""
    return Retriever(AxisEncoder(), open_engine(location, writable=writable))
