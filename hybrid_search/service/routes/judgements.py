"""What people judge on the page: queries and qrels in the form that the loader ``jsonl`` reads, for ``refit``."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from hybrid_search.storage import atomic_write_bytes, check_outside_indexes, disk_errors, folder_lock
from hybrid_search.types import text_hash

__all__ = ["SPLIT", "Judgements"]

SPLIT = "dev"
_HEADER = "query-id\tcorpus-id\tscore"


class Judgements:
    """Judgements in a folder: ``queries.jsonl`` and ``qrels/dev.tsv``; of several about one hit the last one counts.

    Threads and processes may note at once.

    :param folder: made if it is not there.
    :raises UsageError: if it is an index's, or lies inside one.
    """

    def __init__(self, folder: Path) -> None:
        check_outside_indexes(folder / "queries.jsonl")
        self._folder = folder
        self._lock = threading.Lock()

    def note(self, query: str, document_id: str, grade: int) -> None:
        """Note how relevant a document is to a query.

        :raises StorageError: if it can't be written.
        """
        query_id = f"q-{text_hash(query)}"
        with self._lock, disk_errors(f"writing {self._folder}"):
            (self._folder / "qrels").mkdir(parents=True, exist_ok=True)
            with folder_lock(self._folder):
                self._note_query(query_id, query)
                self._note_grade(query_id, document_id, grade)

    def _note_query(self, id: str, text: str) -> None:
        file = self._folder / "queries.jsonl"
        lines = _lines(file)
        if not any(json.loads(line)["id"] == id for line in lines):
            _write(file, [*lines, json.dumps({"id": id, "text": text}, ensure_ascii=False)])

    def _note_grade(self, query_id: str, document_id: str, grade: int) -> None:
        file = self._folder / "qrels" / f"{SPLIT}.tsv"
        about = f"{query_id}\t{document_id}\t"
        others = [line for line in _lines(file) if line != _HEADER and not line.startswith(about)]
        _write(file, [_HEADER, *others, f"{about}{grade}"])


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []


def _write(file: Path, lines: list[str]) -> None:
    atomic_write_bytes(file, "".join(f"{line}\n" for line in lines).encode())
