"""Generated orders of operations on an index in a folder, and what the index holds after each of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from campaign.seam.models import WORDS
from hybrid_search.types import Document

__all__ = ["COMMON", "Operation", "State", "document", "held_after", "made_script", "token"]

COMMON = "common"
"""A word that every document has."""

_IDS = tuple(f"doc-{number}" for number in range(10))


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the product.

    :ivar verb: ``load`` (makes the index where there is none), ``recreate``, ``open``, ``read`` (a second one that only
        searches), ``add``, ``stage`` (no commit), ``delete``, ``commit``, ``model`` (stored anew), ``close``.
    :ivar puts: id -> version of what is added.
    :ivar gone: ids to delete.
    """

    verb: str
    puts: Mapping[str, int] = field(default_factory=dict)
    gone: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [f"{id} v{version}" for id, version in self.puts.items()] + [f"-{id}" for id in self.gone]
        return f"{self.verb}({', '.join(told)})"


@dataclass(frozen=True, slots=True)
class State:
    """What an index holds: id -> version.

    :ivar exists: there is an index.
    :ivar staged: id -> version (0 for deleted) of what was not committed.
    """

    exists: bool = False
    held: Mapping[str, int] = field(default_factory=dict)
    staged: Mapping[str, int] = field(default_factory=dict)


def token(id: str, version: int) -> str:
    """Return the word that only this version of this document has."""
    return f"{id.replace('-', '')}v{version}x"


def document(id: str, version: int) -> Document:
    """Make a document whose text and vector tell its version."""
    drawn = random.Random(f"{id} {version}")
    words = drawn.sample(WORDS, 6)
    return Document(
        id, f"{COMMON} {token(id, version)} {' '.join(words)}", title=drawn.choice(["", "Title"]),
        metadata={"version": version, "words": (words[0], words[1])},
    )  # fmt: skip


def held_after(script: Sequence[Operation], count: int) -> State:
    """Return what is held after the first ``count`` operations."""
    state = State()
    for operation in script[:count]:
        state = _after(state, operation)
    return state


def _after(state: State, operation: Operation) -> State:
    held = dict(state.held)
    match operation.verb:
        case "load":
            return State(True, {**held, **operation.puts})
        case "recreate":
            return State(True, dict(operation.puts))
        case "stage":
            return State(True, held, {**state.staged, **operation.puts})
        case "add" | "delete" | "commit":
            changed = {**state.staged, **operation.puts, **dict.fromkeys(operation.gone, 0)}
            return State(True, {id: version for id, version in {**held, **changed}.items() if version})
        case "close":
            return State(True, held)
    return state


def made_script(seed: int) -> list[Operation]:
    """Make an order of operations: an index is made, changed, closed, opened, and perhaps built again."""
    drawn = random.Random(seed)
    script = [Operation("load", _puts(drawn, {}, 0))]
    is_open = False
    for number in range(1, drawn.randint(5, 7)):
        held = held_after(script, len(script)).held
        if not is_open:
            verb = drawn.choices(["open", "load", "recreate"], [6, 2, 2])[0]
        else:
            verbs = ["add", "delete", "stage", "commit", "model", "read", "close"]
            verb = drawn.choices(verbs, [6, 4, 2, 2, 1, 2, 3])[0]
        is_open = verb == "open" or (is_open and verb != "close")
        puts = _puts(drawn, held, number) if verb in ("add", "stage", "load", "recreate") else {}
        gone = tuple(drawn.sample(sorted(held), min(len(held), 2))) if verb == "delete" else ()
        script.append(Operation(verb, puts, gone))
    return [*script, Operation("close")] if is_open and drawn.random() < 0.7 else script


def _puts(drawn: random.Random, held: Mapping[str, int], number: int) -> dict[str, int]:
    """Choose documents to add, some of them anew in the place of what is held; a version is never used twice."""
    return dict.fromkeys(drawn.sample(_IDS, drawn.randint(1, 4)), number + 1)
