"""What a campaign found, as a table for people and as JSON to keep."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from campaign.attack import Attack, Tally

__all__ = ["figures", "table"]

_CHECKOUT = f"{Path(__file__).parents[2]}/"


def figures(
    attacks: Sequence[Attack], tallies: Mapping[str, Tally], crashes: Mapping[str, int], controls: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything to keep; ``controls`` maps ``ATTACK/FAULT`` to what became of it."""
    return {
        "attacks": {
            attack.name: {
                "unit": attack.unit,
                "wanted": attack.wanted,
                "tried": tallies[attack.name].counted,
                "trials": tallies[attack.name].trials,
                "seconds": round(tallies[attack.name].seconds),
                "crashes": crashes.get(attack.name, 0),
                "findings": [
                    {"trial": trial, "what": _anywhere(finding.what), "where": _anywhere(finding.where)}
                    for trial, finding in tallies[attack.name].findings
                ],
            }
            for attack in attacks
        },
        "null controls": {name: _anywhere(result) for name, result in controls.items()},
    }


def _anywhere(text: str) -> str:
    """Return a text without this machine's folders, those of the checkout and of temporary files: a report is kept."""
    return text.replace(_CHECKOUT, "").replace(f"{tempfile.gettempdir()}/", "")


def table(kept: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = ["| attack | tried | wanted | unit | findings | minutes |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {one['tried']:,} | {one['wanted']:,} | {one['unit']} | {len(one['findings'])} "
        f"| {one['seconds'] / 60:.1f} |"
        for name, one in kept["attacks"].items()
    ]
    lines += ["", "| null control | result |", "|---|---|"]
    lines += [f"| {name} | {result} |" for name, result in kept["null controls"].items()]
    return "\n".join(lines)
