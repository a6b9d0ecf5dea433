"""The faults that are planted in what writes to a server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

__all__ = ["planted"]


def _early_swap() -> mock._patch[Any]:
    """The alias moves before the new index is loaded."""
    from hybrid_search.loading import blue_green as behind_alias

    begin = behind_alias.begin

    def at_once(client: Any, alias: str, *arguments: Any, **more: Any) -> str:
        name = begin(client, alias, *arguments, **more)
        live = behind_alias.live_index(client, alias)
        if live != name:
            behind_alias.swap(client, alias, live, name)
        return name

    return mock.patch.object(behind_alias, "begin", at_once)


_FAULTS: dict[str, Callable[[], mock._patch[Any]]] = {"early-swap": _early_swap}


@contextlib.contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Plant a fault in this process.

    :raises KeyError: if there is no such fault.
    """
    with contextlib.nullcontext() if name is None else _FAULTS[name]():
        yield
