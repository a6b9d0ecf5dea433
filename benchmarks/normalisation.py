"""How should the legs' scores be brought to one scale? Each method at its best weight, on real rankings.

``python -m benchmarks.normalisation NAME=CHECKPOINT ...`` ranks the queries to fit on of the quality protocol with each
checkpoint and fuses by every method and all weights. Writes ``results/normalisation.json``: per method the best mean
nDCG@10, its weight, and the difference from ``min_max`` at its best weight, with a 95 % bootstrap interval.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.fusion_weight import STEPS, Values, best, encoded, values_by_weight
from benchmarks.harness import write_result
from benchmarks.quality.measuring import lexical_legs
from benchmarks.quality.sets import NAMES, test_set
from hybrid_search.config import Fusion, Normalisation
from hybrid_search.evaluation.significance import compare

METHODS: tuple[Normalisation, ...] = get_args(Normalisation)


def main() -> None:
    """Run it over the checkpoints named."""
    models = dict(argument.split("=", 1) for argument in sys.argv[1:])
    figures: dict[str, Any] = {}
    for name in NAMES:
        data = test_set(name)
        lexical = lexical_legs(data).fit
        for model, folder in models.items():
            knn = encoded(data.fit, Path(folder))
            tables = {m: values_by_weight(lexical, knn, data.fit, Fusion(method=m)) for m in METHODS}
            figures[f"{model}, {name}"] = {
                method: _figures(table, tables["min_max"]) for method, table in tables.items()
            }
            print(f"{model}, {name}: {figures[f'{model}, {name}']}", flush=True)
    shown = " ".join(f"{name}=CHECKPOINT" for name in models)
    write_result("normalisation", figures, seed=0, command=f"python -m benchmarks.normalisation {shown}".strip())


def _figures(table: Values, plain: Values) -> dict[str, Any]:
    """Return a method's best mean, and how far its queries are from the plain method's."""
    rows = {"bm25": plain[best(plain)], "this": table[best(table)]}
    against = compare({name: dict(enumerate(row.tolist())) for name, row in rows.items()})["this"]
    return {
        "nDCG@10": round(float(np.mean(rows["this"])), 4),
        "weight": best(table) / STEPS,
        "less min_max": round(against.difference, 4),
        "interval": [round(end, 4) for end in against.difference_interval or ()],
    }


if __name__ == "__main__":
    main()
