"""The forward index: each document's terms with their counts, and its length. Two append-only files.

A term is stored as a 48-bit hash, so no lexicon has to be loaded; two terms of a query's candidates collide in about
one of 10^9 queries. A posting is a 64-bit word: the hash in the high bits, the count (at most 65,535) in the low 16.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from hybrid_search.analysis import Analyzer
from hybrid_search.engines.embedded.store.manifest import Manifest, checksum_of
from hybrid_search.engines.embedded.store.own_files import append_to, foreign, is_plain, own_folder
from hybrid_search.engines.embedded.store.store import Store, read_state
from hybrid_search.storage import disk_errors

__all__ = ["ForwardIndex", "HashedTerms", "term_hash"]

_POSTINGS = "postings.u64"
_ROWS = "rows.bin"
_ROW = np.dtype([("end", "<u8"), ("length", "<u4")])
_MOST = 0xFFFF
_BATCH = 4096
_MOST_WORDS = 200_000
_WORDS = bytes(code + 32 if 65 <= code <= 90 else code if chr(code).isalnum() else 32 for code in range(128)).ljust(256)
"""Takes bytes of ASCII to small letters, digits and blanks."""
_NEVER = 1 << 62


def term_hash(term: str) -> int:
    """Return a term's 48-bit hash."""
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "replace"), digest_size=6).digest(), "little")


