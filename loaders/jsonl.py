"""``jsonl``: a user's own documents, optionally with queries and judgements."""

from __future__ import annotations

from pathlib import Path

from hybrid_search.loaders.cutting import cutter_of
from hybrid_search.loaders.dataset import Dataset
from hybrid_search.loaders.folder import Folder, require_path
from hybrid_search.loaders.intake import Reject
from hybrid_search.loaders.judged_corpus import ALL, QRELS, CorpusFiles, JudgedCorpus
from hybrid_search.loaders.mapping import Fields
from hybrid_search.loaders.objects import KINDS
from hybrid_search.passages import Pieces

__all__ = ["open_dataset"]

NAME = "jsonl"
TAKES = (
    'a file of JSON lines, {"id", "text", "title", "metadata"} (title and metadata may be left out), - for the same '
    "from standard input, or a folder with documents.jsonl and, if you like, queries.jsonl "
    '({"id", "text"}) and qrels.tsv, qrels.<split>.tsv or qrels/<split>.tsv (query, document, grade); in place of JSON '
    "lines a JSON array, CSV or parquet"
)


def open_dataset(
    path: Path | None,
    *,
    reject: Reject,
    config: str = "",
    fields: Fields | None = None,
    pieces: Pieces | None = None,
) -> Dataset:
    """Open a file or folder with documents as JSON lines, a JSON array, CSV or parquet.

    Metadata values are strings, numbers, booleans or lists of strings; null is dropped. Other fields of a record
    become metadata too, as far as metadata can hold them; CSV's are all strings. A plain ``qrels.tsv`` makes the split
    ``all``. Standard input and pipes can be read only once.

    :param reject: called with every rejected record, while reading.
    :param config: ``passages``, or the most words of one, to cut documents as the loader ``files`` does; they stay
        whole without it, as judgements and training are of whole documents.
    :param pieces: measure passages in the word pieces of these towers.
    :param fields: which fields of a record are its id, title, text and metadata.
    :raises UsageError: without a path, or with another configuration.
    :raises DatasetNotFound: if the path is a folder without ``documents.jsonl``.
    """
    found, cutter = require_path(path, NAME, TAKES), cutter_of(config, NAME, None, pieces)
    files = _files(Folder(found, NAME, TAKES)) if found.is_dir() else CorpusFiles(found, None, {})
    return JudgedCorpus(NAME, files, reject, fields=fields or Fields(), cutter=cutter)


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
