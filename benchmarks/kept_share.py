"""How much of what is learnt from documents alone is to be kept?

``python -m benchmarks.kept_share [SET ...]`` trains from ``en`` with a set's documents alone and keeps all of it, then
measures vectors between those of ``en`` and the learnt ones on the set's queries to fit on (nothing on those of the
test, which must not choose a default). Sets: nfcorpus, squad, dl19. Writes ``results/kept_share.json``; half an hour.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import ROOT, write_result
from benchmarks.quality.measuring import dense_leg, fused, lexical_legs
from benchmarks.quality.sets import test_set, write_set
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.training.fit.weights import fit_fusion

SETS = ("nfcorpus", "squad", "dl19")
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
SEED = 0

Vectors = NDArray[np.float32]


def main() -> None:
    """Train on each set's documents, and measure each share."""
    figures: dict[str, Any] = {}
    for name in sys.argv[1:] or SETS:
        with tempfile.TemporaryDirectory() as home:
            model = _trained(Path(home), name)
            figures[name] = _measured(name, OnnxEncoder.load(located(Path("en"))), OnnxEncoder.load(model))
        print(name, figures[name], flush=True)
        write_result("kept_share", figures, seed=SEED, command="python -m benchmarks.kept_share", show=False)


def _trained(home: Path, name: str) -> Path:
    write_set(home / "data", name)
    subprocess.run(
        [
            sys.executable, "-m", "hybrid_search", "train", "jsonl", "--path", str(home / "data"), "--split", "none",
            "--set", "training.adapt_share=1", "--seed", str(SEED), "--out", str(home / "model"), "--format", "json",
        ],
        cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return home / "model"


def _measured(name: str, before: OnnxEncoder, after: OnnxEncoder) -> dict[str, Any]:
    data = test_set(name)
    lexical, qrels = lexical_legs(data), qrels_of(data.fit.judgements)
    known: dict[tuple[str, ...], tuple[Vectors, Vectors]] = {}

    def between(share: float, tower: str) -> Callable[[Sequence[str]], Vectors]:
        def encode(texts: Sequence[str]) -> Vectors:
            key = (tower, *texts)
            if key not in known:
                known[key] = getattr(before, tower)(texts), getattr(after, tower)(texts)
            first, last = known[key]
            mixed = (1 - share) * first + share * last
            return np.asarray(mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-9), np.float32)

        return encode

    figures = {}
    for share in SHARES:
        knn = dense_leg(data.fit, between(share, "encode_queries"), between(share, "encode_documents"))
        fusion = fit_fusion(lexical.fit, knn, data.fit.judgements).fusion
        runs = {"knn": knn, "hybrid": fused(lexical.fit, knn, fusion)}
        figures[str(share)] = {
            system: round(means(measure(run, qrels, names=("nDCG@10",)))["nDCG@10"], 4) for system, run in runs.items()
        } | {"bm25_weight": fusion.weights[0]}
    return figures


if __name__ == "__main__":
    main()
