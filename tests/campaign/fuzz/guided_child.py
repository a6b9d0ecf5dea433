"""Coverage-guided fuzzing of one parser, in a process of its own: atheris ends it.

``python -m campaign.fuzz.guided_child TARGET SEED RUNS PLANTED CORPUS``; what breaks is one line of JSON on stdout.
"""

from __future__ import annotations

import json
import sys

import atheris

with atheris.instrument_imports(include=["hybrid_search"]):
    from campaign.fuzz.doors import DOORS

from campaign.fuzz.expectation import Broken, shown
from campaign.fuzz.planted import planted


def main() -> None:
    """Fuzz; the exit code is 0 whether or not something broke."""
    name, seed, runs, fault, corpus = sys.argv[1:6]
    door = DOORS[name]

    def tried(data: bytes) -> None:
        try:
            door(data)
        except Broken as broken:
            sys.stdout.write(json.dumps({"what": f"{name}: {broken}", "where": shown(data, 2_000)}) + "\n")
            sys.stdout.flush()
            raise SystemExit(0) from None

    with planted(fault or None):
        atheris.Setup(
            [sys.argv[0], f"-seed={int(seed) % 2**31 + 1}", f"-runs={runs}", "-max_len=400", "-timeout=20",
             "-verbosity=0", "-rss_limit_mb=2048", corpus], tried,
        )  # fmt: skip
        atheris.Fuzz()


if __name__ == "__main__":
    main()
