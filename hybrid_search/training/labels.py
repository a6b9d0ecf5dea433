"""Writes labels beside a user's documents, in the form that the loader ``jsonl`` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from hybrid_search.errors import DataError, UsageError
from hybrid_search.storage import atomic_write_bytes, check_outside_indexes, disk_errors, folder_lock, make_folder
from hybrid_search.types import Judgement, Query, normalise_text

__all__ = ["write_labels"]

_QUERIES = "queries.jsonl"


def write_labels(folder: Path, split: str, queries: Sequence[Query], judgements: Iterable[Judgement]) -> Path:
    """Write ``qrels/SPLIT.tsv``, and add to ``queries.jsonl`` the queries whose text is not in it yet.

    Queries that are there keep their ids, and judgements of these texts take them over. A file of that split is
    replaced. Other files are left as they are.

    :return: the file with the judgements.
    :raises UsageError: if the folder is an index's, has queries in another form, or the split's name can't be a file's.
    :raises DataError: if ``queries.jsonl`` can't be read.
    :raises StorageError: if it can't be written.
    """
    if not split or split != Path(split).name or split.startswith("."):
        raise UsageError(f"the split is {split!r}; it must be a name that a file can have")
    check_outside_indexes(folder / _QUERIES)
    file = folder / "qrels" / f"{split}.tsv"
    with disk_errors(f"writing {folder}"):
        make_folder(folder / "qrels")
        if others := [path.name for path in folder.glob("queries.*") if path.name != _QUERIES]:
            raise UsageError(f"{folder} has its queries in {others[0]}; give another folder, or make them {_QUERIES}")
        with folder_lock(folder):
            lines, ids = _present(folder / _QUERIES)
            taken = {}
            for query in queries:
                key = normalise_text(query.text)
                if key not in ids:
                    ids[key] = query.id
                    lines.append(json.dumps({"id": query.id, "text": query.text}, ensure_ascii=False))
                taken[query.id] = ids[key]
            rows = [f"{taken[one.query_id]}\t{one.document_id}\t{one.grade}" for one in judgements]
            atomic_write_bytes(folder / _QUERIES, "".join(f"{line}\n" for line in lines).encode())
            atomic_write_bytes(file, "".join(f"{row}\n" for row in ["query-id\tcorpus-id\tscore", *rows]).encode())
    return file


def _present(file: Path) -> tuple[list[str], dict[str, str]]:
    """Return the lines of a file of queries, and normalised text -> id."""
    if not file.exists():
        return [], {}
    lines, ids = list[str](), dict[str, str]()
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            lines.append(line.decode())
            record = msgspec.json.decode(line)
            ids.setdefault(normalise_text(record["text"]), str(record["id"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{file}, line {number}: no query ({error}); labels are added to it, so mend it, or give another folder"
            ) from error
    return lines, ids
