"""One attack in a process of its own (``python -m campaign.worker NAME …``), so that a crash is a finding, no more."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from campaign.attack import Attack, Attempt, Bench, Finding, Outcome
from campaign.catalogue import named
from campaign.journal import Journal

__all__ = ["run_until", "tried"]


def tried(attack: Attack, bench: Bench, wanted: int) -> list[Finding]:
    """Try ``wanted`` units of an attack here and now; ends at the first trial that finds something, and returns it."""
    done = 0
    with attack.prepared(bench) as attempt:
        for trial in range(wanted):
            outcome = attempt(trial)
            done += outcome.counted
            if outcome.findings or done >= wanted:
                return list(outcome.findings)
    return []


def run_until(attack: Attack, bench: Bench, journal: Journal, wanted: int, deadline: float) -> None:
    """Go on with an attack until ``wanted`` units are done in all, or it is ``deadline`` (of ``time.time``).

    Trials that found something are made again first: what was mended since finds nothing, and the last run counts.
    """
    tally = journal.tally()
    again = sorted({trial for trial, _ in tally.findings})
    trial, counted = tally.trials, tally.counted
    if counted >= wanted and not again:
        return
    with attack.prepared(bench) as attempt:
        for found in again:
            _recorded(attempt, found, journal)
        while counted < wanted and time.time() < deadline:
            counted += _recorded(attempt, trial, journal)
            trial += 1


def _recorded(attempt: Attempt, trial: int, journal: Journal) -> int:
    started = time.perf_counter()
    outcome = _guarded(attempt, trial)
    journal.add(trial, outcome, time.perf_counter() - started)
    return outcome.counted


def _guarded(attempt: Attempt, trial: int) -> Outcome:
    try:
        return attempt(trial)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the attack itself broke: that must be seen, and the others go on
        return Outcome(1, (Finding(f"the attack ended with {type(error).__name__}: {error}", f"trial {trial}"),))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m campaign.worker")
    parser.add_argument("attack")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--wanted", type=int, required=True)
    parser.add_argument("--deadline", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--server")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        bench = Bench(Path(folder), given.seed, given.server)
        run_until(named(given.attack), bench, Journal(given.journal), given.wanted, given.deadline)


if __name__ == "__main__":
    main()
