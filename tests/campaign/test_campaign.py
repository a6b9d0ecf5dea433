"""The campaign for a short while: every attack, and every planted fault, which must be found."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaign.attack import Attack, Bench
from campaign.catalogue import ATTACKS
from campaign.controls import caught, planted_faults
from campaign.worker import tried


def marked(attack: Attack, *values: object, name: str):
    marks = [pytest.mark.opensearch] if attack.needs_server else []
    return pytest.param(attack, *values, id=name, marks=marks)


def server_of(attack: Attack, request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("opensearch_server").url if attack.needs_server else None


@pytest.mark.parametrize("attack", [marked(attack, name=attack.name) for attack in ATTACKS])
def test_nothing_that_must_hold_is_broken_by(attack: Attack, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    findings = tried(attack, Bench(tmp_path, seed=1, server=server_of(attack, request)), attack.short)
    assert findings == []


@pytest.mark.parametrize(
    ("attack", "fault"),
    [marked(attack, fault, name=f"{attack.name}-{fault}") for attack, fault in planted_faults(ATTACKS)],
)
def test_a_planted_fault_is_found_by(attack: Attack, fault: str, request: pytest.FixtureRequest) -> None:
    assert caught(attack, fault, server=server_of(attack, request))
