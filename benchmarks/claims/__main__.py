"""The field's claims and the towers' architecture, each arm trained with every seed under one small protocol.

``python -m benchmarks.claims [--study NAME] [--work FOLDER] [--seeds 0,1,2] [--arms NAME,NAME]`` trains the arms of a
study (``claims`` in :mod:`benchmarks.claims.arms`, ``architecture``, ``contrast``) and writes ``results/STUDY.json``
after each; what is in the file is not trained again. Measured is nDCG@10 of the towers alone, exact, on the queries to
fit on of NFCorpus (324) and SQuAD (2,160, no text of whose titles was seen). Then ``docs/studies/STUDY.md`` gets its
tables.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.claims.architecture import ARCHITECTURE
from benchmarks.claims.arms import CLAIMS, Study
from benchmarks.claims.contrast import CONTRAST
from benchmarks.claims.data import Prepared
from benchmarks.claims.tables import write_tables
from benchmarks.claims.trainer import Trainer
from benchmarks.harness import RESULTS, ROOT, write_result
from benchmarks.quality.sets import test_set

NAMES = ("nfcorpus", "squad")
STUDIES: Mapping[str, Study] = {study.name: study for study in (CLAIMS, ARCHITECTURE, CONTRAST)}
COMMAND = "python -m benchmarks.claims"


def main() -> None:
    """Run what is missing."""
    arguments = _parser().parse_args()
    torch.set_num_threads(1)
    study = STUDIES[arguments.study]
    file = RESULTS / f"{study.name}.json"
    runs = json.loads(file.read_text())["figures"]["runs"] if file.exists() else {}
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    names = arguments.arms.split(",") if arguments.arms else [name for name, arm in study.arms.items() if not arm.gone]
    missing = [(name, seed) for seed in seeds for name in names if f"{name} {seed}" not in runs]
    command = COMMAND if study is CLAIMS else f"{COMMAND} --study {study.name}"
    with tempfile.TemporaryDirectory() as folder:
        if missing:
            trainer = Trainer(Prepared(Path(arguments.work or folder)), [test_set(name) for name in NAMES])
        for name, seed in missing:
            runs[f"{name} {seed}"] = figures = trainer.run(study.arms[name], seed)
            write_result(study.name, {"runs": runs}, command=command, show=False)
            print(name, seed, {key: value for key, value in figures.items() if key != "values"}, flush=True)
    write_tables(study, runs, ROOT / "docs" / "studies" / f"{study.name}.md")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--study", default=CLAIMS.name, choices=STUDIES)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default="", help="all by default")
    parser.add_argument("--work", default="", help="where word vectors and negatives are kept between runs")
    return parser


if __name__ == "__main__":
    main()
