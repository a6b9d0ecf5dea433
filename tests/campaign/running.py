"""All attacks, two processes at a time, with progress and the time that is left; each goes on where it was stopped."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from campaign.attack import Attack
from campaign.journal import Journal

__all__ = ["Plan", "campaign", "ended_early"]

_LOOK = 2.0
_CRASHES = 3
"""How often in a row the process of an attack may die before the attack is left."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    :ivar state: the folder of the journals.
    :ivar share: of each attack's wanted units; 1 for the whole campaign.
    :ivar minutes: after which every attack ends, wherever it is.
    :ivar jobs: attacks at work at once.
    """

    state: Path
    seed: int
    share: float
    minutes: float
    jobs: int
    server: str | None

    def wanted(self, attack: Attack) -> int:
        """How many units of an attack are to be done in all."""
        return max(1, round(attack.wanted * self.share))

    def journal(self, attack: Attack) -> Journal:
        """Where an attack writes down what it did."""
        return Journal(self.state / f"{attack.name}.jsonl")


@dataclass(slots=True)
class _Running:
    attack: Attack
    process: subprocess.Popen[bytes]
    crashes: int


def campaign(attacks: Sequence[Attack], plan: Plan) -> dict[str, int]:
    """Carry the attacks out; returns how often in a row each one's process had died at the end, 0 if it did not."""
    deadline = time.time() + 60 * plan.minutes
    waiting = deque((attack, 0) for attack in attacks)
    running: list[_Running] = []
    crashes = {attack.name: 0 for attack in attacks}
    with _progress(attacks, plan) as shown:
        try:
            while waiting or running:
                while waiting and len(running) < plan.jobs:
                    attack, died = waiting.popleft()
                    running.append(_Running(attack, _started(attack, plan, deadline), died))
                time.sleep(_LOOK)
                shown()
                for one in [one for one in running if one.process.poll() is not None]:
                    running.remove(one)
                    died = one.crashes + 1 if one.process.returncode or ended_early(one.attack, plan, deadline) else 0
                    crashes[one.attack.name] = died
                    if died and died < _CRASHES and time.time() < deadline:
                        waiting.appendleft((one.attack, died))
        finally:
            for one in running:
                one.process.terminate()
                one.process.wait()
            shown()
    return crashes


def ended_early(attack: Attack, plan: Plan, deadline: float) -> bool:
    """Return whether an attack did less than it should have; whatever ended it, it must not look as if it were done."""
    return plan.journal(attack).tally().counted < plan.wanted(attack) and time.time() < deadline


def _started(attack: Attack, plan: Plan, deadline: float) -> subprocess.Popen[bytes]:
    plan.state.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "campaign.worker", attack.name, "--journal", str(plan.journal(attack).path),
        "--wanted", str(plan.wanted(attack)), "--deadline", str(deadline), "--seed", str(plan.seed),
    ]  # fmt: skip
    if plan.server and attack.needs_server:
        command += ["--server", plan.server]
    with (plan.state / f"{attack.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


@contextmanager
def _progress(attacks: Sequence[Attack], plan: Plan) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(), TextColumn("{task.fields[found]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=1) as progress:
        tasks: dict[str, TaskID] = {
            attack.name: progress.add_task(attack.name, total=plan.wanted(attack), unit=attack.unit, found="")
            for attack in attacks
        }

        def show() -> None:
            for attack in attacks:
                tally = plan.journal(attack).tally()
                found = f"[red]{len(tally.findings)} findings[/red]" if tally.findings else ""
                progress.update(tasks[attack.name], completed=tally.counted, found=found)

        yield show
