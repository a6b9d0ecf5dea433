"""The dense leg: a FAISS index and the store row of each of its positions; deleted rows are masked."""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.search import faiss_index
from hybrid_search.engines.embedded.search.effort import Effort, measured
from hybrid_search.engines.embedded.search.faiss_index import RESCORED, Allowed
from hybrid_search.engines.embedded.search.filter_rows import RowFilter
from hybrid_search.engines.embedded.search.ranking import ScoredRows, best, joined
from hybrid_search.engines.embedded.search.rescored import Rescored
from hybrid_search.engines.embedded.store.manifest import Manifest, listed
from hybrid_search.engines.embedded.store.own_files import foreign, own_folder
from hybrid_search.engines.embedded.store.store import Store, read_state
from hybrid_search.settings.index import IndexSettings, Similarity
from hybrid_search.storage import atomic_write_bytes

__all__ = ["DenseLeg"]

_LOG = logging.getLogger(__name__)

_DEAD_SHARE = 0.2
_UNSAVED_SHARE = 0.1
_UNSAVED_VECTORS = 5_000
_MOST_TIES = 20_000
_NOISE = 1e-6
"""FAISS sums in single precision and in blocks, so scores of equal vectors can differ by this share."""
_SPARE = 4
"""Vectors fetched beyond k, for ties at the cut (equal texts have equal vectors). In a graph each costs time."""


@dataclass(slots=True)
class _Vectors:
    """What is in memory: the FAISS index, and for each of its positions the row and whether it still exists.

    :ivar index: of FAISS, or :class:`Rescored`.
    """

    index: Any = None
    kind: str = faiss_index.FLAT
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    alive: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    effort: Effort = field(default_factory=Effort)
    allowed: Allowed = field(default_factory=lambda: Allowed(np.empty(0, bool), None, 0))

    def count_living(self) -> None:
        living = int(self.alive.sum())
        bitmap = None if living == len(self.alive) else np.packbits(self.alive, bitorder="little")
        self.allowed = Allowed(self.alive, bitmap, living)

    def measure(self, similarity: Similarity) -> None:
        """Measure how far the graph, if it is one, is to be walked, unless that is known of half as many vectors."""
        if self.index is not None and faiss_index.is_graph(self.index) and len(self.rows) >= 2 * self.effort.vectors:
            self.effort = measured(self.index, similarity)


