"""``beir``: a folder in the layout of the BEIR benchmark."""

from __future__ import annotations

from pathlib import Path

from loaders.dataset import Dataset
from loaders.folder import Folder, refuse_config, require_path
from loaders.formats import Reject
from loaders.judged_corpus import CorpusFiles, JudgedCorpus

__all__ = ["open_dataset"]

NAME = "beir"
TAKES = "a BEIR folder: corpus.jsonl (_id, title, text, metadata), queries.jsonl (_id, text) and qrels/<split>.tsv"


def open_dataset(path: Path | None, *, reject: Reject, config: str = "") -> Dataset:
    """Open a BEIR folder; its splits are the files in ``qrels/``.

    :param reject: called with every record that is refused, while reading.
    :raises UsageError: without a path, or with a configuration.
    :raises DatasetNotFound: if one of the three parts is missing.
    """
    refuse_config(config, NAME)
    folder = Folder(require_path(path, NAME, TAKES), NAME, TAKES)
    documents, queries = folder.find("corpus.jsonl"), folder.find("queries.jsonl")
    qrels = folder.by_split("qrels/*.tsv")
    if documents is None or queries is None or not qrels:
        raise folder.lacks(["corpus.jsonl", "queries.jsonl", "qrels/*.tsv"])
    return JudgedCorpus(NAME, CorpusFiles(documents, queries, qrels), reject)
