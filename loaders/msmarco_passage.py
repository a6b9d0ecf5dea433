"""``msmarco_passage``: the TSV files of the MS MARCO passage-ranking task."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path

from hybrid_search.errors import UsageError
from hybrid_search.loaders.collection import COLUMNS, CollectionIndex, by_id, by_text
from hybrid_search.loaders.dataset import BaseDataset, order_splits
from hybrid_search.loaders.first_only import FirstOnly
from hybrid_search.loaders.folder import Folder, refuse_config, require_path
from hybrid_search.loaders.formats import read_tsv
from hybrid_search.loaders.intake import Reject, counted
from hybrid_search.loaders.qrels import read_qrels
from hybrid_search.loaders.records import FieldError, check_id
from hybrid_search.loaders.seen import Seen
from hybrid_search.loaders.triples import Triple, gather, read_id_triples, read_text_triples
from hybrid_search.types import Document, Example, Judgement, Query, text_hash

__all__ = ["MsMarcoPassage", "open_dataset"]

NAME = "msmarco_passage"
TAKES = (
    "a folder with collection.tsv (pid, text) and, as there are, queries.<split>.tsv (qid, text), qrels.<split>.tsv or "
    ".txt, triples*.tsv (query, positive, negative), qidpidtriples*.tsv (qid, pid, pid), top1000.<split>.tsv"
)
TRAIN = "train"
"""The split of the triples."""


def open_dataset(path: Path | None, *, reject: Reject, config: str = "") -> MsMarcoPassage:
    """Open a folder of passage-ranking files. Splits are those of the query files, and ``train`` if there are triples.

    :param reject: called with every rejected record, while reading.
    :raises UsageError: without a path, or with a configuration.
    :raises DatasetNotFound: if there is no ``collection.tsv``.
    """
    refuse_config(config, NAME)
    return MsMarcoPassage(Folder(require_path(path, NAME, TAKES), NAME, TAKES), reject)


class MsMarcoPassage(BaseDataset):
    """The collection, the queries and qrels of each split, the training triples, the top-1000 files.

    Passages of text triples get the pid of the equal text in the collection. Other passages, and queries that are not
    in ``queries.train.tsv``, get the hash of their text as id. :meth:`documents` yields the collection only, so the
    documents of an :class:`Example`, which carries its texts, need not be among them.
    """

    def __init__(self, folder: Folder, reject: Reject) -> None:
        super().__init__(NAME)
        self._reject = counted(reject)
        self._collection = folder.require("collection.tsv")
        self._queries = folder.by_split("queries.*.tsv")
        self._qrels = folder.by_split("qrels.*.tsv", "qrels.*.txt", "qrels.*.csv")
        self._top1000 = folder.by_split("top1000.*.tsv")
        self._text_triples = tuple(folder.by_split("triples*.tsv").values())
        self._id_triples = tuple(folder.by_split("qidpidtriples*.tsv").values())
        if self._id_triples and TRAIN not in self._queries:
            raise folder.lacks(["queries.train.tsv, which the qidpidtriples need"])

    def documents(self) -> Iterator[Document]:
        """Stream the collection, each passage once, in the file's order."""
        first = FirstOnly("documents", self._start_pass("documents"), self._reject)
        for id, text in self._rows(self._collection, COLUMNS, first):
            yield Document(id, text)
        self._reject.check_not_empty(str(self._collection), "passages")

    def splits(self) -> tuple[str, ...]:
        """Splits with a query file, and ``train`` if there are triples."""
        triples = [TRAIN] if self._text_triples or self._id_triples else []
        return order_splits([*self._queries, *triples])

    def queries(self, split: str) -> Iterator[Query]:
        """Stream a split's queries: those of its file, then for ``train`` further ones that occur in triples."""
        self._check_split(split)
        return self._stream_queries(split)

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        """Stream a split's qrels; for ``train`` without qrels, each triple's positive with grade 1."""
        self._check_split(split)
        self._check_judgement_set(judgement_set)
        if split in self._qrels:
            return read_qrels(self._qrels[split], self._reject)
        return self._positives() if split == TRAIN else iter(())

    def examples(self, split: str) -> Iterator[Example]:
        """Stream the triples of ``train`` as examples: one for each query and positive, with all its negatives."""
        self._check_split(split)
        return self._stream_examples() if split == TRAIN else iter(())

    def candidates(self, split: str) -> Iterator[tuple[Query, Document]]:
        """Stream a split's top-1000 file: pairs of a query and a passage retrieved for it.

        :raises UsageError: if there is no such file.
        """
        if split not in self._top1000:
            known = ", ".join(self._top1000) or "none"
            raise UsageError(f"{NAME} has no top1000.{split}.tsv; candidates are there for: {known}")
        return self._stream_candidates(self._top1000[split])

    def _stream_queries(self, split: str) -> Iterator[Query]:
        kind = f"{split}_queries"
        first = FirstOnly(kind, self._start_pass(kind), self._reject)
        if split in self._queries:
            for id, text in self._rows(self._queries[split], ("qid", "text"), first):
                yield Query(id, text)
        if split == TRAIN:
            yield from self._triple_queries()

    def _triple_queries(self) -> Iterator[Query]:
        seen = Seen()
        for path in self._text_triples:
            for _, (text, _, _) in read_tsv(path, Triple._fields, self._reject):
                name = text_hash(text)
                if text.strip() and name not in self._known_queries and seen.add(name) == "new":
                    yield Query(name, text)

    def _stream_examples(self) -> Iterator[Example]:
        counts = self._start_pass("examples")
        for example in gather(self._triples()):
            counts["examples"] += 1
            counts["example_negatives"] += len(example.negatives)
            # The id of a document outside the collection is its text's hash, which no pid equals.
            outside = example.positive.id == text_hash(example.positive.text)
            counts["positives_outside_collection" if outside else "positives_in_collection"] += 1
            yield example

    def _positives(self) -> Iterator[Judgement]:
        seen = Seen()
        for triple in self._triples():
            if seen.add(f"{triple.query.id}\0{triple.positive.id}") == "new":
                yield Judgement(triple.query.id, triple.positive.id, 1)

    def _triples(self) -> Iterator[Triple]:
        texts = (
            read_text_triples(path, self._known_queries, self._passages_by_text, self._reject)
            for path in self._text_triples
        )
        ids = (
            read_id_triples(path, self._training_texts, self._passages_by_id, self._reject) for path in self._id_triples
        )
        return chain(chain.from_iterable(texts), chain.from_iterable(ids))

    def _stream_candidates(self, path: Path) -> Iterator[tuple[Query, Document]]:
        for line, (qid, pid, query, passage) in read_tsv(path, ("qid", "pid", "query", "passage"), self._reject):
            if query.strip() and passage.strip():
                yield Query(qid, query), Document(pid, passage)
            else:
                self._reject(line.rejected("passage" if query.strip() else "query", "blank"))

    def _rows(self, path: Path, columns: tuple[str, str], first: FirstOnly) -> Iterator[tuple[str, str]]:
        for line, (id, text) in read_tsv(path, columns, self._reject):
            try:
                check_id(id, columns[0])
            except FieldError as error:
                self._reject(line.rejected(error.field, error.reason))
                continue
            if not text.strip():
                self._reject(line.rejected(columns[1], "blank"))
            elif first.passes(line, id, text):
                yield id, text

    @cached_property
    def _training_texts(self) -> dict[str, str]:
        path = self._queries.get(TRAIN)
        rows = read_tsv(path, ("qid", "text"), self._reject) if path else iter(())
        return {qid: text for _, (qid, text) in rows}

    @cached_property
    def _known_queries(self) -> dict[str, str]:
        return {text_hash(text): qid for qid, text in self._training_texts.items()}

    @cached_property
    def _passages_by_text(self) -> CollectionIndex:
        return CollectionIndex(self._collection, by_text, self._reject)

    @cached_property
    def _passages_by_id(self) -> CollectionIndex:
        return CollectionIndex(self._collection, by_id, self._reject)
