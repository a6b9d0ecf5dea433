"""The null controls: faults planted in the product, each of which an attack must find, or it is blind."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from campaign.attack import Attack, Bench
from campaign.worker import tried

__all__ = ["PATIENCE", "caught", "planted_faults"]

PATIENCE = 12
"""How many times :attr:`Attack.short` units an attack has to find a planted fault."""


def planted_faults(attacks: Iterable[Attack]) -> Iterator[tuple[Attack, str]]:
    """Every attack with each of its planted faults."""
    for attack in attacks:
        for fault in attack.planted:
            yield attack, fault


def caught(attack: Attack, fault: str, *, seed: int = 0, server: str | None = None) -> str:
    """Plant a fault and attack; returns what was found and how soon, empty when it went unseen."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        findings = tried(attack, Bench(Path(folder), seed, server, fault), PATIENCE * attack.short)
    return f"caught in {time.perf_counter() - started:.0f} s: {findings[0].what}" if findings else ""
