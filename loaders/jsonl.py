"""``jsonl``: a user's own documents, with queries and judgements where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_search.types import Document
from loaders.dataset import Dataset
from loaders.folder import Folder, refuse_config, require_path
from loaders.formats import Reject
from loaders.judged_corpus import ALL, CorpusFiles, JudgedCorpus
from loaders.records import parse_document, refuse_unknown

__all__ = ["open_dataset"]

NAME = "jsonl"
TAKES = (
    'a file of JSON lines, {"id", "text", "title", "metadata"} (title and metadata may be left out), or a folder with '
    'documents.jsonl and, if you like, queries.jsonl ({"id", "text"}) and qrels.tsv, qrels.<split>.tsv or '
    "qrels/<split>.tsv (query, document, grade)"
)


def open_dataset(path: Path | None, *, reject: Reject, config: str = "") -> Dataset:
    """Open a file or a folder of JSON lines.

    Metadata values are strings, numbers, truth values or lists of strings; null is dropped. A document with a field
    that is not known is rejected rather than stored without it. A plain ``qrels.tsv`` makes the split ``all``.

    :param reject: called with every record that is refused, while reading.
    :raises UsageError: without a path, or with a configuration.
    :raises DatasetNotFound: if the path is a folder without ``documents.jsonl``.
    """
    refuse_config(config, NAME)
    found = require_path(path, NAME, TAKES)
    files = CorpusFiles(found, None, {}) if found.is_file() else _files(Folder(found, NAME, TAKES))
    return JudgedCorpus(NAME, files, reject, parse=_document)


def _files(folder: Folder) -> CorpusFiles:
    documents, queries = folder.require("documents.jsonl"), folder.find("queries.jsonl")
    qrels = folder.by_split("qrels.*.tsv") | folder.by_split("qrels/*.tsv")
    everything = folder.find("qrels.tsv")
    if everything is not None:
        qrels[ALL] = everything
    if qrels and queries is None:
        raise folder.lacks(["queries.jsonl, which the qrels need"])
    return CorpusFiles(documents, queries, qrels)


def _document(record: Mapping[str, Any]) -> Document:
    refuse_unknown(record)
    return parse_document(record)
