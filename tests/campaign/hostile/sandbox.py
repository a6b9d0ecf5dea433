"""A folder with a hostile place in it, and files around it that nobody may touch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.attack import Finding, Outcome
from campaign.hostile.child import surroundings
from campaign.seam.folders import copied
from campaign.seam.forge import Forge

__all__ = ["Sandbox", "attempted"]

_SECRET = "a secret of the user's that no index may show"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """:ivar place: the hostile place; ``outside`` holds files of the user's; ``cache`` is ours."""

    root: Path

    @property
    def place(self) -> Path:
        """The hostile place."""
        return self.root / "inside" / "place"

    @property
    def outside(self) -> Path:
        """What nobody may touch."""
        return self.root / "outside"

    @property
    def cache(self) -> Path:
        """Where the product may write."""
        return self.root / "cache"

    def fill(self, source: Path) -> None:
        """Put the place and what is around it there."""
        self.place.parent.mkdir(parents=True)
        self.cache.mkdir()
        copied(source, self.place)
        copied(source, self.outside)
        (self.outside / "secret.txt").write_text(_SECRET)
        (self.outside / "secret.json").write_text('{"secret": true}')


Trick = Callable[[Sandbox, Any], str]
"""Makes a place hostile, with a ``random.Random``; returns what it did."""


def attempted(
    forge: Forge, root: Path, source: Path, trick: Trick, rng: Any, action: str, fault: str | None, where: str
) -> Outcome:
    """Make a place hostile, do something with it, and say what must not have happened."""
    sandbox = Sandbox(root)
    sandbox.fill(source)
    try:
        did = f"{trick(sandbox, rng)}, then {action} ({where})"
        before = list(surroundings(sandbox.outside))
        beside = sorted(path.name for path in root.iterdir())
        found = _found(forge, sandbox, action, fault)
        found += _changed(before, list(surroundings(sandbox.outside)))
        if (now := sorted(path.name for path in root.iterdir())) != beside:
            found.append(f"beside the place there is now {sorted(set(now) - set(beside))}")
        return Outcome(1, tuple(Finding(what, did) for what in found[:3]))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _found(forge: Forge, sandbox: Sandbox, action: str, fault: str | None) -> list[str]:
    try:
        answer = forge.ask(
            "campaign.hostile.child:tried",
            action=action, place=str(sandbox.place), outside=str(sandbox.outside), cache=str(sandbox.cache),
            planted=fault,
        )  # fmt: skip
    except RuntimeError as error:
        return [f"{action} did not end: {str(error).strip().splitlines()[-1]}"]
    found = [answer["told"]] if answer["told"] else []
    return found + [f"{path} was opened, which is outside" for path in answer["opened"]]


def _changed(before: list[Any], after: list[Any]) -> list[str]:
    if before == after:
        return []
    names = {one[0] for one in before} ^ {one[0] for one in after}
    names |= {one[0] for one, other in zip(before, after, strict=False) if one != other}
    return [f"outside, {sorted(names)[:3]} changed"]