class ForwardIndex:
    """The forward index in memory-mapped files, with totals over the existing documents.

    :ivar end: the first row that is not included yet.
    :ivar documents: existing documents that have terms; as in Lucene, one without any counts in no statistics.
    :ivar terms: how many terms they have.
    :ivar is_gapless: whether all rows exist and have terms: no document was ever deleted or replaced.
    """

    end: int
    documents: int
    terms: int
    is_gapless: bool

    def __init__(self, folder: Path, analyzer: Analyzer) -> None:
        self.folder = folder
        self._hashes = HashedTerms(analyzer)
        self.reset()

    def load(self, manifest: Manifest) -> None:
        """Map the files that a manifest describes.

        :raises StorageError: if they can't be read.
        :raises ValueError: if rows end beyond the postings, or the totals are invalid.
        """
        self.manifest = manifest
        with disk_errors(f"reading {self.folder}"):
            self._postings = self._mapped(_POSTINGS, np.dtype("<u8"))
            self._rows = self._mapped(_ROWS, _ROW)
        ends, totals = self._rows["end"], (manifest.extra.get("documents"), manifest.extra.get("terms"))
        if int(ends[-1]) > len(self._postings) or bool((ends[1:] < ends[:-1]).any()):
            raise ValueError(f"{_ROWS} points outside {_POSTINGS}")
        if not all(isinstance(total, int) and 0 <= total < _NEVER for total in totals):
            raise ValueError(f"its totals are {totals}")
        documents, terms = int(manifest.extra["documents"]), int(manifest.extra["terms"])
        # Read by every search.
        self.end, self.documents = len(self._rows), documents
        self.terms = terms
        self.is_gapless = self.end - 1 == documents

    def _mapped(self, name: str, kind: np.dtype[Any]) -> NDArray[Any]:
        size = self.manifest.files.get(name, (0, 0))[0]
        if not size:
            return np.zeros(1 if name == _ROWS else 0, kind)
        # A plain view of the mapping: indexing the memmap class itself is several times slower.
        return np.asarray(np.memmap(self.folder / name, kind, mode="r", shape=(size // kind.itemsize,)))

    def reset(self) -> None:
        """Drop everything; the files are truncated at the next :meth:`sync`."""
        self.load(Manifest(extra={"documents": 0, "terms": 0}))

    def problems(self, manifest: Manifest, *, contents: bool) -> list[str]:
        """Compare the files with a manifest; bytes beyond the recorded end were left by a crash and don't matter."""
        if found := foreign(self.folder):
            return found
        for name, (size, crc) in manifest.files.items():
            path = self.folder / name
            if not is_plain(path) or path.stat().st_size < size:
                found.append(f"{path} is missing or too short")
            elif contents and checksum_of(path, size) != crc:
                found.append(f"{path} is not what was written (checksum)")
        return found

    def sync(self, store: Store) -> None:
        """Add missing rows and drop deleted ones. Requires the writer lock.

        :raises StorageError: if the disk is full; the files stay unchanged up to the end that the manifest records.
        """
        old = self.manifest
        with store.database.reading() as connection, disk_errors(f"writing {self.folder}"):
            state = read_state(connection)
            gone = store.gone_since(connection, old.generation, old.last_row)
            gone = gone[gone < len(self._rows)]
            lost = self._rows["length"][gone]
            own_folder(self.folder)
            files, lengths = self._append(store.texts_after(connection, old.last_row), old, state.next_row)
        new = replace(
            old,
            generation=state.generation,
            last_row=state.next_row - 1,
            files=files,
            extra={
                "documents": int(old.extra["documents"] - np.count_nonzero(lost) + np.count_nonzero(lengths)),
                "terms": int(old.extra["terms"]) - int(lost.sum(dtype=np.int64)) + sum(lengths),
            },
        )
        new.write(self.folder)
        self.load(new)

    def _append(
        self, texts: Iterable[tuple[int, str]], old: Manifest, next_row: int
    ) -> tuple[dict[str, tuple[int, int]], list[int]]:
        lengths: list[int] = []
        with (
            _Appended(self.folder / _POSTINGS, *old.files.get(_POSTINGS, (0, 0))) as postings,
            _Appended(self.folder / _ROWS, *old.files.get(_ROWS, (0, 0))) as rows,
        ):
            end, expected = postings.size // 8, rows.size // _ROW.itemsize
            words, counts, records = array("Q"), array("Q"), list[tuple[int, int]]()

            def flush() -> None:
                times = np.minimum(np.frombuffer(counts, np.uint64), _MOST)
                postings.write((np.frombuffer(words, np.uint64) << 16 | times).astype("<u8").tobytes())
                rows.write(np.array(records, _ROW).tobytes())

            for row, text in texts:
                # Rows without a document (deleted before they were added here) get records of length 0.
                records.extend([(end, 0)] * (row - expected - len(records)))
                found = self._hashes.counted(text)
                words.extend(found)
                counts.extend(found.values())
                end += len(found)
                lengths.append(found.total())
                records.append((end, lengths[-1]))
                if len(records) >= _BATCH:
                    flush()
                    expected += len(records)
                    words, counts, records = array("Q"), array("Q"), []
            records.extend([(end, 0)] * (next_row - expected - len(records)))
            flush()
            return {_POSTINGS: postings.sync(), _ROWS: rows.sync()}, lengths

    def lengths(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return documents' lengths in terms, (n,)."""
        return self._rows["length"][rows].astype(np.int64)

    def counts(self, rows: NDArray[np.int64], terms: list[str]) -> NDArray[np.float64]:
        """Return how often each term occurs in each document: (terms, n)."""
        starts = self._rows["end"][rows - 1].astype(np.int64)
        sizes = self._rows["end"][rows].astype(np.int64) - starts
        ends = np.cumsum(sizes)
        words = self._postings[np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)]
        hashes = np.array([term_hash(term) for term in terms], np.uint64)
        counts = np.zeros((len(terms), len(rows)))
        # All terms in one comparison: calling numpy costs more than its work here. Of one row, as numpy then looks for
        # the few that are equal several times faster.
        found = np.flatnonzero(hashes[:, None] == words >> np.uint64(16))
        numbers, at = np.divmod(found, max(1, len(words)))
        counts[numbers, np.searchsorted(ends, at, side="right")] = words[at] & np.uint64(_MOST)
        return counts


class HashedTerms:
    """The hashes of words' terms. A word's term does not depend on the words around it, so each is analysed once."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._term_of = analyzer.term_of()
        self._known: dict[bytes | str, int] = {}

    def counted(self, text: str) -> Counter[int]:
        """Return how often each term of a text occurs, by its hash."""
        plain = self._analyzer.unstemmed(text)
        words: Sequence[bytes | str]
        words = plain.encode().translate(_WORDS).split() if plain.isascii() else self._analyzer.split(plain)
        found = Counter(map(self._known.get, words))
        if None in found:
            self._learn(words)
            found = Counter(map(self._known.get, words))
        return cast("Counter[int]", found)

    def _learn(self, words: Sequence[bytes | str]) -> None:
        if len(self._known) > _MOST_WORDS:
            self._known.clear()
        for word in words:
            if word not in self._known:
                self._known[word] = term_hash(self._term_of(word.decode() if isinstance(word, bytes) else word))


class _Appended:
    """A file that is truncated to its recorded end and then only grows; its checksum is updated along."""

    def __init__(self, path: Path, size: int, crc: int) -> None:
        self._path = path
        self.size = size
        self._crc = crc
        self._file: BinaryIO

    def __enter__(self) -> _Appended:
        # From size 0 a new file: truncating one that another process has mapped would crash that process.
        self._file = append_to(self._path, self.size)
        return self

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)
        self._crc = zlib.crc32(data, self._crc)

    def sync(self) -> tuple[int, int]:
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.size, self._crc

    def __exit__(self, *_: object) -> None:
        self._file.close()
