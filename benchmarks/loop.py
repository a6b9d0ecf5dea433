"""What does the whole loop reach on real data, by the command line alone: train, mine, load, evaluate?

``python -m benchmarks.loop NAME`` for each data set of :data:`SETS`; writes ``results/loop_NAME.json``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import ROOT, need_data, write_result


@dataclass(frozen=True)
class Set:
    """One data set: its loader, its folder, whose queries are evaluated, and further options of ``train``."""

    loader: str
    folder: str
    split: str
    train: tuple[str, ...] = ()


SETS = {
    "python_docs": Set("python_docs", "", "test"),
    "msmarco": Set("msmarco_passage", "msmarco-passage", "dl19"),
    "nfcorpus": Set("beir", "nfcorpus", "test"),
}


def main() -> None:
    """Run the loop in a temporary folder and record every verb's time and answer."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in SETS:
        raise SystemExit(f"name a data set: {', '.join(SETS)}")
    data = SETS[name]
    source = [data.loader, *(["--path", str(need_data() / data.folder)] if data.folder else [])]
    with tempfile.TemporaryDirectory() as folder:
        model, index = f"{folder}/model", f"{folder}/index"
        figures: dict[str, Any] = {}
        started = time.perf_counter()
        for verb, arguments in (
            ("train", ["--out", model, *data.train]),
            ("load", ["--model", model, "--to", index]),
            ("mine", ["--from", index, "--out", f"{folder}/negatives.jsonl"]),
            ("evaluate", ["--from", index, "--split", data.split]),
        ):
            began = time.perf_counter()
            answer = _run([verb, *source, *arguments, "--dead-letter", f"{folder}/rejected.jsonl"])
            figures[verb] = {"seconds": round(time.perf_counter() - began, 1), **_short(answer)}
        figures["seconds"] = round(time.perf_counter() - started, 1)
    write_result(f"loop_{name}", figures, command=f"python -m benchmarks.loop {name}")


def _run(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "hybrid_search", *arguments, "--format", "json"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _short(answer: dict[str, Any]) -> dict[str, Any]:
    """Leave out what names a temporary folder, single queries, and digits that mean nothing."""
    out = ("model", "location", "file", "seconds", "against_bm25")
    kept = {name: value for name, value in answer.items() if name not in out}
    return json.loads(json.dumps(kept), parse_float=lambda text: round(float(text), 4))  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
