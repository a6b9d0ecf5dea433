"""A script that goes on after errors of the product, as a service does, and what its index may hold afterwards."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

from campaign.kills.child import one_done
from campaign.kills.scripts import Operation
from hybrid_search.errors import HybridSearchError
from hybrid_search.retrieval.retriever import Retriever

__all__ = ["DONE", "FAILED", "NOT_TRIED", "Fates", "carry_on", "may_hold"]

NOT_TRIED, DONE, FAILED = 0, 1, 2


class Fates:
    """What became of each operation, in memory that the child shares with its watcher.

    What is under way counts as failed: it may have been done or not.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def set(self, number: int, fate: int) -> None:
        """Say what became of an operation."""
        self._memory[number] = fate

    def of(self, script: Sequence[Operation]) -> list[int]:
        """Return what became of each."""
        return list(self._memory[: len(script)])


def carry_on(script: Sequence[Operation], index: Path, model: Path, fates: Fates) -> None:
    """Do one operation after the other; one that gives an error of the product is failed, and the rest goes on."""
    retriever: Retriever | None = None
    for number, operation in enumerate(script):
        needs_one = operation.verb not in ("load", "recreate", "open", "read")
        if needs_one and retriever is None:
            continue
        fates.set(number, FAILED)
        try:
            retriever = one_done(operation, index, model, retriever)
            fates.set(number, DONE)
        except HybridSearchError:
            if operation.verb == "close":
                retriever = None


def may_hold(script: Sequence[Operation], fates: Sequence[int]) -> tuple[bool, dict[str, set[int | None]]]:
    """Return whether there must be an index, and for each document the versions that it may have, None for none.

    An operation that failed is done or not, for each document by itself; what was staged before it is dropped or not.
    """
    exists = False
    held: dict[str, set[int | None]] = {}
    staged: dict[str, set[int | None]] = {}
    for operation, fate in zip(script, fates, strict=True):
        if fate == NOT_TRIED:
            continue
        puts: dict[str, set[int | None]] = {id: {version} for id, version in operation.puts.items()}
        puts |= {id: {None} for id in operation.gone}
        match operation.verb:
            case "load" | "recreate":
                exists = exists or fate == DONE
                if operation.verb == "recreate":
                    puts = {**{id: {None} for id in held}, **puts}
                held = _changed(held, puts, sure=fate == DONE)
            case "stage":
                staged = _changed(staged, puts, sure=fate == DONE)
                if fate == FAILED:  # everything since the last commit is dropped, or was not touched
                    staged = {id: {*held.get(id, {None}), *versions} for id, versions in staged.items()}
            case "add" | "delete" | "commit":
                held = _changed(held, {**staged, **puts}, sure=fate == DONE)
                staged = {} if fate == DONE else {id: {*held[id]} for id in staged}
            case "close" | "open":
                staged = {}
    return exists, held


def _changed(
    held: dict[str, set[int | None]], puts: dict[str, set[int | None]], *, sure: bool
) -> dict[str, set[int | None]]:
    if sure:
        return {**held, **puts}
    return {**held, **{id: {*held.get(id, {None}), *versions} for id, versions in puts.items()}}
