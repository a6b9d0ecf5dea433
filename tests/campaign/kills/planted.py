"""The faults that are planted: each patches the inside of the product, and fails loudly if that is no longer there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

__all__ = ["planted"]


def _early() -> mock._patch[Any]:
    """A commit returns at once, and is made up for when the index is closed or its documents are counted."""
    from hybrid_search.engines.embedded.engine import EmbeddedEngine

    commit, owing = EmbeddedEngine.commit, set[int]()

    def owed(self: Any) -> None:
        owing.add(id(self))

    def late(method: Callable[..., Any]) -> Callable[..., Any]:
        def called(self: Any) -> Any:
            if id(self) in owing:
                owing.remove(id(self))
                commit(self)
            return method(self)

        return called

    return mock.patch.multiple(
        EmbeddedEngine, commit=owed, close=late(EmbeddedEngine.close), count=late(EmbeddedEngine.count)
    )


def _scratch() -> mock._patch[Any]:
    """A file is written beside its place first, and a killed process's is never removed."""
    from hybrid_search.engines.embedded.store import manifest

    write = manifest.atomic_write_bytes

    def with_scratch(path: Path, data: bytes) -> None:
        scratch = path.with_name(f".{path.name}.scratch")
        scratch.write_bytes(data)
        write(path, data)
        scratch.unlink()

    return mock.patch.object(manifest, "atomic_write_bytes", with_scratch)


def _in_place() -> mock._patch[Any]:
    """A model is stored file by file, in its place."""
    from hybrid_search.engines.embedded import engine

    def copied(layout: Any, files: Any) -> None:
        layout.model.mkdir(exist_ok=True)
        for file in files:
            (layout.model / file.name).write_bytes(file.read_bytes())

    return mock.patch.object(engine, "copy_model", copied)


def _as_is() -> mock._patch[Any]:
    """What a killed writer left undone in the caches is not made good."""
    from hybrid_search.engines.embedded.search.caches import Caches

    return mock.patch.object(Caches, "follow", return_value=None)


_CHILD: dict[str, Callable[[], mock._patch[Any]]] = {
    "acknowledged-early": _early,
    "scratch-file": _scratch,
    "model-in-place": _in_place,
}
_OPENER: dict[str, Callable[[], mock._patch[Any]]] = {"not-replayed": _as_is}


@contextlib.contextmanager
def planted(name: str | None, *, side: str) -> Iterator[None]:
    """Plant a fault where it belongs: in the process that is killed (``child``) or the one after it (``opener``).

    :raises KeyError: if there is no such fault.
    """
    faults = _CHILD if side == "child" else _OPENER
    if name is not None and name not in {**_CHILD, **_OPENER}:
        raise KeyError(name)
    with faults[name]() if name in faults else contextlib.nullcontext():
        yield
