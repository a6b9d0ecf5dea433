"""Which of two general models is better, on sets that do not judge them? k-NN alone, nothing trained.

``python -m benchmarks.choosing CACHE MODEL...`` measures checkpoints, or models that come with the package, on the five
sets of ``benchmarks.made_forms`` and writes ``results/choosing.json``, which docs/en.md reads. CACHE keeps vectors.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.harness import write_result
from benchmarks.made_forms import Leg, to_choose_on
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located


def main() -> None:
    """Measure each model named."""
    cache, *models = sys.argv[1:]
    figures: dict[str, dict[str, float]] = {}
    for model in models:
        encoder = OnnxEncoder.load(located(Path(model)), threads=1)
        leg = Leg(encoder.encode_documents, encoder.encode_queries, Path(cache) / encoder.fingerprint[:12])
        found = {}
        for name, judged in to_choose_on():
            values = measure(leg.run(judged), qrels_of(judged.judgements), names=("nDCG@10",))
            found[name] = round(means(values)["nDCG@10"], 4)
        figures[encoder.fingerprint[:12]] = {**found, "mean": round(float(np.mean(list(found.values()))), 4)}
    write_result("choosing", figures, command="python -m benchmarks.choosing CACHE MODEL...")


if __name__ == "__main__":
    main()
