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


class _Whatever:
    """Equal to anything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    from hybrid_search.engines.embedded.store import checks, store
    from hybrid_search.engines.embedded.store.manifest import Manifest

    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(Manifest, "problems", return_value=[]))
        for module in (checks, store):
            for name in ("text_checksum", "vector_checksum"):
                patches.enter_context(mock.patch.object(module, name, return_value=_Whatever()))
        yield


_Plant = Callable[[], contextlib.AbstractContextManager[Any]]
_CHILD: dict[str, _Plant] = {"error-swallowed": _swallowed, "error-in-raw": _raw}
_OPENER: dict[str, _Plant] = {"not-checked": _unchecked}


@contextlib.contextmanager
def planted(name: str | None, *, side: str) -> Iterator[None]:
    """Plant a fault where it belongs: in the process that works (``child``) or the one after it (``opener``).

    :raises KeyError: if there is no such fault.
    """
    faults = _CHILD if side == "child" else _OPENER
    if name is not None and name not in {**_CHILD, **_OPENER}:
        raise KeyError(name)
    plant = faults.get(name or "")
    with plant() if plant else contextlib.nullcontext():
        yield
