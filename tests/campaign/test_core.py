"""The campaign's own machinery, on an attack that needs no product."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from campaign.attack import Attempt, Bench, Finding, Outcome, Tally
from campaign.controls import caught
from campaign.journal import Journal
from campaign.report import figures
from campaign.running import Plan, ended_early
from campaign.worker import run_until, tried


class Counting:
    """Finds something at trial 3 when the fault is planted; three units a trial."""

    name, unit, wanted, short, needs_server = "counting", "units", 30, 6, False
    planted: ClassVar = {"third": "trial 3 goes wrong", "never": "nothing goes wrong, so that it must be missed"}

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        def attempt(trial: int) -> Outcome:
            wrong = bench.planted == "third" and trial == 3
            return Outcome(3, (Finding("it went wrong", f"trial {trial}"),) if wrong else ())

        yield attempt


def test_an_attack_tries_as_many_units_as_are_wanted_and_finds_nothing_in_a_sound_product(tmp_path: Path) -> None:
    assert tried(Counting(), Bench(tmp_path), 6) == []


def test_a_planted_fault_is_told_with_what_was_found_and_one_that_is_not_found_is_told_by_nothing() -> None:
    assert "it went wrong" in caught(Counting(), "third")
    assert caught(Counting(), "never") == ""


def test_an_attack_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    run_until(Counting(), Bench(tmp_path), journal, 9, time.time() + 60)
    with journal.path.open("a") as file:
        file.write('{"trial": 3, "coun')  # a kill came here
    run_until(Counting(), Bench(tmp_path), journal, 15, time.time() + 60)
    tally = journal.tally()
    assert (tally.trials, tally.counted) == (5, 15)


def test_an_attack_ends_at_its_deadline_and_one_that_breaks_is_itself_a_finding(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    run_until(Counting(), Bench(tmp_path), journal, 9, time.time() - 1)
    assert journal.tally().trials == 0

    class Broken(Counting):
        @contextmanager
        def prepared(self, bench: Bench) -> Iterator[Attempt]:
            def attempt(trial: int) -> Outcome:
                raise ValueError("the attack is wrong")

            yield attempt

    run_until(Broken(), Bench(tmp_path), journal, 1, time.time() + 60)
    assert "ValueError: the attack is wrong" in journal.tally().findings[0][1].what


def test_an_attack_that_leaves_the_process_is_a_finding_and_one_that_ends_early_has_died(tmp_path: Path) -> None:
    class Leaving(Counting):
        @contextmanager
        def prepared(self, bench: Bench) -> Iterator[Attempt]:
            def attempt(trial: int) -> Outcome:
                raise SystemExit(0)

            yield attempt

    plan = Plan(tmp_path, seed=0, share=1.0, minutes=1, jobs=1, server=None)
    run_until(Leaving(), Bench(tmp_path), plan.journal(Counting()), 3, time.time() + 60)
    assert "SystemExit" in plan.journal(Counting()).tally().findings[0][1].what
    assert ended_early(Counting(), plan, time.time() + 60)
    assert not ended_early(Counting(), plan, time.time() - 1), "its time was over"
    run_until(Counting(), Bench(tmp_path), plan.journal(Counting()), 30, time.time() + 60)
    assert not ended_early(Counting(), plan, time.time() + 60)


def test_a_trial_that_found_something_is_made_again_and_its_last_run_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    run_until(Counting(), Bench(tmp_path, planted="third"), journal, 15, time.time() + 60)
    assert [trial for trial, _ in journal.tally().findings] == [3]
    run_until(Counting(), Bench(tmp_path), journal, 15, time.time() + 60)
    tally = journal.tally()
    assert (tally.findings, tally.trials, tally.counted) == ([], 5, 15)


def test_a_report_names_no_folder_of_the_machine_that_made_it() -> None:
    tally = Tally()
    tally.take(0, Outcome(1, (Finding(f"a traceback: File {__file__}", __file__),)))
    kept = figures([Counting()], {"counting": tally}, {}, {"counting: third": f"caught in 1 s: {__file__}"})
    assert "tests/campaign/test_core.py" in str(kept)
    assert str(Path(__file__).parents[2]) not in str(kept)
