"""The size of bulk requests: reduced when the server refuses, increased when it accepts. Pure but for a lock."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, TypeVar

__all__ = ["Limits", "Pace", "Traffic", "cut"]


class Sized(Protocol):
    """Anything with a size in bytes."""

    @property
    def size(self) -> int:
        """Its size in a request, in bytes."""


T = TypeVar("T", bound=Sized)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one request; a document beyond them is sent alone."""

    documents: int = 1_000
    bytes: int = 8 << 20


_SMALLEST = 1 / 128
_GROWTH = 1.25


class Pace:
    """The current limits, shared by all threads that send to a server: halved by a refusal, raised by each success."""

    def __init__(self, most: Limits | None = None) -> None:
        self._most = most or Limits()
        self._share = 1.0
        self._lock = threading.Lock()

    @property
    def limits(self) -> Limits:
        """The current limits of a request."""
        share = self._share
        return Limits(max(1, int(self._most.documents * share)), max(1, int(self._most.bytes * share)))

    def slower(self) -> None:
        """Reduce the limits: the server refused temporarily, or the connection broke."""
        with self._lock:
            self._share = max(_SMALLEST, self._share / 2)

    def faster(self) -> None:
        """Raise the limits: the server accepted a request."""
        with self._lock:
            self._share = min(1.0, self._share * _GROWTH)


def cut(items: Sequence[T], limits: Limits) -> tuple[Sequence[T], Sequence[T]]:
    """Split items into those that fit into one request, at least one, and the rest."""
    size = count = 0
    for item in islice(items, limits.documents):
        if count and size + item.size > limits.bytes:
            break
        size += item.size
        count += 1
    return items[:count], items[count:]


@dataclass(slots=True)
class Traffic:
    """Counts of what was sent to a server, by all threads.

    :ivar bytes: of the bodies of requests, including repeated ones.
    :ivar retries: requests sent again, wholly or in part.
    :ivar refusals: documents that the server refused temporarily (429, 503), each time.
    """

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    refusals: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def sent(self, items: Iterable[Sized]) -> None:
        """Count a request."""
        size = sum(item.size for item in items)
        with self._lock:
            self.requests += 1
            self.bytes += size

    def sent_back(self, documents: int) -> None:
        """Count a request of which this many documents must be sent again."""
        with self._lock:
            self.retries += 1
            self.refusals += documents
