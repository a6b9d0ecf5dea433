"""A process that takes part in a crowd: a job a line on stdin, its result a line on stdout, until stdin ends."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from campaign.crowds.crowd import Crowd, switching_fast
from campaign.crowds.members import Searcher, Writer
from campaign.crowds.model import Ledger
from campaign.crowds.opening import opened
from campaign.crowds.planted import planted
from hybrid_search import Retriever
from hybrid_search.errors import IndexLocked, UsageError

_STEPS = 3
"""Writes until a writer lets the other one have the index."""

_THREADS = 2


def search(job: dict[str, Any], ledger: Ledger) -> dict[str, Any]:
    """Open the index to read, and search it from several threads beside the writers."""
    crowd = Crowd(job["where"], job["searches"])
    retriever = opened(job["location"])
    for number in range(_THREADS):
        crowd.search(f"thread {number}", Searcher(retriever, ledger, 10 * job["seed"] + number).step)
    crowd.run(retriever.close, UsageError)
    return {"counted": crowd.counted, "found": [one.what for one in crowd.findings]}


def write(job: dict[str, Any], ledger: Ledger) -> dict[str, Any]:
    """Write own documents, a few at a time, in turn with the other writer: who comes second waits or is told."""
    writer = Writer(ledger, job["numbers"], job["seed"])
    rng = random.Random(job["seed"])
    found: list[str] = []
    turns = 0
    while not ledger.is_over and not found:
        try:
            with opened(job["location"], writable=True) as retriever:
                found += filter(None, (_written(writer, retriever) for _ in range(_STEPS)))
            turns += 1
        except IndexLocked as error:
            if "process " not in str(error):
                found.append(f"a second writer is told no process: {error}")
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
        time.sleep(rng.uniform(0.2, 0.6))
    return {"counted": 0, "found": found, "turns": turns}


def _written(writer: Writer, retriever: Retriever) -> str:
    time.sleep(0.005)
    return writer.step(retriever)


@contextmanager
def _planted(job: dict[str, Any]) -> Iterator[None]:
    with planted(job["planted"]):
        yield


def main() -> None:
    """Do the jobs."""
    roles = {"search": search, "write": write}
    with switching_fast():
        for line in sys.stdin:
            job = json.loads(line)
            ledger = Ledger(job["documents"], Path(job["ledger"]))
            with _planted(job):
                result = roles[job["role"]](job, ledger)
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
