"""Exact search in a quarter of the memory: 8-bit numbers find candidates, the original vectors decide between them.

How far a vector lies from what 8 bits keep of it is measured when it is added, and no value can be wrong by more. So
candidates are fetched until no other vector could be among the k best even then, and what is found is what a
comparison with every vector finds. The originals are mapped from their file, and in memory as long as they are unsaved.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.search import faiss_index
from hybrid_search.engines.embedded.search.faiss_index import Allowed
from hybrid_search.engines.embedded.store.own_files import made
from hybrid_search.settings.index import Similarity

__all__ = ["Error", "Rescored"]

Floats = NDArray[np.float32]
Positions = NDArray[np.int64]

# The type stubs lack some of FAISS's functions.
_swig: Any = faiss

_MATRIX_FROM = 20
"""With so many queries FAISS multiplies matrices, and a comparison with every vector costs less than finding some."""
_MOST_CANDIDATES = 1 / 8
"""Of all vectors: where more are needed, all are compared."""
_ROUNDING = 5e-5
"""Of a vector's length: what sums in single precision can add to an error."""
_WORN = 1.5
_GROWN = 1.25


@dataclass(frozen=True, slots=True)
class Error:
    """How far vectors lie from what 8 bits keep of them.

    :ivar largest: the largest distance, with what rounding adds; of inner products, for a query of length 1.
    :ivar fresh: the same when the range of the 8 bits was chosen.
    :ivar vectors: how many there were then.
    """

    largest: float = 0.0
    fresh: float = 0.0
    vectors: int = 0

    @classmethod
    def read(cls, values: Any) -> Self:
        """Take what a manifest has.

        :raises ValueError: if it can't be an error.
        """
        found = cls(**values) if isinstance(values, dict) else cls(-1)
        if not (0 <= found.fresh <= found.largest < math.inf and found.vectors >= 0):
            raise ValueError(f"the manifest has the error {values!r}")
        return found

    def written(self) -> dict[str, Any]:
        """Return it as a manifest has it."""
        return asdict(self)