class DenseLeg:
    """k-NN over the documents' vectors. Changes and searches must not overlap; the engine ensures that."""

    def __init__(self, folder: Path, settings: IndexSettings, store: Store) -> None:
        self.folder = folder
        self._settings = settings
        self._store = store
        self.reset()

    def reset(self) -> None:
        """Drop everything; :meth:`sync` rebuilds it."""
        self._vectors = _Vectors()
        self._saved = 0
        self.manifest = Manifest()
        self.generation = 0
        self.last_row = 0

    def problems(self, manifest: Manifest, *, contents: bool) -> list[str]:
        """Compare the files with a manifest."""
        return foreign(self.folder) or manifest.problems(self.folder, contents=contents)

    def load(self, manifest: Manifest) -> None:
        """Read what was saved.

        :raises Exception: of any class, as FAISS and numpy raise for damaged files.
        """
        self.reset()
        self.manifest = manifest
        self.generation, self.last_row = manifest.generation, manifest.last_row
        if not manifest.files:
            return
        name, kind = manifest.extra["name"], manifest.extra["kind"]
        if set(_names(name, kind)) != set(manifest.files):  # only listed files were checked
            raise ValueError(f"the manifest names {name!r}, and lists other files")
        with np.load(self.folder / f"{name}.npz", allow_pickle=False) as positions:
            rows, alive = positions["rows"], positions["alive"]
        file = self.folder / f"{name}.faiss"
        if kind == RESCORED:
            index: Any = Rescored.load(file, self.folder / f"{name}.f32", manifest.extra.get("error"))
        else:
            index = faiss.read_index(str(file))
        if not index.ntotal == len(rows) == len(alive) or index.d != self._settings.dimension:
            raise ValueError(f"{name}.faiss has {index.ntotal} vectors, {name}.npz {len(rows)} rows")
        effort = Effort.read(manifest.extra.get("effort"), len(rows))
        self._vectors = _Vectors(index, kind, rows, alive, effort)
        self._vectors.count_living()
        self._saved = len(rows)

    def sync(self) -> None:
        """Add missing vectors and mask deleted ones, in memory.

        :raises CorruptIndex: if a stored vector fails its checksum.
        """
        try:
            self._sync()
        except BaseException:
            self.reset()  # else vectors added before the error would be added again
            raise

    def _sync(self) -> None:
        with self._store.database.reading() as connection:
            state = read_state(connection)
            if state.generation == self.generation:
                return
            gone = self._store.gone_since(connection, self.generation, self.last_row)
            current = self._vectors
            current.alive[np.isin(current.rows, gone)] = False
            current.count_living()
            kind = faiss_index.kind_for(self._settings.faiss, self._settings.dimension, state.vectors)
            crowded = len(current.rows) - current.allowed.count > _DEAD_SHARE * len(current.rows)
            if crowded or kind not in (current.kind, faiss_index.FLAT) or current.index is None:
                self._rebuild(connection, kind)
            else:
                try:
                    self._append(connection)
                except RuntimeError as error:  # FAISS's, of a file that was read without complaint
                    reason = faiss_index.reason(error)
                    _LOG.warning("%s: FAISS can't add to it (%s); built again from the documents", self.folder, reason)
                    self._rebuild(connection, kind)
            self.generation, self.last_row = state.generation, state.next_row - 1

    def _rebuild(self, connection: Connection, kind: str) -> None:
        batches = list(self._store.vectors_after(connection, 0))
        if not batches:
            self._vectors, self._saved = _Vectors(), 0
            return
        rows = np.concatenate([rows for rows, _ in batches])
        vectors = faiss_index.prepared(np.concatenate([vectors for _, vectors in batches]), self._settings.similarity)
        build = Rescored.build if kind == RESCORED else partial(faiss_index.build, kind)
        index = build(vectors, self._settings.similarity)
        self._vectors = _Vectors(index, kind, rows, np.ones(len(rows), bool))
        self._vectors.count_living()
        self._vectors.measure(self._settings.similarity)
        self._saved = 0

    def _append(self, connection: Connection) -> None:
        current = self._vectors
        for rows, vectors in self._store.vectors_after(connection, self.last_row):
            current.index.add(faiss_index.prepared(vectors, self._settings.similarity))
            current.rows = np.concatenate([current.rows, rows])
            current.alive = np.concatenate([current.alive, np.ones(len(rows), bool)])
        current.count_living()
        current.measure(self._settings.similarity)
        if isinstance(current.index, Rescored) and current.index.is_worn:
            self._rebuild(connection, current.kind)

    def save_if_due(self) -> None:
        """Save if so many vectors are unsaved that adding them at the next opening would take long."""
        unsaved = len(self._vectors.rows) - self._saved
        if unsaved > max(_UNSAVED_VECTORS, _UNSAVED_SHARE * self._saved):
            self.save()

    def save(self) -> None:
        """Write the index under a new name, then point the manifest to it. A failure is logged: nothing is lost."""
        if self.manifest.generation == self.generation and self.manifest.clean:
            self._remove_all_but(list(self.manifest.files))  # left by a killed process
            return
        current, name = self._vectors, f"vectors-{self.generation}"
        try:
            own_folder(self.folder)
            names = []
            if current.index is not None:
                names = _names(name, current.kind)
                positions = io.BytesIO()
                np.savez(positions, rows=current.rows, alive=current.alive)
                atomic_write_bytes(self.folder / names[0], positions.getvalue())
                if isinstance(current.index, Rescored):
                    current.index.write(*(self.folder / file for file in names[1:]))
                else:
                    faiss_index.write(current.index, self.folder / names[1])
            extra = {"name": name, "kind": current.kind, "effort": current.effort.written()}
            if isinstance(current.index, Rescored):
                extra["error"] = current.index.error.written()
            manifest = Manifest(self.generation, self.last_row, listed(self.folder, names), extra=extra)
            manifest.write(self.folder)
        except Exception as error:  # FAISS raises RuntimeError, the rest OSError and StorageError
            _LOG.warning("%s: the vector index could not be saved (%s); it is built again when needed", name, error)
            return
        self.manifest, self._saved = manifest, len(current.rows)
        self._remove_all_but(names)

    def _remove_all_but(self, names: list[str]) -> None:
        for path in self.folder.glob("vectors-*"):
            if path.name not in names:
                with contextlib.suppress(OSError):  # it only takes space
                    path.unlink(missing_ok=True)

    def search(self, vectors: NDArray[np.float32], k: int, allowed: RowFilter | None) -> list[ScoredRows]:
        """Return the k most similar documents for each vector; none for a zero vector."""
        results = [ScoredRows()] * len(vectors)
        nonzero = np.flatnonzero(vectors.any(axis=1))
        current = self._vectors
        within = self._searchable(allowed)
        if not within.count or not len(nonzero) or current.index is None:
            return results
        queries = faiss_index.prepared(vectors[nonzero], self._settings.similarity)
        limit = min(k + _SPARE, within.count)
        values, positions = self._nearest(queries, limit, within)
        for number, at in enumerate(nonzero):
            rows, scores = self._scored(values[number], positions[number])
            if limit < within.count and k < len(scores) == limit and scores[-1] == scores[k - 1]:
                rows, scores = self._among_ties(queries[number : number + 1], k, limit, within)
            results[at] = best(rows, scores, k, self._store.row_ids)
        return results

    def _among_ties(
        self, query: NDArray[np.float32], k: int, limit: int, within: Allowed
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Search again with larger limits until the run of equal scores at the cut has ended or is too long."""
        while True:
            limit = min(4 * limit, within.count, max(_MOST_TIES, limit))
            values, positions = self._nearest(query, limit, within)
            rows, scores = self._scored(values[0], positions[0])
            if len(scores) < limit or scores[-1] != scores[k - 1] or limit >= min(within.count, _MOST_TIES):
                return rows, scores

    def _nearest(
        self, queries: NDArray[np.float32], k: int, within: Allowed
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        current = self._vectors
        with faiss_index.threads_for(len(queries)):
            if isinstance(current.index, Rescored):
                return current.index.search(queries, k, within)
            return faiss_index.search(current.index, queries, k, within, current.effort.steps)

    def _scored(
        self, values: NDArray[np.float32], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the rows found and their scores, best first; equal vectors get equal scores."""
        if len(positions) and positions[-1] < 0:  # missing neighbours come last
            found = positions >= 0
            values, positions = values[found], positions[found]
        scores = faiss_index.to_score(values, self._settings.similarity)
        return self._vectors.rows[positions], joined(scores, _NOISE)

    def _searchable(self, allowed: RowFilter | None) -> Allowed:
        current = self._vectors
        if allowed is None:
            return current.allowed

        def narrowed() -> Allowed:
            alive = current.alive & allowed.passes(current.rows)
            return Allowed(alive, np.packbits(alive, bitorder="little"), int(alive.sum()))

        return allowed.derive("faiss", narrowed)

    @property
    def is_exact(self) -> bool:
        """Whether what is found is what a comparison with every vector finds."""
        return self._vectors.kind in (faiss_index.FLAT, RESCORED)

    def rows(self) -> NDArray[np.int64]:
        """Return the rows that can be found, (n,), in no particular order."""
        return self._vectors.rows[self._vectors.alive]

    def count(self) -> int:
        """Return how many vectors can be found."""
        return self._vectors.allowed.count

    def describe(self) -> dict[str, Any]:
        """Describe what is in memory, for display."""
        current = self._vectors
        shown = {"kind": current.kind, "vectors": self.count(), "dead": len(current.rows) - self.count()}
        if current.effort.recall:
            shown |= {"effort": current.effort.steps, "recall@10": round(current.effort.recall, 3)}
        return shown


def _names(name: str, kind: str) -> list[str]:
    """Return the files of an index: positions, FAISS's own, and of rescored ones the original vectors."""
    return [f"{name}.npz", f"{name}.faiss", *([f"{name}.f32"] if kind == RESCORED else [])]
