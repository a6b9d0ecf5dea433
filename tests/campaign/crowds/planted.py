"""The null controls of the crowds: faults planted in the product by replacing a function of it."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np

__all__ = ["planted", "replaced"]


@contextmanager
def replaced(owner: Any, name: str, new: Callable[[Any], Any]) -> Iterator[None]:
    """Replace an attribute by what ``new`` makes of it.

    :raises AttributeError: if it is not there (any more): the null control has to be planted elsewhere.
    """
    old = owner.__dict__[name] if name in getattr(owner, "__dict__", {}) else getattr(owner, name)
    setattr(owner, name, new(old))
    try:
        yield
    finally:
        setattr(owner, name, old)


def planted(fault: str | None) -> AbstractContextManager[Any]:
    """Plant a fault, or none."""
    if fault is None:
        return contextlib.nullcontext()
    return _FAULTS[fault]()


class _NoLock:
    """Locks nothing."""

    is_locked = True

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def acquire(self, *_: object, **__: object) -> bool:
        return True

    def release(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> None:
        time.sleep(0)

    def __exit__(self, *_: object) -> None:
        pass


def _without(owner: Any, attribute: str) -> AbstractContextManager[None]:
    """Make instances of a class without one of their locks."""

    def unlocked(init: Callable[..., None]) -> Callable[..., None]:
        def made(self: Any, *arguments: Any, **named: Any) -> None:
            init(self, *arguments, **named)
            getattr(self, attribute)  # there must be one
            setattr(self, attribute, _NoLock())

        return made

    return replaced(owner, "__init__", unlocked)


def _every(count: int, planted: Callable[..., Any]) -> Callable[[Any], Any]:
    """Do something else at every so many calls."""
    calls = itertools.count(1)

    def wrapped(old: Callable[..., Any]) -> Callable[..., Any]:
        def new(*arguments: Any, **named: Any) -> Any:
            return planted(*arguments, **named) if next(calls) % count == 0 else old(*arguments, **named)

        return new

    return wrapped


def _no_reading_lock() -> AbstractContextManager[Any]:
    from hybrid_search.engines.embedded.search.committed import SharedLock

    @contextmanager
    def at_once(self: Any) -> Iterator[None]:
        yield

    return replaced(SharedLock, "alone", lambda _: at_once)


def _no_writing_lock() -> AbstractContextManager[Any]:
    from hybrid_search.engines.embedded.store.writing import StoreWriter

    return _without(StoreWriter, "_guard")


def _invisible_add() -> AbstractContextManager[Any]:
    from hybrid_search.engines.embedded import EmbeddedEngine

    return replaced(EmbeddedEngine, "commit", _every(10, lambda self: None))


def _swallowed_error() -> AbstractContextManager[Any]:
    from hybrid_search.engines.embedded import EmbeddedEngine

    return replaced(EmbeddedEngine, "add", _every(10, lambda self, documents, vectors: []))


def _torn_growth() -> AbstractContextManager[Any]:
    from hybrid_search.engines.embedded.store import row_ids

    def slowly(self: Any, size: int) -> Any:
        more = size - len(self.there)
        ids = np.concatenate([self.ids, np.empty(more, object)])
        time.sleep(0.001)
        return row_ids._Known(ids, np.concatenate([self.there, np.zeros(more, bool)]))

    stack = ExitStack()
    stack.enter_context(replaced(row_ids._Known, "grown", lambda _: slowly))
    stack.enter_context(_without(row_ids.RowIds, "_learning"))
    return stack


def _no_writer_lock() -> AbstractContextManager[Any]:
    from hybrid_search.engines.embedded.store import locks

    return replaced(locks.filelock, "FileLock", lambda _: _NoLock)


def _blind_reader() -> AbstractContextManager[Any]:
    from hybrid_search.engines.embedded.search.committed import CommittedState

    looked = itertools.count()

    def seldom(old: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda self: old(self) if next(looked) % 300 == 0 else None

    return replaced(CommittedState, "_refresh", seldom)


def _unrefreshed() -> AbstractContextManager[Any]:
    from hybrid_search.engines.opensearch import OpenSearchEngine

    return replaced(OpenSearchEngine, "commit", _every(2, lambda self: None))


def _closed_early() -> AbstractContextManager[Any]:
    from hybrid_search.retrieval.alias_retriever import AliasFollower

    def leave(self: Any, lease: Any) -> None:
        lease.left = True
        lease.index.engine.close()

    return replaced(AliasFollower, "_leave", lambda _: leave)


def _refreshing_lost() -> AbstractContextManager[Any]:
    from hybrid_search.engines.opensearch.writing.load_settings import HeldSettings

    return replaced(HeldSettings, "give_back", lambda _: lambda self, *rest, **named: None)


def _shared_ids() -> AbstractContextManager[Any]:
    from hybrid_search.towers.tokenizer import TextTokenizer

    held: list[str] = [""]

    def through_one_place(old: Callable[..., Any]) -> Callable[..., Any]:
        def encode_one(self: Any, text: str, max_tokens: int) -> Any:
            held[0] = text
            time.sleep(0)
            return old(self, held[0], max_tokens)

        return encode_one

    return replaced(TextTokenizer, "encode_one", through_one_place)


_FAULTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no-reading-lock": _no_reading_lock,
    "no-writing-lock": _no_writing_lock,
    "invisible-add": _invisible_add,
    "swallowed-error": _swallowed_error,
    "torn-growth": _torn_growth,
    "no-writer-lock": _no_writer_lock,
    "blind-reader": _blind_reader,
    "unrefreshed": _unrefreshed,
    "closed-early": _closed_early,
    "refreshing-lost": _refreshing_lost,
    "shared-ids": _shared_ids,
}