class Rescored:
    """Vectors of 8-bit numbers, and the originals. Changes and searches must not overlap.

    :ivar codes: the FAISS index of the 8-bit numbers.
    :ivar error: how far it can be wrong.
    """

    def __init__(self, codes: Any, first: Floats, error: Error) -> None:
        self.codes = codes
        self.error = error
        self._first = first
        self._late = np.empty((0, codes.d), np.float32)  # with room at the end
        self.metric_type = codes.metric_type

    @classmethod
    def build(cls, vectors: Floats, similarity: Similarity) -> Self:
        """Build it of prepared vectors (n, dimension), which are kept and must not be changed."""
        codes = faiss_index.build("SQ8", vectors, similarity)
        largest = _largest_error(codes, vectors, 0)
        return cls(codes, vectors, Error(largest, largest, len(vectors)))

    @classmethod
    def load(cls, codes: Path, originals: Path, error: Any) -> Self:
        """Read the 8-bit numbers and map the originals.

        :param error: as the manifest has it.
        :raises Exception: of any class, as FAISS and numpy raise for damaged files.
        """
        index = faiss.read_index(str(codes))
        if not isinstance(index, faiss.IndexScalarQuantizer):
            raise ValueError(f"{codes.name} is no index of 8-bit numbers")
        return cls(index, _mapped(originals, index.ntotal, index.d), Error.read(error))

    def write(self, codes: Path, originals: Path) -> None:
        """Write two new files; from then on the originals are mapped.

        :raises OSError: if the disk is full.
        """
        faiss_index.write(self.codes, codes)
        with made(originals) as file:
            for part in (self._first, self._late[: self.ntotal - len(self._first)]):
                file.write(np.ascontiguousarray(part).data)
        self._first = _mapped(originals, self.ntotal, self.d)
        self._late = self._late[:0].copy()

    @property
    def ntotal(self) -> int:
        """Number of vectors, as FAISS calls it."""
        return int(self.codes.ntotal)

    @property
    def d(self) -> int:
        """Their dimension, as FAISS calls it."""
        return int(self.codes.d)

    @property
    def is_worn(self) -> bool:
        """Whether many vectors were added since the range was chosen, and some of them lie outside it."""
        return self.error.largest > _WORN * self.error.fresh and self.ntotal >= _GROWN * self.error.vectors

    def add(self, vectors: Floats) -> None:
        """Add prepared vectors, (n, dimension)."""
        start = self.ntotal
        used = start - len(self._first)
        self.codes.add(vectors)
        if used + len(vectors) > len(self._late):
            room = np.empty((max(2 * len(self._late), used + len(vectors)), self.d), np.float32)
            room[:used] = self._late[:used]
            self._late = room
        self._late[used : used + len(vectors)] = vectors
        self.error = replace(self.error, largest=max(self.error.largest, _largest_error(self.codes, vectors, start)))

    def reconstruct_batch(self, positions: Positions) -> Floats:
        """Return original vectors: (n,) ascending -> (n, dimension)."""
        split = int(np.searchsorted(positions, len(self._first)))
        parts = [_taken(self._first, positions[:split]), _taken(self._late, positions[split:] - len(self._first))]
        filled = [part for part in parts if len(part)]
        return filled[0] if len(filled) == 1 else np.concatenate(parts)

    def search(self, queries: Floats, k: int, allowed: Allowed) -> tuple[Floats, Positions]:
        """Return the k best of the allowed vectors for each query: (values, positions), each (queries, k).

        :param k: at most as many as are allowed.
        """
        limit = min(k + k // 2 + 16, allowed.count)
        if len(queries) >= _MATRIX_FROM or limit * 2 >= allowed.count:
            return self._exact(queries, k, allowed)
        rough, positions = faiss_index.search(self.codes, queries, limit, allowed, 0)
        found = [
            self._settled(queries[at : at + 1], k, allowed, rough[at], positions[at]) for at in range(len(queries))
        ]
        return np.stack([values for values, _ in found]), np.stack([positions for _, positions in found])

    def _settled(
        self, query: Floats, k: int, allowed: Allowed, rough: Floats, positions: Positions
    ) -> tuple[Floats, Positions]:
        """Return the k best for one query, (k,) each, from its candidates, or from more of them."""
        while positions[-1] >= 0:
            values = self._compared(query, positions)
            order = (-values if self._is_similarity else values).argsort(kind="stable")[:k]
            if self._is_certain(float(values[order[-1]]), float(rough[-1]), query):
                return values[order], positions[order]
            limit = 4 * len(positions)
            if limit > _MOST_CANDIDATES * allowed.count:
                break
            (rough,), (positions,) = faiss_index.search(self.codes, query, limit, allowed, 0)
        (values,), (positions,) = self._exact(query, k, allowed)
        return values, positions

    def _is_certain(self, worst: float, rough: float, query: Floats) -> bool:
        """Return whether no vector beyond the candidates is as near as the k-th of them.

        :param worst: the k-th's value.
        :param rough: by the 8-bit numbers, the last candidate's value, which no vector beyond them exceeds.
        """
        if self._is_similarity:
            return worst > rough + self.error.largest * math.sqrt(float(query[0] @ query[0])) * (1 + _ROUNDING)
        least = math.sqrt(max(0.0, rough)) * (1 - _ROUNDING) - self.error.largest
        return math.sqrt(max(0.0, worst)) * (1 + _ROUNDING) < least

    def _compared(self, query: Floats, positions: Positions) -> Floats:
        """Return the values of original vectors, (n,) -> (n,), each summed alone.

        ``Flat`` has the same bits for one query of up to 10,000 vectors, or with a filter; else it multiplies matrices.
        """
        compare = _swig.fvec_inner_products_by_idx if self._is_similarity else _swig.fvec_L2sqr_by_idx
        values = np.empty(len(positions), np.float32)
        late = positions >= len(self._first)
        for part, chosen, start in ((self._first, ~late, 0), (self._late, late, len(self._first))):
            if count := int(np.count_nonzero(chosen)):
                every = count == len(positions) and start == 0
                at = positions if every else positions[chosen] - start
                into = values if every else np.empty(count, np.float32)
                pointers = [faiss.swig_ptr(one) for one in (into, query, part, at)]
                compare(*pointers, self.d, 1, count)
                if not every:
                    values[chosen] = into
        return values

    def _exact(self, queries: Floats, k: int, allowed: Allowed) -> tuple[Floats, Positions]:
        return faiss_index.exact(self, queries, k, np.flatnonzero(allowed.alive))

    @property
    def _is_similarity(self) -> bool:
        return bool(self.metric_type == faiss.METRIC_INNER_PRODUCT)


def _largest_error(codes: Any, vectors: Floats, start: int) -> float:
    """Return how far the vectors from ``start`` on lie from what was kept of them, at most."""
    kept = codes.reconstruct_n(start, len(vectors))
    distances = np.linalg.norm(vectors - kept, axis=1) + _ROUNDING * np.linalg.norm(vectors, axis=1)
    return float(distances.max(initial=0.0))


def _taken(vectors: Floats, positions: Positions) -> Floats:
    """Return some of the vectors, without copying them if they are consecutive."""
    if len(positions) and positions[-1] - positions[0] == len(positions) - 1:
        return vectors[positions[0] : positions[-1] + 1]
    return vectors[positions]


def _mapped(path: Path, count: int, dimension: int) -> Floats:
    """Map a file of vectors.

    :raises ValueError: if it has another number of them.
    """
    if path.stat().st_size != 4 * count * dimension:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {count} vectors of {dimension} numbers")
    # A plain view of the mapping: indexing the memmap class itself is several times slower.
    return np.asarray(np.memmap(path, np.float32, mode="r", shape=(count, dimension)))
