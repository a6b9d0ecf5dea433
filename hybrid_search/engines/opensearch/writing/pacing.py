"""How much goes into one bulk request: less after the server refused, more again after it took. Pure but for a lock."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, TypeVar

__all__ = ["Limits", "Pace", "Traffic", "cut"]


class Sized(Protocol):
    """What has a size in bytes."""

    @property
    def size(self) -> int:
        """Bytes that it takes in a request."""


T = TypeVar("T", bound=Sized)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may hold; a document that is larger by itself goes alone."""

    documents: int = 1_000
    bytes: int = 8 << 20


_SMALLEST = 1 / 128
_GROWTH = 1.25


class Pace:
    """The limits of the moment, shared by all that send to one server: halved by a refusal, grown by each success."""

    def __init__(self, most: Limits | None = None) -> None:
        self._most = most or Limits()
        self._share = 1.0
        self._lock = threading.Lock()

    @property
    def limits(self) -> Limits:
        """What a request may hold now."""
        share = self._share
        return Limits(max(1, int(self._most.documents * share)), max(1, int(self._most.bytes * share)))

    def slower(self) -> None:
        """The server refused for now, or the connection broke."""
        with self._lock:
            self._share = max(_SMALLEST, self._share / 2)

    def faster(self) -> None:
        """The server took a request."""
        with self._lock:
            self._share = min(1.0, self._share * _GROWTH)


def cut(items: Sequence[T], limits: Limits) -> tuple[Sequence[T], Sequence[T]]:
    """Split items into what fits into one request, at least one item, and the rest."""
    size = count = 0
    for item in islice(items, limits.documents):
        if count and size + item.size > limits.bytes:
            break
        size += item.size
        count += 1
    return items[:count], items[count:]


@dataclass(slots=True)
class Traffic:
    """What went to a server, counted by all that send.

    :ivar bytes: of requests' bodies, those sent again included.
    :ivar retries: requests sent again, wholly or in part.
    :ivar refusals: documents that the server refused for now (429, 503); each time counts.
    """

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    refusals: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def sent(self, items: Iterable[Sized]) -> None:
        """Count one request."""
        size = sum(item.size for item in items)
        with self._lock:
            self.requests += 1
            self.bytes += size

    def sent_back(self, documents: int) -> None:
        """Count a request of which so many documents have to be sent again."""
        with self._lock:
            self.retries += 1
            self.refusals += documents
