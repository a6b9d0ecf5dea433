"""What an attack has done so far, a line a trial, so that a campaign that was stopped goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from campaign.attack import Finding, Outcome, Tally

__all__ = ["Journal"]


class Journal:
    """The trials of one attack. A line that a kill cut off counts as not done; of a trial made again, the last run."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()  # an attack may change the current folder, and would write elsewhere

    def tally(self) -> Tally:
        """Read what was done."""
        entries: dict[int, dict[str, Any]] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    continue
                entries[entry["trial"]] = entry
        tally = Tally()
        for trial, entry in entries.items():
            findings = tuple(Finding(**finding) for finding in entry["findings"])
            tally.take(trial, Outcome(entry["counted"], findings))
            tally.seconds += entry["seconds"]
        return tally

    def add(self, trial: int, outcome: Outcome, seconds: float) -> None:
        """Write a trial down."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        entry = {
            "trial": trial,
            "counted": outcome.counted,
            "seconds": round(seconds, 3),
            "findings": [asdict(finding) for finding in outcome.findings],
        }
        with self.path.open("a", encoding="utf-8") as file:
            if self.path.stat().st_size and not self._ends_whole():
                file.write("\n")
            file.write(json.dumps(entry) + "\n")

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"
