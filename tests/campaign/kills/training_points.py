"""A trial: a training in a child, killed at some of its steps, and the same call again, which ends what was begun."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from campaign.seam.folders import names_in, quick_folder
from campaign.seam.watching import KILL, End, Step, watched

__all__ = ["killed_while_training", "modules_of_training"]

_DOCUMENTS, _LABELLED = 60, 40
_LAST = 0.2
_FINISHED = "holds a finished model"
"""What a training says whose model is there already: it was killed while it cleared away."""


class _At:
    """Counts steps, and kills at one."""

    def __init__(self, number: int = -1) -> None:
        self._number = number
        self.told = "its end"

    def before(self, step: Step) -> int:
        if step.number != self._number:
            return 0
        self.told = str(step)
        return KILL

    def after(self, step: Step, result: int) -> int:
        return 0


def killed_while_training(*, seed: int, points: int, folder: str, fault: str | None) -> dict[str, Any]:
    """Carry out a trial in a fork of the forge; returns how many points were tried and what was found."""
    logging.disable()
    drawn = random.Random(seed)
    findings = []
    with quick_folder(Path(folder)) as place:
        over_another = drawn.random() < 0.5
        usual = _Run(place / "usual", over_another=over_another)
        end = usual.train(_At(), None)
        _must(end)
        for number in range(points):
            run = _Run(place / f"run-{number}", over_another=over_another)
            # The end, where a checkpoint takes its place, is short, and the most is at stake there.
            share = 1 - _LAST * drawn.random() if drawn.random() < 0.5 else drawn.random()
            at = _At(min(int(share * end.steps), end.steps - 1))
            killed = run.train(at, None)
            wrong = run.wrong_after_kill() if killed.status in (0, -9) else [f"{killed.status} {killed.told}"]
            again = run.train(_At(), fault)
            refused = again.status and _FINISHED not in again.told
            wrong += [again.told] if refused else run.wrong_at_the_end(usual)
            if wrong:
                where = at.told.replace(f"{run.root}/", "") + (", over a finished model" if over_another else "")
                findings.append({"what": "; ".join(wrong)[-3000:], "where": f"a training killed before {where}"})
            shutil.rmtree(run.root)
    return {"counted": points, "findings": findings}


def modules_of_training(*, folder: str) -> list[str]:
    """Train once, in a fork of the forge; returns what that imported, which takes far longer than the training."""
    before = set(sys.modules)
    with quick_folder(Path(folder)) as place:
        _write_data(place / "data")
        _train(place / "data", place / "model", restart=False)
    return [name for name in sys.modules if name not in before]


def _must(end: End) -> None:
    if end.status:
        raise RuntimeError(f"the training did not end well: {end}")


class _Run:
    """A folder with data, and the checkpoint that is made of it."""

    def __init__(self, root: Path, *, over_another: bool) -> None:
        self.root = root
        self._over_another = over_another
        _write_data(root / "data")
        (root / "place").mkdir()
        self._out = root / "place" / "model"
        if over_another:
            _must(watched(partial(_train, root / "data", self._out, restart=False), _At(), root / "place"))
        self._before = self._fingerprint() if over_another else ""

    def train(self, at: _At, fault: str | None) -> End:
        """Train in a child; returns how it ended."""
        work = partial(_train, self.root / "data", self._out, restart=self._over_another, fault=fault)
        return watched(work, at, self.root / "place", limit=180)

    def wrong_after_kill(self) -> list[str]:
        """A checkpoint in its place is a whole one, and one that was there still is or has been replaced."""
        if not (self._out / "model.json").exists():
            # It may stand aside for a moment; the next training puts it back or replaces it.
            is_there = not self._over_another or (self._out.parent / ".model.old" / "model.json").exists()
            return [] if is_there else ["the model that was there is gone"]
        self._fingerprint()
        return []

    def wrong_at_the_end(self, usual: _Run) -> list[str]:
        """The same checkpoint as of a training that nobody killed, and nothing beside it."""
        wrong = []
        if (ours := self._fingerprint()) != (theirs := usual._fingerprint()):
            wrong.append(f"the model is {ours}, and {theirs} where nobody was killed")
        if (names := names_in(self._out.parent)) != (others := names_in(usual._out.parent)):
            wrong.append(f"left behind: {sorted({*names} - {*others})}, missing: {sorted({*others} - {*names})}")
        return wrong

    def _fingerprint(self) -> str:
        from hybrid_search.towers.onnx.encoder import OnnxEncoder

        return OnnxEncoder.load(self._out, threads=1).fingerprint  # which checks every file


def _train(data: Path, out: Path, *, restart: bool, fault: str | None = None) -> None:
    import torch

    import hybrid_search
    from hybrid_search.loaders.registry import open_dataset
    from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
    from hybrid_search.training.train import TrainRequest

    torch.set_num_threads(1)
    towers = TowerConfig(encoder="mean", dimension=16, embedding_dimension=16, hidden=8, head_hidden=8)
    config = TrainConfig(
        batch_size=8, max_steps=12, evaluate_every=6, checkpoint_every=4, min_frequency=1, vocabulary=200,
        word_vectors=WordVectorConfig(algorithm="random"),
    )  # fmt: skip
    request = TrainRequest(towers=towers, config=config, restart=restart)
    with _planted(fault):
        hybrid_search.train(open_dataset("jsonl", data, reject=lambda rejection: None), out, request)


@contextlib.contextmanager
def _planted(fault: str | None) -> Iterator[None]:
    """Plant a fault in this process.

    :raises KeyError: if there is no such fault.
    """
    from hybrid_search.training.resume import WorkFolder

    faults = {"work-left": mock.patch.object(WorkFolder, "remove", return_value=None)}
    with contextlib.nullcontext() if fault is None else faults[fault]:
        yield


def _write_data(folder: Path) -> None:
    os.makedirs(folder / "qrels")
    drawn = np.random.default_rng(0)

    def words(topic: int, count: int) -> str:
        return " ".join(f"w{topic}x{number}" for number in drawn.integers(0, 20, count))

    documents = [{"id": f"d{number}", "text": words(number % 6, 12)} for number in range(_DOCUMENTS)]
    queries = [{"id": f"q{number}", "text": words(number % 6, 3)} for number in range(_LABELLED)]
    judged = ["query-id\tcorpus-id\tscore", *(f"q{number}\td{number}\t1" for number in range(_LABELLED))]
    (folder / "documents.jsonl").write_text("\n".join(map(json.dumps, documents)) + "\n")
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)) + "\n")
    (folder / "qrels" / "train.tsv").write_text("\n".join(judged) + "\n")
