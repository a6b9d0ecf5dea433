"""What do the words around a question cost the k-NN leg and the hybrid, and should the towers be spared them?

``python -m benchmarks.asked_towers [CACHE]``; writes ``results/asked_towers.json``, which ``docs/studies/asked.md``
reads. The legs and sets of :mod:`benchmarks.without_labels`: the teacher, and the weighted mean of its word pieces.
BM25 with all words and without function words; ``subject`` gives the k-NN leg, too, no function words.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.asked import FORMS
from benchmarks.harness import write_result
from benchmarks.quality.measuring import Run, fused, ranked
from benchmarks.quality.sets import Judged
from benchmarks.without_labels import Mean, Teacher, bm25_leg, small_sets
from hybrid_search.analysis import analyzer, asked
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.evaluation.significance import paired_p_value
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Query, Ranking

ASKED = ("as it is", "how do I", "what should I know", "any advice")
WEIGHTS = (0.7, 0.5)
ENGLISH = analyzer("english_folded")


def main() -> None:
    """Measure both legs on all sets in the forms."""
    legs = {"teacher": Teacher(Path(sys.argv[1] if len(sys.argv) > 1 else "teacher-vectors")), "mean": Mean()}
    figures = {}
    for name, judged in small_sets().items():
        documents = {leg: encode([d.searchable_text for d in judged.documents]) for leg, encode in legs.items()}
        for form in ASKED:
            texts = [FORMS[form].format(query.text) for query in judged.queries]
            subjects = [str(asked(text, ENGLISH).words) for text in texts]
            shown = _asking(judged, texts)
            bm25 = {"all words": bm25_leg(shown, drops=False), "function words left out": bm25_leg(shown)}
            for leg, encode in legs.items():
                whole = ranked(judged, encode(texts), documents[leg])
                both = {"whole": whole}
                if form in ("as it is", "any advice"):
                    both["subject"] = ranked(judged, encode(subjects), documents[leg])
                figures[f"{name}, {leg}, {form}"] = _measured(judged, bm25, both)
                print(name, leg, form, figures[f"{name}, {leg}, {form}"], flush=True)
    write_result("asked_towers", figures, command="python -m benchmarks.asked_towers", show=False)


def _asking(judged: Judged, texts: list[str]) -> Judged:
    queries = [Query(query.id, text) for query, text in zip(judged.queries, texts, strict=True)]
    return Judged(judged.documents, queries, judged.judgements)


def _measured(judged: Judged, bm25: dict[str, Run], knn: dict[str, Run]) -> dict[str, Any]:
    """Measure each leg and each pair of them fused; compare the ways to ask BM25, and to ask the towers."""
    runs: dict[str, Run] = {**bm25, **{f"knn, {way}": run for way, run in knn.items()}}
    for words, lexical in bm25.items():
        for weight in WEIGHTS:
            fusion = Fusion(weights=(weight, round(1 - weight, 12)))
            runs[f"hybrid {weight}, {words}"] = fused(lexical, knn["whole"], fusion)
    qrels = qrels_of(judged.judgements)
    values = {name: measure(_cut(run), qrels, names=("nDCG@10",)) for name, run in runs.items()}
    found: dict[str, Any] = {name: round(means(of)["nDCG@10"], 4) for name, of in values.items()}
    pairs = [(f"hybrid {weight}, function words left out", f"hybrid {weight}, all words") for weight in WEIGHTS]
    for one, other in [*pairs, *([("knn, subject", "knn, whole")] if "subject" in knn else [])]:
        ours, theirs = (list(values[name]["nDCG@10"].values()) for name in (one, other))
        difference = float(np.mean(ours) - np.mean(theirs))
        found[f"{one} less {other}"] = [round(difference, 4), round(paired_p_value(ours, theirs), 4)]
    return found


def _cut(run: Run) -> Run:
    return {query: Ranking(ranking.ids[:10], ranking.scores[:10]) for query, ranking in run.items()}


if __name__ == "__main__":
    main()
