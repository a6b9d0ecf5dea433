"""What the child does that is to be killed: a script, through the product's public surface."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import hybrid_search
from campaign.kills.scripts import COMMON, Operation, document
from hybrid_search.loading.load import LoadOptions
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.types import Document, Example, Query

__all__ = ["Acknowledged", "Made", "carry_out", "one_done"]


class Acknowledged:
    """How many operations have returned, in memory that the child shares with its watcher: told by no system call."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def count(self) -> int:
        """How many, up to now."""
        return int(struct.unpack_from("=q", self._memory)[0])

    def add(self) -> None:
        """One more."""
        struct.pack_into("=q", self._memory, 0, self.count + 1)


class Made:
    """A data set of given documents."""

    name = "made"

    def __init__(self, puts: Mapping[str, int]) -> None:
        self._puts = puts

    def documents(self) -> Iterator[Document]:
        return iter([document(id, version) for id, version in self._puts.items()])

    def splits(self) -> Sequence[str]:
        return []

    def queries(self, split: str) -> Iterator[Query]:
        return iter([])

    def examples(self, split: str) -> Iterator[Example]:
        return iter([])

    def judgements(self, split: str) -> Iterator[object]:
        return iter([])

    def report(self) -> Mapping[str, int]:
        return {}


def carry_out(script: Sequence[Operation], index: Path, model: Path, acknowledged: Acknowledged) -> None:
    """Do one operation after the other, and count each that has returned."""
    retriever: Retriever | None = None
    for operation in script:
        retriever = one_done(operation, index, model, retriever)
        acknowledged.add()


def one_done(operation: Operation, index: Path, model: Path, retriever: Retriever | None) -> Retriever | None:
    """Do one operation; returns the retriever that is open to write afterwards."""
    if operation.verb in ("load", "recreate"):
        options = LoadOptions(recreate=operation.verb == "recreate", threads=1)
        hybrid_search.load(Made(operation.puts), index, model=model, options=options)
        return None
    if operation.verb == "open":
        return hybrid_search.open(index, writable=True)
    if operation.verb == "read":
        with hybrid_search.open(index) as reader:
            reader.search(COMMON, 3)
        return retriever
    assert retriever is not None
    return _changed(operation, model, retriever)


def _changed(operation: Operation, model: Path, retriever: Retriever) -> Retriever | None:
    documents = [document(id, version) for id, version in operation.puts.items()]
    match operation.verb:
        case "add":
            report = retriever.add(documents, allow_rejected=True)
            assert report.added == len(documents), report
        case "stage":
            vectors = retriever.encode_documents([one.searchable_text for one in documents])
            assert retriever.engine.add(documents, vectors) == []
        case "delete":
            retriever.delete(operation.gone)
        case "commit":
            retriever.engine.commit()
        case "model":
            retriever.engine.store_model([model / name for name in _serving_files()])
        case "close":
            retriever.close()
            return None
    return retriever


def _serving_files() -> Sequence[str]:
    from hybrid_search.towers.model_card import SERVING_FILES

    return SERVING_FILES
