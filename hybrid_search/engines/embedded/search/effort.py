"""How far a search walks a graph (HNSW's ``efSearch``): as far as this graph needs for a recall@10 of .95 or more.

A fixed effort finds less the more vectors there are. So recall is measured, against exact search, when a graph is built
and each time its vectors have doubled, and the effort is raised until it suffices. Real queries are not known by then,
and the documents' own vectors are no substitute: hardly any walk misses their neighbours. A document's vector with a
share of another's is found about as hard as a query is (``python -m benchmarks.graph_effort`` compares the three).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.search import faiss_index
from hybrid_search.settings.index import Similarity

__all__ = ["EFFORTS", "Effort", "measured", "mixed_queries", "recall_of"]

Floats = NDArray[np.float32]

EFFORTS = (128, 192, 256, 384, 512, 768, 1_024, 1_536, 2_048)
_WANTED = 0.96
"""A hundredth above .95: recall of so few queries is known to half a hundredth, and real ones can be harder."""
_QUERIES = 200
_DEPTH = 10
_SHARE = 0.6
_NOISE = 1e-5


@dataclass(frozen=True, slots=True)
class Effort:
    """How far a graph is walked.

    :ivar steps: candidates that a search keeps, at least; as many as hits are wanted, if these are more.
    :ivar recall: recall@10 with that, 0 to 1; 0 if it was not measured.
    :ivar vectors: how many there were when it was measured.
    """

    steps: int = EFFORTS[0]
    recall: float = 0.0
    vectors: int = 0

    @classmethod
    def read(cls, values: Any, vectors: int) -> Self:
        """Take what a manifest has; an index of before has nothing, and keeps the least effort until it has doubled.

        :raises ValueError: if it can't be an effort.
        """
        if values is None:
            return cls(vectors=vectors)
        found = cls(**values)
        if not (found.steps in EFFORTS and 0 <= found.recall <= 1 and found.vectors >= 0):
            raise ValueError(f"the manifest has the effort {values!r}")
        return found

    def written(self) -> dict[str, Any]:
        """Return it as a manifest has it."""
        return asdict(self)


def measured(index: Any, similarity: Similarity) -> Effort:
    """Return the least effort with which a graph has the recall that is wanted, or the greatest there is.

    Behind a transformation of the vectors (``PCA64,HNSW32``) the effort is the least, and not measured: what the graph
    should find there is not what is nearest, however far it is walked.
    """
    if faiss_index.is_transformed(index):
        return Effort(vectors=index.ntotal)
    queries = mixed_queries(index, similarity)
    found = Effort(vectors=index.ntotal)
    for steps in EFFORTS:
        found = Effort(steps, recall_of(index, queries, steps), index.ntotal)
        if found.recall >= _WANTED:
            break
    return found


def mixed_queries(index: Any, similarity: Similarity) -> Floats:
    """Return up to 200 vectors that stand in for queries, (n, dimension): a document's and .6 of another's."""
    draw = np.random.default_rng(0)
    chosen = draw.choice(index.ntotal, min(_QUERIES, index.ntotal), replace=False)
    mixed = index.reconstruct_batch(chosen) + _SHARE * index.reconstruct_batch(draw.permutation(chosen))
    return faiss_index.prepared(mixed / (1 + _SHARE), similarity)


def recall_of(index: Any, queries: Floats, steps: int) -> float:
    """Return the mean share of each query's 10 nearest vectors that a walk finds, or of vectors just as near."""
    depth = min(_DEPTH, index.ntotal)
    if not (depth and len(queries)):
        return 1.0
    near, _ = faiss_index.exact(index, queries, depth, np.arange(index.ntotal))
    found, positions = faiss_index.walk(index, queries, depth, steps)
    sign = 1 if faiss_index.is_similarity(index) else -1
    least = sign * near[:, -1:]
    as_near = (positions >= 0) & (sign * found >= least - _NOISE * np.maximum(1, np.abs(least)))
    return float(as_near.mean())
