"""``ms_marco``: the question-answering form of MS MARCO, from the hub or from local files with the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hybrid_search.errors import DataError
from hybrid_search.loaders.dataset import BaseDataset, order_splits
from hybrid_search.loaders.first_only import FirstOnly
from hybrid_search.loaders.formats import Line
from hybrid_search.loaders.intake import Reject, counted
from hybrid_search.loaders.records import FieldError
from hybrid_search.loaders.result_page import ResultPage, parse_row
from hybrid_search.loaders.result_page_rows import Rows, hub_rows, local_rows
from hybrid_search.loaders.seen import Seen
from hybrid_search.types import Document, Example, Judgement, Query

__all__ = ["MsMarco", "open_dataset"]


def open_dataset(path: Path | None, *, reject: Reject, config: str = "") -> MsMarco:
    """Open the hub's data set (``path`` None), a local folder in its layout, or files with its rows.

    :param reject: called with every rejected row, while reading.
    :param config: ``v1.1`` or ``v2.1`` (the default, from the hub), or a configuration of the local folder.
    :raises UsageError: if there is no such configuration.
    :raises DatasetNotFound: if the path does not hold what is looked for.
    :raises DataError: if the hub can't be reached.
    :raises MissingExtra: if ``datasets`` is needed and not installed.
    """
    return MsMarco(hub_rows(config) if path is None else local_rows(path, config), reject)


class MsMarco(BaseDataset):
    """Result pages: queries, their passages, and which passages were selected.

    A passage that occurs in several rows is one document, whose id is the hash of its text. In the judgement set
    ``selected`` (the default) the selected passages are relevant, in ``page`` all passages of the result page. A row
    without a selected passage yields documents and a query, but no example and no judgement in ``selected``; a passage
    that was not judged (``is_selected`` -1, as in the test split of v2.1, or null) is neither positive nor negative.
    :meth:`report` counts such rows, blank passages and duplicates. Every pass reads the rows again.
    """

    def __init__(self, sources: Mapping[str, Rows], reject: Reject) -> None:
        super().__init__("ms_marco")
        self._sources = sources
        self._reject = counted(reject)

    def documents(self) -> Iterator[Document]:
        """Stream the passages of all splits, each text once."""
        counts, seen = self._start_pass("documents"), Seen()
        for split in self.splits():
            for _, page in self._pages(split):
                counts["blank_passages"] += page.blanks
                for document in page.passages:
                    is_new = seen.add(document.id) == "new"
                    counts["documents" if is_new else "duplicate_passages"] += 1
                    if is_new:
                        yield document
        if not any(source.records for source in self._reject.sources.values()):
            raise DataError(f"there are no rows in the files of {self.name}; check that they were written to their end")

    def splits(self) -> tuple[str, ...]:
        """Those of the official splits that exist: train, validation, test."""
        return order_splits(self._sources)

    def judgement_sets(self) -> tuple[str, ...]:
        """``selected``, the default, and ``page``."""
        return ("selected", "page")

    def queries(self, split: str) -> Iterator[Query]:
        """Stream a split's queries, including those without a selected passage."""
        self._check_split(split)
        return self._stream_queries(split)

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        """Stream a split's judgements, all of grade 1: an unselected passage was not judged, so it has no grade 0."""
        self._check_split(split)
        chosen = self._check_judgement_set(judgement_set)
        return (
            Judgement(page.query.id, document.id, 1)
            for _, page in self._pages(split)
            for document in (page.selected if chosen == "selected" else page.passages)
        )

    def examples(self, split: str) -> Iterator[Example]:
        """Stream one example for each selected passage; the row's unselected passages are its negatives."""
        self._check_split(split)
        return self._stream_examples(split)

    def _stream_queries(self, split: str) -> Iterator[Query]:
        kind = f"{split}_queries"
        counts = self._start_pass(kind)
        first = FirstOnly(kind, counts, self._reject)
        for line, page in self._pages(split):
            counts[f"{split}_rows_without_selected"] += not page.selected
            if page.unjudged and not page.selected:
                counts[f"{split}_rows_not_judged"] += 1
            if first.passes(line, page.query.id, page.query.text):
                yield page.query

    def _stream_examples(self, split: str) -> Iterator[Example]:
        counts = self._start_pass(f"{split} examples")
        for _, page in self._pages(split):
            for positive in page.selected:
                counts[f"{split}_examples"] += 1
                yield Example(page.query, positive, page.others, page.answers)

    def _pages(self, split: str) -> Iterator[tuple[Line, ResultPage]]:
        for line, row in self._sources[split](self._reject):
            try:
                yield line, parse_row(row)
            except FieldError as error:
                self._reject(line.rejected(error.field, error.reason))
