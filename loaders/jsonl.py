"""``jsonl``: a user's own documents, optionally with queries and judgements."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_search.types import Document
from loaders.dataset import Dataset
from loaders.folder import Folder, refuse_config, require_path
from loaders.intake import Reject
from loaders.judged_corpus import ALL, QRELS, CorpusFiles, JudgedCorpus
from loaders.objects import KINDS
from loaders.records import parse_document, refuse_unknown, with_metadata
from loaders.tables import is_csv

__all__ = ["open_dataset"]

NAME = "jsonl"
TAKES = (
    'a file of JSON lines, {"id", "text", "title", "metadata"} (title and metadata may be left out), - for the same '
    "from standard input, or a folder with documents.jsonl and, if you like, queries.jsonl "
    '({"id", "text"}) and qrels.tsv, qrels.<split>.tsv or qrels/<split>.tsv (query, document, grade); in place of JSON '
    "lines a JSON array, CSV or parquet"
)


def open_dataset(path: Path | None, *, reject: Reject, config: str = "") -> Dataset:
    """Open a file or folder with documents as JSON lines, a JSON array, CSV or parquet.

    Metadata values are strings, numbers, booleans or lists of strings; null is dropped. A document with an unknown
    field is rejected rather than stored without it; additional CSV columns become metadata, all of them strings. A
    plain ``qrels.tsv`` makes the split ``all``. Standard input and pipes can be read only once.

    :param reject: called with every rejected record, while reading.
    :raises UsageError: without a path, or with a configuration.
    :raises DatasetNotFound: if the path is a folder without ``documents.jsonl``.
    """
    refuse_config(config, NAME)
    found = require_path(path, NAME, TAKES)
    files = _files(Folder(found, NAME, TAKES)) if found.is_dir() else CorpusFiles(found, None, {})
    return JudgedCorpus(NAME, files, reject, parse=_row if is_csv(files.documents) else _document)


def _files(folder: Folder) -> CorpusFiles:
    documents = folder.require(*(f"documents{kind}" for kind in KINDS))
    queries = folder.find(*(f"queries{kind}" for kind in KINDS))
    qrels = folder.by_split(*(name.replace("/", ".") for name in QRELS)) | folder.by_split(*QRELS)
    everything = folder.find(*(name.replace("/*", "") for name in QRELS))
    if everything is not None:
        qrels[ALL] = everything
    if qrels and queries is None:
        raise folder.lacks(["queries.jsonl, which the qrels need"])
    return CorpusFiles(documents, queries, qrels)


def _document(record: Mapping[str, Any]) -> Document:
    refuse_unknown(record)
    return parse_document(record)


def _row(record: Mapping[str, Any]) -> Document:
    """Parse a row of CSV; its additional columns become metadata."""
    return parse_document(with_metadata(record))
