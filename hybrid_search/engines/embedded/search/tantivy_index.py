"""The tantivy index: finds the documents that share terms with a query, ordered by tantivy's own BM25."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import tantivy
from numpy.typing import NDArray

from hybrid_search.analysis import Analyzer
from hybrid_search.engines.embedded.search.filter_rows import RowFilter
from hybrid_search.engines.embedded.store.manifest import Manifest, listed
from hybrid_search.engines.embedded.store.own_files import emptied, foreign
from hybrid_search.engines.embedded.store.store import Store, read_state
from hybrid_search.errors import StorageError
from hybrid_search.storage import disk_errors
from hybrid_search.streams import in_batches

__all__ = ["TantivyIndex", "sifted"]

_TEXT = "text"
_ROW = "row"
_HEAP = 64_000_000
_DROPPED_AT_ONCE = 10_000
_SEGMENT = re.compile(r"([0-9a-f]{32})\.")


class TantivyIndex:
    """A folder with a tantivy index, which follows the store."""

    def __init__(self, folder: Path, analyzer: Analyzer) -> None:
        self.folder = folder
        self._analyzer = analyzer
        self.manifest = Manifest()
        builder = tantivy.SchemaBuilder()
        builder.add_unsigned_field(_ROW, indexed=True, fast=True)
        builder.add_text_field(_TEXT, tokenizer_name=analyzer.name, index_option="freq")
        self._schema = builder.build()
        self._index: tantivy.Index | None = None
        self._searcher: tantivy.Searcher | None = None

    def load(self, manifest: Manifest) -> None:
        """Open the folder that a manifest describes, or its later state.

        :raises ValueError: if tantivy can't read it.
        """
        self.manifest = manifest
        with _openable(self.folder) as folder, _panics(self.folder):
            self._index = tantivy.Index(self._schema, path=str(folder), reuse=True)
            self._index.register_tokenizer(self._analyzer.name, self._analyzer.for_tantivy())
            self._index.reload()
            self._searcher = self._index.searcher()

    def problems(self, manifest: Manifest, *, contents: bool) -> list[str]:
        """Compare the files with a manifest; if a crash left it unclean, only those that can't have changed."""
        if found := foreign(self.folder):
            return found
        if not manifest.clean:
            unchanged = {
                name: known
                for name, known in manifest.files.items()
                if not name.endswith(".json") and (self.folder / name).exists()
            }
            manifest = replace(manifest, files=unchanged)
        return manifest.problems(self.folder, contents=contents)

    def reset(self) -> None:
        """Empty the folder.

        :raises StorageError: if the disk is full.
        """
        self._index = self._searcher = None
        with _tantivy_errors(self.folder):
            emptied(self.folder)
            self.load(Manifest())

    def sync(self, store: Store) -> None:
        """Add missing rows and drop deleted ones. Requires the writer lock.

        Repeating it after a crash is harmless: rows above the manifest's last row are dropped before they are added.

        :raises StorageError: if the disk is full; the next call continues.
        """
        if foreign(self.folder):
            self.reset()
        old = self.manifest
        with store.database.reading() as connection, _tantivy_errors(self.folder):
            state = read_state(connection)
            replace(old, clean=False).write(self.folder)
            _remove_strays(self.folder)
            self.load(old)
            writer = self._open_index.writer(_HEAP, 1)
            try:
                self._drop(writer, old.last_row, store.gone_since(connection, old.generation, old.last_row))
                for row, text in store.texts_after(connection, old.last_row):
                    document = tantivy.Document()
                    document.add_unsigned(_ROW, row)
                    document.add_text(_TEXT, self._analyzer.prepared(text))
                    writer.add_document(document)
                writer.commit()
            except BaseException:
                writer.rollback()
                raise
            finally:
                # Merges change files; the manifest must be written after the last merge.
                writer.wait_merging_threads()
            _share(self.folder)
            names = [name for name in os.listdir(self.folder) if _is_content(name)]
            unchanged = {name: known for name, known in old.files.items() if not name.endswith(".json")}
            new = Manifest(state.generation, state.next_row - 1, listed(self.folder, names, unchanged))
        with _tantivy_errors(self.folder):
            new.write(self.folder)
            self.load(new)

    def _drop(self, writer: tantivy.IndexWriter, last_row: int, gone: NDArray[np.int64]) -> None:
        writer.delete_documents_by_query(
            tantivy.Query.range_query(
                self._schema, _ROW, tantivy.FieldType.Unsigned, lower_bound=last_row, include_lower=False
            )
        )
        # Not delete_documents_by_term: it takes an unsigned number for a signed one, and deletes nothing.
        for rows in in_batches(gone.tolist(), _DROPPED_AT_ONCE):
            writer.delete_documents_by_query(tantivy.Query.term_set_query(self._schema, _ROW, rows))

    def search(
        self, terms: list[str], limit: int, allowed: RowFilter | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return up to ``limit`` (rows, tantivy's scores), best first; fewer only if no more documents match.

        :param terms: the query's terms; a repeated term counts several times.
        :param allowed: more and more of the unfiltered ranking are fetched until enough pass. A query for the rows
            themselves would take tantivy longer for each of them, and be the same ranking.
        """
        # A repeated term is one with more weight, as in Lucene; a sum of thousands in single precision would be wrong.
        parts = [(tantivy.Occur.Should, self._term(term, times)) for term, times in Counter(terms).items()]
        query = tantivy.Query.boolean_query(parts)
        return self._collect(query, limit) if allowed is None else self._sift(query, limit, allowed)

    def _term(self, term: str, times: int) -> tantivy.Query:
        query = tantivy.Query.term_query(self._schema, _TEXT, term, "freq")
        return query if times == 1 else tantivy.Query.boost_query(query, float(times))

    def _sift(
        self, query: tantivy.Query, limit: int, allowed: RowFilter
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        fetched = sifted(limit, allowed)
        while True:
            rows, scores = self._collect(query, fetched)
            passing = allowed.passes(rows)
            if passing.sum() >= limit or len(rows) < fetched:
                return rows[passing][:limit], scores[passing][:limit]
            fetched *= 4

    def _collect(self, query: tantivy.Query, limit: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Run a query.

        :raises StorageError: if tantivy finds its files to be other than its list of them says.
        """
        searcher = self._open_searcher
        limit = max(1, min(limit, searcher.num_docs))  # tantivy panics at a limit of 0
        with _panics(self.folder):
            hits = searcher.search(query, limit, count=False).hits
            if not hits:
                return np.empty(0, np.int64), np.empty(0, np.float64)
            scores, addresses = zip(*hits, strict=True)
            rows = searcher.fast_field_values(_ROW, list(addresses))
        return np.array(rows, np.int64), np.array(scores, np.float64)

    def frequencies(self, terms: Iterable[str]) -> list[int]:
        """Return how many documents have each term; deleted documents count until their segment is merged."""
        searcher = self._open_searcher
        with _panics(self.folder):
            return [searcher.doc_freq(_TEXT, term) for term in terms]

    def rows(self) -> NDArray[np.int64]:
        """Return the rows in the index, (n,), in no particular order."""
        return self._collect(tantivy.Query.all_query(), self.count())[0]

    def count(self) -> int:
        """Return the number of documents in the index."""
        return self._open_searcher.num_docs

    @property
    def _open_index(self) -> tantivy.Index:
        if self._index is None:
            raise StorageError(f"{self.folder}: the lexical index is not open")
        return self._index

    @property
    def _open_searcher(self) -> tantivy.Searcher:
        if self._searcher is None:
            raise StorageError(f"{self.folder}: the lexical index is not open")
        return self._searcher


def sifted(limit: int, allowed: RowFilter) -> int:
    """Return how much of an unfiltered ranking is likely to have ``limit`` hits that pass a filter."""
    return int(limit * len(allowed.mask) / max(1, allowed.count) * 1.2) + 10


@contextmanager
def _openable(folder: Path) -> Iterator[Path]:
    """Lend the folder in a form that tantivy can open.

    tantivy locks a file even to read; where it can't, a temporary folder of links is lent instead. Files that
    it has opened stay open when the links are removed.
    """
    lock = folder / ".tantivy-meta.lock"
    if os.access(lock if lock.exists() else folder, os.W_OK):
        yield folder
        return
    # tantivy's thread may create a lock while the folder is removed; an empty folder that stays does no harm.
    with tempfile.TemporaryDirectory(prefix="hybrid-search-", ignore_cleanup_errors=True) as shown:
        for path in folder.iterdir():
            if path.suffix != ".lock":
                os.symlink(path.absolute(), Path(shown) / path.name)
        yield Path(shown)


def _share(folder: Path) -> None:
    """Give tantivy's two lists, which it creates readable by their owner only, the permissions of the other files."""
    mode = (folder / "manifest.json").stat().st_mode & 0o777
    for name in ("meta.json", ".managed.json"):
        (folder / name).chmod(mode)


def _remove_strays(folder: Path) -> None:
    """Remove files of an interrupted commit: when killed, tantivy loses track of them.

    Left-over deletion lists would even make the next commit fail. Requires the writer lock.
    """
    meta = folder / "meta.json"
    segments = json.loads(meta.read_bytes())["segments"] if meta.exists() else []
    used = {segment["segment_id"].replace("-", "") for segment in segments}
    deletions = {
        f"{segment['segment_id'].replace('-', '')}.{segment['deletes']['opstamp']}.del"
        for segment in segments
        if segment["deletes"]
    }
    for path in folder.iterdir():
        of_segment = _SEGMENT.match(path.name)
        is_stray = of_segment and (of_segment[1] not in used or (path.suffix == ".del" and path.name not in deletions))
        if is_stray or path.name.startswith(".tmp"):
            path.unlink(missing_ok=True)


def _is_content(name: str) -> bool:
    return not name.endswith((".lock", ".part")) and name != "manifest.json"


@contextmanager
def _panics(folder: Path) -> Iterator[None]:
    """Turn a panic of tantivy, which is no Exception and would pass every handler, into an error."""
    try:
        yield
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":
            raise
        raise StorageError(
            f"{folder}: tantivy can't use its files ({error}); `hybrid-search repair {folder.parent}` builds them "
            f"again from the documents"
        ) from error


@contextmanager
def _tantivy_errors(folder: Path) -> Iterator[None]:
    try:
        with disk_errors(f"writing {folder}"), _panics(folder):
            yield
    except ValueError as error:
        # tantivy raises ValueError for everything; while writing, the cause is the disk.
        raise StorageError(
            f"writing {folder}: {error}; the documents are safe, and are taken in at the next commit or opening"
        ) from error
