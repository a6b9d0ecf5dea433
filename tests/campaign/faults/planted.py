"""The faults that are planted: errors that nobody is told of, or in the wrong words, and checks that are left out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

__all__ = ["planted"]


def _swallowed() -> mock._patch[Any]:
    from hybrid_search.engines.embedded.engine import EmbeddedEngine
    from hybrid_search.errors import StorageError

    commit = EmbeddedEngine.commit

    def quiet(self: EmbeddedEngine) -> None:
        with contextlib.suppress(StorageError):
            commit(self)

    return mock.patch.object(EmbeddedEngine, "commit", quiet)


def _raw() -> mock._patch[Any]:
    from hybrid_search import storage

    return mock.patch.object(storage, "disk_errors", side_effect=lambda what: contextlib.nullcontext())


def _unchecked() -> mock._patch[Any]:
    from hybrid_search.engines.embedded.manifest import Manifest

    return mock.patch.object(Manifest, "problems", return_value=[])


_CHILD: dict[str, Callable[[], mock._patch[Any]]] = {"error-swallowed": _swallowed, "error-in-raw": _raw}
_OPENER: dict[str, Callable[[], mock._patch[Any]]] = {"not-checked": _unchecked}


@contextlib.contextmanager
def planted(name: str | None, *, side: str) -> Iterator[None]:
    """Plant a fault where it belongs: in the process that works (``child``) or the one after it (``opener``).

    :raises KeyError: if there is no such fault.
    """
    faults = _CHILD if side == "child" else _OPENER
    if name is not None and name not in {**_CHILD, **_OPENER}:
        raise KeyError(name)
    with faults[name]() if name in faults else contextlib.nullcontext():
        yield
