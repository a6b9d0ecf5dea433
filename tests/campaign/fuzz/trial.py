"""A trial of many inputs that go into one place: what broke with one of them does not end the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from campaign.attack import Finding, Outcome
from campaign.fuzz.expectation import Broken

__all__ = ["Trial"]

_MOST = 20
"""Findings of one trial that are kept."""


class Trial:
    """What came of one trial so far."""

    def __init__(self) -> None:
        self.counted = 0
        self.findings: list[Finding] = []

    @contextmanager
    def doing(self, what: str, inputs: int) -> Iterator[None]:
        """Count what is tried, and take what breaks for a finding; the rest goes on."""
        self.counted += inputs
        try:
            yield
        except Broken as broken:
            self.findings.append(Finding(str(broken), what))

    def outcome(self) -> Outcome:
        """Sum it up."""
        return Outcome(max(1, self.counted), tuple(self.findings[:_MOST]))
