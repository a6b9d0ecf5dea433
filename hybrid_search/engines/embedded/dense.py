"""The dense leg: FAISS positions beside store rows; rows that are gone are masked, missing ones replayed."""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded import faiss_index
from hybrid_search.engines.embedded.filter_rows import RowFilter
from hybrid_search.engines.embedded.manifest import Manifest, listed
from hybrid_search.engines.embedded.own_files import foreign, own_folder
from hybrid_search.engines.embedded.ranking import ScoredRows, best, joined
from hybrid_search.engines.embedded.store import Store, read_state
from hybrid_search.settings.index import IndexSettings
from hybrid_search.storage import atomic_write_bytes

__all__ = ["DenseLeg"]

_LOG = logging.getLogger(__name__)

_DEAD_SHARE = 0.2
_UNSAVED_SHARE = 0.1
_UNSAVED_VECTORS = 5_000
_MOST_TIES = 20_000
_NOISE = 1e-6
"""FAISS sums in single precision, by blocks of queries and vectors, so that equal vectors come out a little apart."""
_SPARE = 4
"""Vectors fetched beyond k: equal ones, which only equal texts have, may stand at the cut. A graph pays for each."""


@dataclass(slots=True)
class _Vectors:
    """What is in memory: the FAISS index, and for each of its positions the row and whether it is still there."""

    index: Any = None
    kind: str = faiss_index.FLAT
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    alive: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    living: int = 0
    bitmap: NDArray[np.uint8] | None = None

    def count_living(self) -> None:
        self.living = int(self.alive.sum())
        self.bitmap = None if self.living == len(self.alive) else np.packbits(self.alive, bitorder="little")


