"""``hybrid-search example``: make a small data set to try everything on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import click

from hybrid_search.cli.output import say
from hybrid_search.errors import UsageError

__all__ = ["command"]

_QUERIES = {"train": 120, "dev": 30, "test": 60}
_DOCUMENTS = 300


@click.command("example")
@click.argument("folder", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Write a small data set, in the form that `train jsonl`, `load jsonl` and `evaluate jsonl` take.

    It is of the documentation that ships with your Python: three hundred passages, and first sentences of docstrings as
    queries, in the splits train, dev and test. FOLDER must be new or empty.

    \b
    Example:
      hybrid-search example ./my-data
    """  # noqa: D301
    from hybrid_search.storage import check_outside_indexes, disk_errors

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there and not empty; name a new folder")
    check_outside_indexes(folder)
    with disk_errors(f"writing {folder}"):
        documents, queries = _write(folder)
    say(
        f"{folder}: {documents:,} documents, {queries:,} queries. Next: hybrid-search load jsonl --path {folder} "
        f"--to ./index"
    )


def _write(folder: Path) -> tuple[int, int]:
    """Write the data set; return the numbers of documents and of queries."""
    from hybrid_search.loaders.python_docs import PythonDocs

    data = PythonDocs()
    train, test = list(data.queries("train")), list(data.queries("test"))
    ends = {"train": _QUERIES["train"], "dev": _QUERIES["train"] + _QUERIES["dev"]}
    queries = {
        "train": train[: ends["train"]], "dev": train[ends["train"] : ends["dev"]], "test": test[: _QUERIES["test"]]
    }  # fmt: skip
    judgements = [one for split in data.splits() for one in data.judgements(split)]
    chosen = {one.id for of_split in queries.values() for one in of_split}
    wanted = {one.document_id for one in judgements if one.query_id in chosen}
    found = [one for one in data.documents() if one.id in wanted]
    others = (one for one in data.documents() if one.id not in wanted)
    found += islice(others, max(0, _DOCUMENTS - len(found)))
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    records = ({"id": one.id, "title": one.title, "text": one.text} for one in found)
    _write_lines(folder / "documents.jsonl", map(json.dumps, records))
    texts = ({"id": one.id, "text": one.text} for of_split in queries.values() for one in of_split)
    _write_lines(folder / "queries.jsonl", map(json.dumps, texts))
    for split, of_split in queries.items():
        ids = {one.id for one in of_split}
        lines = (f"{one.query_id}\t{one.document_id}\t{one.grade}" for one in judgements if one.query_id in ids)
        _write_lines(folder / "qrels" / f"{split}.tsv", ["query-id\tcorpus-id\tscore", *lines])
    return len(found), len(chosen)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
