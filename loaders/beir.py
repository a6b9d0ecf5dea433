"""``beir``: a folder in the layout of the BEIR benchmark."""

from __future__ import annotations

from pathlib import Path

from hybrid_search.loaders.dataset import Dataset
from hybrid_search.loaders.folder import Folder, refuse_config, require_path
from hybrid_search.loaders.intake import Reject
from hybrid_search.loaders.judged_corpus import QRELS, CorpusFiles, JudgedCorpus
from hybrid_search.loaders.objects import KINDS

__all__ = ["open_dataset"]

NAME = "beir"
TAKES = "a BEIR folder: corpus.jsonl (_id, title, text, metadata), queries.jsonl (_id, text) and qrels/<split>.tsv"


def open_dataset(path: Path | None, *, reject: Reject, config: str = "") -> Dataset:
    """Open a BEIR folder; its splits are the files in ``qrels/``.

    :param reject: called with every rejected record, while reading.
    :raises UsageError: without a path, or with a configuration.
    :raises DatasetNotFound: if one of the three parts is missing.
    """
    refuse_config(config, NAME)
    folder = Folder(require_path(path, NAME, TAKES), NAME, TAKES)
    documents = folder.find(*(f"corpus{kind}" for kind in KINDS))
    queries = folder.find(*(f"queries{kind}" for kind in KINDS))
    qrels = folder.by_split(*QRELS)
    if documents is None or queries is None or not qrels:
        raise folder.lacks(["corpus.jsonl", "queries.jsonl", "qrels/*.tsv"])
    return JudgedCorpus(NAME, CorpusFiles(documents, queries, qrels), reject)
