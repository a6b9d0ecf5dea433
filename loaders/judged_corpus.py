"""A corpus with optional queries and qrels: the common form of BEIR folders and of a user's own files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_search.errors import DataError
from hybrid_search.loaders.cutting import Cutter
from hybrid_search.loaders.dataset import BaseDataset, order_splits
from hybrid_search.loaders.first_only import FirstOnly
from hybrid_search.loaders.intake import Reject, counted
from hybrid_search.loaders.mapping import LEFT_OUT, Fields, LeftOut
from hybrid_search.loaders.objects import read_objects
from hybrid_search.loaders.opening import is_stream
from hybrid_search.loaders.qrels import read_qrels
from hybrid_search.loaders.records import FieldError, parse_document, parse_query
from hybrid_search.types import Document, Judgement, Query, id_fault

__all__ = ["ALL", "QRELS", "CorpusFiles", "JudgedCorpus"]

ALL = "all"
"""Name of the split for queries without qrels."""

QRELS = ("qrels/*.tsv", "qrels/*.csv", "qrels/*.txt", "qrels/*.qrels")
"""Patterns of qrels files; ``*`` matches the split."""


@dataclass(frozen=True, slots=True)
class CorpusFiles:
    """Paths of the documents, the queries (None if there are none), and split -> qrels."""

    documents: Path
    queries: Path | None
    qrels: Mapping[str, Path]


class JudgedCorpus(BaseDataset):
    """Documents, queries, and judgements in one qrels file per split.

    A split's queries are those that occur in its qrels. A repeated id with other content is rejected; the first record
    is kept.

    :param fields: which fields of a record are the document's; None for BEIR's, without the others.
    :param cutter: cuts documents into passages; None to leave them whole.
    """

    def __init__(
        self,
        name: str,
        files: CorpusFiles,
        reject: Reject,
        *,
        fields: Fields | None = None,
        cutter: Cutter | None = None,
    ) -> None:
        super().__init__(name)
        self._files = files
        self._reject = counted(reject)
        self._fields = fields
        self._cutter = cutter
        self._is_used_up = False
        self.left_out = LeftOut()

    def documents(self) -> Iterator[Document]:
        """Stream the corpus, each document once, in the file's order.

        :raises DataError: if the file is empty, or is a stream that was read before.
        """
        self._use_up()
        return self._documents()

    def _use_up(self) -> None:
        path = self._files.documents
        if self._is_used_up:
            raise DataError(f"{path} can be read once only, and this needs a second time; write it to a file first")
        self._is_used_up = is_stream(path)

    def _documents(self) -> Iterator[Document]:
        counts = self._start_pass("documents")
        first = FirstOnly("documents", counts, self._reject)
        self.left_out = LeftOut()
        for line, record in read_objects(self._files.documents, self._reject):
            try:
                document = parse_document(self._taken(record, counts), line)
            except FieldError as error:
                name = self._fields.named(error.field) if self._fields else error.field
                self._reject(line.rejected(name, error.reason))
                continue
            content = f"{document.title}\0{document.text}\0{document.metadata}"
            if not first.passes(line, document.id, content):
                continue
            if self._cutter is None:
                yield document
                continue
            passages = list(self._cutter.passages(document))
            if fault := id_fault(passages[-1].id):
                self._reject(line.rejected("id", f"can't be a passage's: {fault}"))
                continue
            counts["passages"] += len(passages)
            yield from passages
        self._reject.check_not_empty(str(self._files.documents), "documents")

    def _taken(self, record: dict[str, Any], counts: Counter[str]) -> dict[str, Any]:
        """Return the part of a record that becomes a document."""
        if self._fields is None:
            return record
        try:
            return self._fields.applied(record, self.left_out)
        finally:
            if self.left_out.count:
                counts[LEFT_OUT] = self.left_out.count

    def splits(self) -> tuple[str, ...]:
        """Splits that have qrels, training first; the single split ``all`` if there are queries without qrels."""
        if self._files.queries is None:
            return ()
        return order_splits(self._files.qrels) or (ALL,)

    def queries(self, split: str) -> Iterator[Query]:
        """Stream the queries that occur in the split's qrels, in the file's order."""
        self._check_split(split)
        return self._queries(split)

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        """Stream the split's qrels."""
        self._check_split(split)
        self._check_judgement_set(judgement_set)
        return read_qrels(self._files.qrels[split], self._reject) if split in self._files.qrels else iter(())

    def _queries(self, split: str) -> Iterator[Query]:
        if self._files.queries is None:
            return
        kind = f"{split}_queries"
        first = FirstOnly(kind, self._start_pass(kind), self._reject)
        judged = {judgement.query_id for judgement in self.judgements(split)} if self._files.qrels else None
        for line, record in read_objects(self._files.queries, self._reject):
            try:
                query = parse_query(record)
            except FieldError as error:
                self._reject(line.rejected(error.field, error.reason))
                continue
            if (judged is None or query.id in judged) and first.passes(line, query.id, query.text):
                yield query
