"""The whole MS MARCO passage task by the command line: train, index, measure. See ``docs/msmarco.md``.

``python -m benchmarks.msmarco_full --data FOLDER --out FOLDER [--to LOCATION] [-- OPTIONS OF TRAIN]``, or
``make msmarco DATA=FOLDER OUT=FOLDER``. The data are the official files, under their official names; what is there
decides what is done, so a small folder in the same form is a small task. Killed, the same command goes on where it
stopped: each verb resumes its own work, and finished ones are in ``OUT/stages.json``, with seconds, peak memory and
answers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, machine

SETTINGS = {
    "training.epochs": 1,
    "training.residual_share": 0.7,
    "training.batch_size": 64,
    "training.self_supervised": 1,
    "training.vocabulary": 100_000,
    "training.word_vectors.epochs": 1,
    "training.word_vectors.workers": os.cpu_count() or 1,
    "training.patience": 0,
    "training.validation_queries": 1_000,
    "training.validation_documents": 20_000,
    "training.evaluate_every": 1_000,
    "training.checkpoint_every": 500,
}
TRAIN = ("--max-steps", "0", *(word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")))
"""What suits half a million queries; options of the command line come after and win."""

GRAPH = "HNSW32_SQ8"
"""A vector takes a byte a number in the embedded index, and its neighbours 256: 4 GB for all passages."""

OFFICIAL = {
    "msmarco-test2019-queries.tsv": "queries.dl19.tsv",
    "msmarco-test2020-queries.tsv": "queries.dl20.tsv",
    "2019qrels-pass.txt": "qrels.dl19.txt",
    "2020qrels-pass.txt": "qrels.dl20.txt",
}
MEASURED = {"dev.small": 1, "dl19": 2, "dl20": 2}
"""Split -> the lowest grade that its binary measures take for relevant."""

_STAGE = re.compile(r"(.+): ([\d,]+) in ([\d.]+) s")


def main() -> None:
    """Run the stages that are not done yet, and print what the splits gave."""
    arguments, options = _parsed()
    home = arguments.out
    home.mkdir(parents=True, exist_ok=True)
    source = ["msmarco_passage", "--path", str(view(arguments.data, home / "data"))]
    index, model = arguments.to or str(home / "index"), str(home / "model")
    kind = ["--faiss", GRAPH] if "://" not in index else []
    done = Stages(home / "stages.json")
    is_trained = (home / "model" / "model.json").exists() and not (home / "model.work").exists()
    done.run("train", [*source, "--out", model, *TRAIN, *options], is_done=is_trained)
    done.run("load", [*source, "--model", model, "--to", index, *kind])
    for split, grade in MEASURED.items():
        if list((home / "data").glob(f"qrels.{split}.*")):
            asked = ["--systems", "bm25,knn,hybrid", "--split", split, "--min-grade", str(grade), "--no-speed"]
            done.run("evaluate", [*source, "--from", index, *asked], name=f"evaluate {split}")
    print(json.dumps(done.summary(), indent=2))


def _parsed() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.msmarco_full", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the official files, gzipped or not")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model, the index and stages.json")
    parser.add_argument("--to", default="", help="another place for the index, opensearch://host:9200/name for example")
    given = sys.argv[1:]
    place = given.index("--") if "--" in given else len(given)
    return parser.parse_args(given[:place]), given[place + 1 :]


def view(data: Path, folder: Path) -> Path:
    """Link the official files under the names that the loader knows.

    Where there are judgements for training, the triples stay out: forty million lines say no more than these, and would
    be held in memory as examples.
    """
    folder.mkdir(exist_ok=True)
    judged = any(data.glob("qrels.train.*"))
    for file in sorted(data.iterdir()):
        plain = file.name.removesuffix(".gz")
        name = OFFICIAL.get(plain, plain) + file.name[len(plain) :]
        is_triples = name.startswith(("triples", "qidpidtriples"))
        if name.startswith(("collection.tsv", "queries.", "qrels.")) or (is_triples and not judged):
            link = folder / name
            if not link.exists():
                link.symlink_to(file.resolve())
    return folder


class Stages:
    """What is done, kept in a file that is replaced after each stage."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._done: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def run(self, verb: str, arguments: list[str], *, name: str = "", is_done: bool = False) -> None:
        """Run a verb of the command line, unless it is done; its talk goes to stderr.

        :param is_done: it ended, and the kill came before this was noted.
        """
        name = name or verb
        if is_done or name in self._done:
            print(f"{name}: done before", file=sys.stderr)
            return
        started = time.perf_counter()
        answer, steps, peak = _run([verb, *arguments, "--dead-letter", str(self._file.with_name("rejected.jsonl"))])
        self._done[name] = {
            "seconds": round(time.perf_counter() - started, 1),
            "peak_memory_gb": peak,
            "steps": steps,
            "answer": answer,
        }
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps({**self._done, "machine": machine()}, indent=2) + "\n")
        part.replace(self._file)

    def summary(self) -> dict[str, Any]:
        """Return seconds and memory of each stage, and the means of each split that was measured."""
        told: dict[str, Any] = {}
        for name, stage in self._done.items():
            if name == "machine":
                continue
            told[name] = {key: stage[key] for key in ("seconds", "peak_memory_gb", "steps")}
            for system, means in stage["answer"].get("systems", {}).items():
                told[name][system] = {key: round(means[key], 4) for key in ("RR@10", "nDCG@10", "R@100", "R@1000")}
        return told


def _run(arguments: list[str]) -> tuple[Any, dict[str, Any], float]:
    """Return a verb's answer, what its steps took, and its peak memory in GB."""
    command = [sys.executable, "-m", "hybrid_search", *arguments, "--format", "json"]
    steps: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile("w+") as out,
        subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True) as child,
    ):
        for line in child.stderr or ():
            print(line, end="", file=sys.stderr, flush=True)
            if match := _STAGE.fullmatch(line.rstrip("\n")):
                steps[match[1]] = {"count": int(match[2].replace(",", "")), "seconds": float(match[3])}
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(child.returncode)
        out.seek(0)
        return json.load(out), steps, round(usage.ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    main()
