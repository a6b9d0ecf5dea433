"""A trial: one recorded run of a script, and many states that the power's going may have left of it, each opened."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from campaign.kills.checks import Checks
from campaign.kills.child import Acknowledged, carry_out
from campaign.kills.points import Point, opened
from campaign.kills.scripts import made_script
from campaign.losses.planted import planted
from campaign.losses.recording import Event, Recording
from campaign.losses.states import built, lost
from campaign.seam.folders import quick_folder
from campaign.seam.watching import watched

__all__ = ["power_lost"]


def power_lost(*, seed: int, part: int, states: int, model: str, folder: str, fault: str | None) -> dict[str, Any]:
    """Carry out a trial in a fork of the forge; returns how many states were opened and what was found."""
    script = made_script(seed)
    drawn = random.Random(seed * 7919 + part)
    with quick_folder(Path(folder)) as place:
        root, acknowledged = place / "run", Acknowledged()
        root.mkdir()

        def work() -> None:
            with planted(fault):
                carry_out(script, root / "index", Path(model), acknowledged)

        recording = Recording(root, lambda: acknowledged.count)
        end = watched(work, recording, root)
        if end.status or acknowledged.count != len(script):
            raise RuntimeError(f"the script did not end well: {end}")
        points = []
        for number in range(states):
            at, count = _moment(recording.events, len(script), drawn)
            loss = lost(recording.events, at, count, drawn)
            built(loss.events, place / f"state-{number}")
            points.append(Point(place / f"state-{number}", loss.acknowledged, loss.told))
        os.mkdir(place / "undisturbed")
        logging.disable()  # that a cache is built again is what is wanted here
        findings = opened(script, points, Checks(Path(model), place / "undisturbed"))
    return {"counted": len(points), "findings": findings}


def _moment(events: Sequence[Event], done: int, drawn: random.Random) -> tuple[int, int]:
    """Choose when the power goes, half of the time just after an operation has returned; and how many had by then."""
    if drawn.random() < 0.5:
        count = drawn.randint(1, done)
        later = [number for number, event in enumerate(events) if event.acknowledged >= count]
        at = later[0] if later else len(events)
        return at, count
    at = drawn.randrange(len(events))
    return at, events[at].acknowledged
