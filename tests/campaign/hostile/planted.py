"""The null controls of the hostile places: guards that are taken away."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from campaign.crowds.planted import replaced

__all__ = ["planted"]


def planted(fault: str | None) -> AbstractContextManager[Any]:
    """Plant a fault, or none."""
    return contextlib.nullcontext() if fault is None else _FAULTS[fault]()


def _links_followed() -> AbstractContextManager[Any]:
    from hybrid_search.engines.embedded import lifecycle
    from hybrid_search.engines.embedded.search import caches, dense
    from hybrid_search.engines.embedded.store import locks, own_files

    stack = ExitStack()
    for owner in (own_files, locks, lifecycle):
        if hasattr(owner, "check_own"):
            stack.enter_context(replaced(owner, "check_own", lambda _: lambda layout: None))
    stack.enter_context(replaced(own_files, "_NO_LINK", lambda _: 0))
    stack.enter_context(replaced(own_files, "is_plain", lambda _: lambda path: path.is_file()))
    for owner in (caches, dense, own_files):
        if hasattr(owner, "foreign"):
            stack.enter_context(replaced(owner, "foreign", lambda _: lambda folder: []))
    return stack


def _sizes_believed() -> AbstractContextManager[Any]:
    from hybrid_search.towers import model_card

    return replaced(model_card, "_LARGEST_FILE", lambda _: 1 << 62)


def _error_let_through() -> AbstractContextManager[Any]:
    import json

    from hybrid_search.engines.embedded.store.manifest import Manifest

    def unguarded(_: Any) -> Any:
        return classmethod(
            lambda cls, folder: cls(**json.loads(json.loads((folder / "manifest.json").read_bytes())["body"]))
        )

    return replaced(Manifest, "read", unguarded)


_FAULTS = {
    "links-followed": _links_followed,
    "sizes-believed": _sizes_believed,
    "error-let-through": _error_let_through,
}
