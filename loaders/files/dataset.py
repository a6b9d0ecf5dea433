"""The data set of a folder of files."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from hybrid_search.errors import DataError, MissingExtra
from hybrid_search.loaders.cutting import Cutter, cutter_of
from hybrid_search.loaders.dataset import BaseDataset, not_read
from hybrid_search.loaders.files.finding import Found, find, read
from hybrid_search.loaders.files.page import Page, Unreadable
from hybrid_search.loaders.files.readers import Binary, is_records, kind_of, page_of, unpacked_file
from hybrid_search.loaders.files.records import documents_of
from hybrid_search.loaders.first_only import FirstOnly
from hybrid_search.loaders.folder import require_path
from hybrid_search.loaders.intake import Reject, count_records, counted
from hybrid_search.loaders.mapping import Fields, LeftOut
from hybrid_search.passages import Pieces
from hybrid_search.types import (
    Document,
    Judgement,
    MetadataValue,
    Query,
    Rejection,
    Section,
    SectionedDocument,
    id_fault,
)

__all__ = ["Files", "open_dataset"]

NAME = "files"
TAKES = (
    "a folder, or one file: text, Markdown, reStructuredText, HTML, PDF, DOCX, CSV, TSV, JSON or JSON lines, also "
    "packed (.gz, .bz2, .xz, .zst)"
)


def open_dataset(
    path: Path | None,
    *,
    reject: Reject,
    config: str = "",
    fields: Fields | None = None,
    pieces: Pieces | None = None,
) -> Files:
    """Open a folder of files, or one file. Each is a document; a table or a JSON file has many.

    :param config: most words of a passage, into which documents are cut; ``whole`` to leave them whole.
    :param pieces: measure in the word pieces of these towers; by default a passage has as many as they read.
    :param reject: called with every file or record that can't be read.
    :param fields: which fields of a record are its id, title, text and metadata.
    :raises UsageError: without a path, or with another configuration.
    :raises DatasetNotFound: if there is nothing at the path.
    """
    return Files(require_path(path, NAME, TAKES), reject, fields or Fields(), cutter_of(config, NAME, Cutter(), pieces))


class Files(BaseDataset):
    """Passages of documents made of files; the documents' ids are the paths in the folder. There are no queries.

    A passage's id is its document's with ``#p1``, ``#p2`` and so on; see :mod:`hybrid_search.passages`.

    A file's metadata are what it says itself (a front matter, an author, a date, a language), its ``path``, ``folder``
    and ``kind``, and ``modified``, the day of its last change.

    :ivar not_read: why -> the names of files that were not read in the last pass, as they are binary or empty.
    :ivar left_out: the values of records that became no part of a document in the last pass.
    """

    def __init__(self, path: Path, reject: Reject, fields: Fields, cutter: Cutter | None) -> None:
        super().__init__(NAME)
        self._path = path
        self._reject = counted(reject)
        self._fields = fields
        self._cutter = cutter
        self.not_read: dict[str, list[str]] = {}
        self.left_out = LeftOut()

    def documents(self) -> Iterator[Document]:
        """Stream the documents, in the order of the paths.

        :raises DataError: if the folder can't be read, or there is nothing to read in it.
        :raises MissingExtra: if the reader of a kind of file is not installed.
        """
        counts = self._start_pass("documents")
        first = FirstOnly("documents", counts, self._reject)
        passed_over: Counter[str] = Counter()
        self.not_read.clear()
        self.left_out = LeftOut()
        files, ended = 0, False
        try:
            for files, found in enumerate(find(self._path, passed_over), 1):
                for document in self._read(found, files, counts, first):
                    yield from self._passages(document, files, counts)
            ended = True
        except OSError as error:
            raise DataError(f"{self._path}: can't be read: {error.strerror or error}") from error
        finally:
            counts["files"] = files
            counts.update({f"not_read_{what}": number for what, number in passed_over.items()})
            count_records(self._reject, str(self._path), files, to_the_end=ended)
        if not files:
            raise DataError(f"{self._path}: there is no file to read; {not_read(counts) or 'check the path'}")

    def splits(self) -> tuple[str, ...]:
        """There are none."""
        return ()

    def queries(self, split: str) -> Iterator[Query]:
        """There are none.

        :raises UsageError: always, as there is no such split.
        """
        self._check_split(split)
        return iter(())

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        """There are none.

        :raises UsageError: always, as there is no such split.
        """
        self._check_split(split)
        return iter(())

    def _passages(self, document: Document, number: int, counts: Counter[str]) -> Iterator[Document]:
        if self._cutter is None:
            yield document
            return
        passages = list(self._cutter.passages(document))
        if fault := id_fault(passages[-1].id):
            counts["documents"] -= 1
            source, line = str(self._path), number
            if document.origin and not isinstance(document, SectionedDocument):  # a record of a file
                source, line = document.origin
            self._reject(Rejection(source, line, "id", f"can't be a passage's: {fault}", document.id))
            return
        counts["passages"] += len(passages)
        yield from passages

    def _read(self, found: Found, number: int, counts: Counter[str], first: FirstOnly) -> Iterator[Document]:
        """Yield the documents of one file; one that can't be read is rejected."""
        kind = kind_of(found.name)
        try:
            if is_records(kind):
                yield from documents_of(found, kind, self._fields, first, counts, self.left_out, self._reject)
                return
            if fault := id_fault(found.name):
                raise Unreadable(f"its path can't be an id: {fault}")
            data = unpacked_file(read(found.path, is_given=found.path == self._path), found.name)
            page, kind = page_of(data, kind)
            if any(section.text.strip() for section in page.sections) or page.title:
                counts["documents"] += 1
                yield _document(found, kind, page)
            else:
                counts["not_read_empty"] += 1
                self.not_read.setdefault("empty", []).append(found.name)
        except Binary:
            counts["not_read_binary"] += 1
            self.not_read.setdefault("binary", []).append(found.name)
        except MissingExtra:
            raise
        except (Unreadable, DataError, OSError) as error:
            reason = str(error.strerror or error) if isinstance(error, OSError) else str(error)
            self._reject(Rejection(str(self._path), number, "", reason[:500], found.name))


def _document(found: Found, kind: str, page: Page) -> SectionedDocument:
    path = PurePosixPath(found.name)
    metadata: dict[str, MetadataValue] = {**page.metadata, "path": found.name, "kind": kind}
    with contextlib.suppress(ValueError, OverflowError, OSError):  # a file system takes times that no calendar has
        changed = datetime.fromtimestamp(os.stat(found.path).st_mtime, UTC)
        metadata["modified"] = changed.date().isoformat()
    if path.parent.name:
        metadata["folder"] = str(path.parent)
    sections = tuple(page.sections)
    title, origin = page.title or path.name, (str(found.path), 1)
    return SectionedDocument(found.name, _whole(sections), title, metadata, sections, origin=origin)


def _whole(sections: tuple[Section, ...]) -> str:
    """Return the text of all sections, each after those of its headings that are new."""
    parts: list[str] = []
    before: tuple[str, ...] = ()
    for section in sections:
        pairs = enumerate(zip(section.headings, before, strict=False))
        shared = next((n for n, (one, other) in pairs if one != other), min(len(section.headings), len(before)))
        parts += [*section.headings[shared:], section.text]
        before = section.headings
    return "\n\n".join(parts)
