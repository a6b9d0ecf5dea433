"""What an index that was made to go behind an alias says of itself, in its mapping's ``_meta``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from hybrid_search.engines.opensearch import meta as notes
from hybrid_search.engines.opensearch.client import Client

__all__ = ["Mark", "State", "change_mark", "mark_of", "marked", "next_name", "number_of", "read_mark"]

State = Literal["loading", "ready", "failed"]

_KEY = "alias"
_LONGEST_HISTORY = 20


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """An index's standing behind an alias.

    :ivar state: ``loading`` until it has been checked, then ``ready`` or ``failed``.
    :ivar source: what it is loaded from; the same load goes on in the same index after a kill.
    :ivar history: the indexes that were live before it took over, the last one first.
    :ivar went_live: when it took over first (ISO 8601, UTC); empty before.
    """

    alias: str
    state: State = "loading"
    source: str = ""
    history: tuple[str, ...] = ()
    went_live: str = ""

    def after(self, live: str | None, history: Iterable[str]) -> Mark:
        """Return the mark of an index that is fit to take over from ``live``, whose own history is given."""
        before = (*([live] if live else ()), *history)
        return msgspec.structs.replace(self, state="ready", history=before[:_LONGEST_HISTORY])

    def with_state(self, state: State) -> Mark:
        """Return the mark with another state."""
        return msgspec.structs.replace(self, state=state)

    def live_from(self, moment: str) -> Mark:
        """Return the mark of an index that has taken over; the first time counts."""
        return msgspec.structs.replace(self, went_live=self.went_live or moment)


def read_mark(meta: Mapping[str, Any]) -> Mark | None:
    """Read an index's mark from its ``_meta``; None where there is none, or none that can be read."""
    if _KEY not in meta:
        return None
    try:
        return msgspec.convert(meta[_KEY], Mark)
    except msgspec.ValidationError:
        return None


def marked(meta: Mapping[str, Any], mark: Mark) -> dict[str, Any]:
    """Return ``_meta`` with another mark, all else as it was."""
    return {**meta, _KEY: msgspec.to_builtins(mark)}


def mark_of(client: Client, name: str) -> Mark:
    """Return an index's mark; an empty one where it has none."""
    return _mark_or_empty(notes.read(client, name))


def change_mark(client: Client, name: str, change: Callable[[Mark], Mark]) -> None:
    """Change an index's mark.

    :param change: gets the mark as it is, an empty one where there is none.
    """

    def changed(note: Any) -> Any:
        return msgspec.to_builtins(change(_mark_or_empty({} if note is None else {_KEY: note})))

    notes.update(client, name, _KEY, changed)


def _mark_or_empty(meta: Mapping[str, Any]) -> Mark:
    return read_mark(meta) or Mark(alias="", state="ready")


def number_of(name: str, alias: str) -> int | None:
    """Return the number of an index such as ``passages-000007``; None where the name is not of this form."""
    found = re.fullmatch(rf"{re.escape(alias)}-(\d{{6,}})", name)
    return int(found[1]) if found else None


def next_name(alias: str, names: Iterable[str]) -> str:
    """Return the name for a new index: one above the highest number that is taken.

    :param names: those of all indexes there are.
    """
    numbers = (number_of(name, alias) for name in names)
    return f"{alias}-{max((number for number in numbers if number is not None), default=0) + 1:06}"