class DenseLeg:
    """k-NN over the documents' vectors. Changing it excludes searching it; the engine sees to that."""

    def __init__(self, folder: Path, settings: IndexSettings, store: Store) -> None:
        self.folder = folder
        self._settings = settings
        self._store = store
        self.reset()

    def reset(self) -> None:
        """Forget everything; :meth:`sync` builds it again."""
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

        :raises Exception: of whatever kind FAISS or numpy meets in a damaged file.
        """
        self.reset()
        self.manifest = manifest
        self.generation, self.last_row = manifest.generation, manifest.last_row
        if not manifest.files:
            return
        name = manifest.extra["name"]
        if {f"{name}.faiss", f"{name}.npz"} != set(manifest.files):  # the names that were checked
            raise ValueError(f"the manifest names {name!r}, and lists other files")
        with np.load(self.folder / f"{name}.npz", allow_pickle=False) as positions:
            rows, alive = positions["rows"], positions["alive"]
        index = faiss.read_index(str(self.folder / f"{name}.faiss"))
        if not index.ntotal == len(rows) == len(alive) or index.d != self._settings.dimension:
            raise ValueError(f"{name}.faiss has {index.ntotal} vectors, {name}.npz {len(rows)} rows")
        self._vectors = _Vectors(index, manifest.extra["kind"], rows, alive)
        self._vectors.count_living()
        self._saved = len(rows)

    def sync(self) -> None:
        """Take in the vectors that are missing and mask those that are gone, in memory.

        :raises CorruptIndex: if a stored vector is not what was written.
        """
        try:
            self._sync()
        except BaseException:
            self.reset()  # what came in before the error would come in again
            raise

    def _sync(self) -> None:
        with self._store.database.reading() as connection:
            state = read_state(connection)
            gone = self._store.gone_since(connection, self.generation, self.last_row)
            held = self._vectors
            held.alive[np.isin(held.rows, gone)] = False
            held.count_living()
            kind = faiss_index.kind_for(self._settings.faiss, self._settings.dimension, state.vectors)
            crowded = len(held.rows) - held.living > _DEAD_SHARE * len(held.rows)
            if crowded or kind not in (held.kind, faiss_index.FLAT) or held.index is None:
                self._rebuild(connection, kind)
            else:
                self._append(connection)
            self.generation, self.last_row = state.generation, state.next_row - 1

    def _rebuild(self, connection: Connection, kind: str) -> None:
        batches = list(self._store.vectors_after(connection, 0))
        if not batches:
            self._vectors, self._saved = _Vectors(), 0
            return
        rows = np.concatenate([rows for rows, _ in batches])
        vectors = faiss_index.prepared(np.concatenate([vectors for _, vectors in batches]), self._settings.similarity)
        index = faiss_index.build(kind, vectors, self._settings.similarity)
        self._vectors = _Vectors(index, kind, rows, np.ones(len(rows), bool))
        self._vectors.count_living()
        self._saved = 0

    def _append(self, connection: Connection) -> None:
        held = self._vectors
        for rows, vectors in self._store.vectors_after(connection, self.last_row):
            held.index.add(faiss_index.prepared(vectors, self._settings.similarity))
            held.rows = np.concatenate([held.rows, rows])
            held.alive = np.concatenate([held.alive, np.ones(len(rows), bool)])
        held.count_living()

    def save_if_due(self) -> None:
        """Save when enough is unsaved that replaying it at the next opening would be felt."""
        unsaved = len(self._vectors.rows) - self._saved
        if unsaved > max(_UNSAVED_VECTORS, _UNSAVED_SHARE * self._saved):
            self.save()

    def save(self) -> None:
        """Write the index beside the old one, then point the manifest to it. A failure is logged: nothing is lost."""
        if self.manifest.generation == self.generation and self.manifest.clean:
            self._remove_all_but(list(self.manifest.files))  # a killed process may not have come to it
            return
        held, name = self._vectors, f"vectors-{self.generation}"
        try:
            own_folder(self.folder)
            names = []
            if held.index is not None:
                names = [f"{name}.faiss", f"{name}.npz"]
                faiss_index.write(held.index, self.folder / names[0])
                positions = io.BytesIO()
                np.savez(positions, rows=held.rows, alive=held.alive)
                atomic_write_bytes(self.folder / names[1], positions.getvalue())
            manifest = Manifest(
                self.generation, self.last_row, listed(self.folder, names), extra={"name": name, "kind": held.kind}
            )
            manifest.write(self.folder)
        except Exception as error:  # FAISS raises RuntimeError, the rest OSError and StorageError
            _LOG.warning("%s: the vector index could not be saved (%s); it is built again when needed", name, error)
            return
        self.manifest, self._saved = manifest, len(held.rows)
        self._remove_all_but(names)

    def _remove_all_but(self, names: list[str]) -> None:
        for path in self.folder.glob("vectors-*"):
            if path.name not in names:
                with contextlib.suppress(OSError):  # it takes room, and no more
                    path.unlink(missing_ok=True)

    def search(self, vectors: NDArray[np.float32], k: int, allowed: RowFilter | None) -> list[ScoredRows]:
        """Rank by similarity to each vector; a zero vector finds nothing."""
        results = [ScoredRows()] * len(vectors)
        asked = np.flatnonzero(vectors.any(axis=1))
        held = self._vectors
        alive, bitmap, living = self._searchable(allowed)
        if not living or not len(asked) or held.index is None:
            return results
        queries = faiss_index.prepared(vectors[asked], self._settings.similarity)
        wanted = min(k + _SPARE, living)
        values, positions = faiss_index.search(held.index, queries, wanted, alive=alive, bitmap=bitmap, count=living)
        for number, at in enumerate(asked):
            rows, scores = self._scored(values[number], positions[number])
            if wanted < living and k < len(scores) == wanted and scores[-1] == scores[k - 1]:
                rows, scores = self._among_ties(queries[number : number + 1], k, wanted, allowed)
            results[at] = best(rows, scores, k, self._store.row_ids)
        return results

    def _among_ties(
        self, query: NDArray[np.float32], k: int, wanted: int, allowed: RowFilter | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Search again, wider and wider, until a run of equal scores at the cut has ended or is too long."""
        alive, bitmap, living = self._searchable(allowed)
        while True:
            wanted = min(4 * wanted, living, max(_MOST_TIES, wanted))
            values, positions = faiss_index.search(
                self._vectors.index, query, wanted, alive=alive, bitmap=bitmap, count=living
            )
            rows, scores = self._scored(values[0], positions[0])
            if len(scores) < wanted or scores[-1] != scores[k - 1] or wanted >= min(living, _MOST_TIES):
                return rows, scores

    def _scored(
        self, values: NDArray[np.float32], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the rows found and their scores, those of equal vectors equal, best first."""
        if len(positions) and positions[-1] < 0:  # missing ones are last
            found = positions >= 0
            values, positions = values[found], positions[found]
        scores = faiss_index.to_score(values, self._settings.similarity)
        return self._vectors.rows[positions], joined(scores, _NOISE)

    def _searchable(self, allowed: RowFilter | None) -> tuple[NDArray[np.bool_], NDArray[np.uint8] | None, int]:
        held = self._vectors
        if allowed is None:
            return held.alive, held.bitmap, held.living
        narrowed = allowed.derive("faiss", lambda: held.alive & allowed.passes(held.rows))
        bitmap = allowed.derive("faiss bitmap", lambda: np.packbits(narrowed, bitorder="little"))
        return narrowed, bitmap, allowed.derive("faiss count", lambda: int(narrowed.sum()))

    def rows(self) -> NDArray[np.int64]:
        """Return the rows that can be found, (n,), in no order."""
        return self._vectors.rows[self._vectors.alive]

    def count(self) -> int:
        """Return how many vectors can be found."""
        return self._vectors.living

    def describe(self) -> dict[str, Any]:
        """Say what is in memory, for people."""
        return {"kind": self._vectors.kind, "vectors": self.count(), "dead": len(self._vectors.rows) - self.count()}
