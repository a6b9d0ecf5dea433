"""``create``, ``add``, ``get``, ``list``, ``count``: what is in an index, and putting it there by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import click
import msgspec

from hybrid_search.cli.options import (
    MODEL,
    allow_rejected_option,
    dead_letter_option,
    format_option,
    language_option,
    model_option,
    opened_dataset,
    say_not_read,
)
from hybrid_search.cli.output import facts, print_json, print_jsonl, print_table, say
from hybrid_search.errors import DataError, DatasetNotFound, UsageError
from hybrid_search.passages import COUNT, NUMBER, OF, document_of
from hybrid_search.settings.index import FieldType
from hybrid_search.types import Document

if TYPE_CHECKING:
    from hybrid_search.loaders.allowance import Allowance

__all__ = ["add_command", "count_command", "create_command", "fields_option", "get_command", "list_command", "types_of"]

_LISTED = 20
_SHOWN = 160
_RECORDS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")


fields_option = click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME:TYPE",
    help="Declare a metadata field (keyword, long, double, boolean, date); others are declared by their first value, "
    "which makes none a date.",
)


def types_of(texts: Iterable[str]) -> dict[str, FieldType]:
    """Return name -> type of the fields that the option declares.

    :raises UsageError: if a text is not NAME:TYPE.
    """
    declared: dict[str, FieldType] = {}
    for text in texts:
        name, _, kind = text.rpartition(":")
        if not name or kind not in get_args(FieldType):
            raise UsageError(f"--field {text!r}: write NAME:TYPE with a type of {', '.join(get_args(FieldType))}")
        declared[name] = cast("FieldType", kind)
    return declared


@click.command("create")
@click.argument("location", metavar="LOCATION")
@click.option(
    "--model",
    type=MODEL,
    help="The towers whose vectors the index will have; it keeps a copy. Left out: BM25 alone.",
)
@language_option
@fields_option
@format_option
def create_command(location: str, model: Path | None, language: str | None, fields: tuple[str, ...], form: str) -> None:
    """Create an empty index, in a folder or on a server, to add documents to.

    \b
    Examples:
      hybrid-search create ./index --model ./model
      hybrid-search create ./index --model ./model --field published:date
    """  # noqa: D301
    from hybrid_search.loading.target import create

    with create(location, model, language, types_of(fields)) as retriever:
        settings = retriever.engine.settings
        facts({"location": location, "fingerprint": settings.fingerprint, "dimension": settings.dimension}, form)


@click.command("add")
@click.argument("location", metavar="LOCATION")
@click.argument("path", type=click.Path(path_type=Path), metavar="PATH|-")
@model_option
@dead_letter_option
@allow_rejected_option("0")
@format_option
def add_command(
    location: str, path: Path, model: Path | None, dead_letter: Path, allow_rejected: Allowance, form: str
) -> None:
    """Add the documents of a file or a folder to an index, or replace those of the same ids.

    PATH is a file of records (JSON lines, JSON, CSV, parquet), any other file or folder that `load files` reads, or -
    for JSON lines from stdin. Into an index of passages documents are cut as there.

    \b
    Examples:
      hybrid-search add ./index notes.jsonl
      hybrid-search add ./index guide.md
      echo '{"id": "note-1", "text": "Rotate the key every ninety days."}' | hybrid-search add ./index -
    """  # noqa: D301
    from hybrid_search.loaders.dataset import not_read
    from hybrid_search.opening import open_retriever

    if path != Path("-") and not path.exists():
        raise DatasetNotFound(
            f"{path}: there is no such file or folder, so nothing was added; give one, or - for stdin"
        )
    with open_retriever(location, model=model, writable=True) as retriever:
        of_passages = OF in retriever.engine.settings.fields
        is_records = path.suffix.lower() in _RECORDS
        loader = "jsonl" if path == Path("-") or (is_records and not of_passages) else "files"
        towers = model or retriever.engine.model_folder()
        config = "whole" if loader == "files" and not of_passages and retriever.count() else ""
        with opened_dataset(loader, path, config, dead_letter, allow_rejected, towers) as (dataset, reject):
            report = retriever.add(dataset.documents(), allow_rejected=True)
            for rejection in report.rejected:
                reject(rejection)
            counts = {"added": report.added, "rejected": reject.count, "documents": retriever.count()}
            facts(counts, form)
            say_not_read(dataset)
            if not (report.added or reject.count):
                why = "" if not_read(dataset.report()) else "; check the path"
                raise DataError(f"{path}: there was no document in it, and nothing was added{why}")


@click.command("get")
@click.argument("location", metavar="LOCATION")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@format_option
def get_command(location: str, ids: tuple[str, ...], form: str) -> None:
    """Print documents by their ids; - reads the ids from stdin, one a line. A document's id stands for its passages.

    \b
    Example:
      hybrid-search get ./index note-1 --format json
    """  # noqa: D301
    from hybrid_search.indexes import documents_of

    given = [line.rstrip("\r\n") for line in sys.stdin if line.strip()] if ids == ("-",) else list(ids)
    found = documents_of(location, given)
    _print((document for documents in found.values() for document in documents), form)
    if missing := [id for id, documents in found.items() if not documents]:
        raise UsageError(f"{location}: not there: {', '.join(missing[:10])}; `hybrid-search list` shows what is")


@click.command("list")
@click.argument("location", metavar="LOCATION")
@click.option("--limit", type=click.IntRange(min=1), help=f"How many.  [default: {_LISTED}, all with --format jsonl]")
@click.option("--offset", default=0, help="Skip so many.")
@format_option
def list_command(location: str, limit: int | None, offset: int, form: str) -> None:
    """List an index's documents, in the order in which they were first added; of passages, the first of each document.

    With --format jsonl whole documents are printed, passages all of them, in the form that `add` and `load jsonl` take.

    \b
    Example:
      hybrid-search list ./index --format jsonl > documents.jsonl
    """  # noqa: D301
    from contextlib import closing

    from hybrid_search.opening import open_engine

    if offset < 0:
        raise UsageError(f"--offset is {offset}; it must be 0 or more")
    with closing(open_engine(location)) as engine:
        documents: Iterator[Document] = iter(engine.documents())
        if form != "jsonl":
            documents = (one for one in documents if one.metadata.get(NUMBER, 1) == 1)
        end = None if form == "jsonl" and limit is None else offset + (limit or _LISTED)
        _print(islice(documents, offset, end), form, as_list=True)


@click.command("count")
@click.argument("location", metavar="LOCATION")
@format_option
def count_command(location: str, form: str) -> None:
    """Count an index's documents, and the passages of one of passages.

    \b
    Example:
      hybrid-search count ./index
    """  # noqa: D301
    from hybrid_search.indexes import count_documents

    facts(count_documents(location), form)


def _print(documents: Iterable[Document], form: str, *, as_list: bool = False) -> None:
    if form == "jsonl":
        for document in documents:
            print_jsonl([_plain(document)])
    elif form == "json":
        print_json([_plain(document) for document in documents])
    else:
        columns = ["id", "title", *(["passages"] if as_list else []), "text"]
        rows = [
            [
                document_of(one.id) if as_list else one.id,
                one.title,
                *([str(one.metadata.get(COUNT, ""))] if as_list else []),
                _line(one.text, _SHOWN if as_list else None),
            ]
            for one in documents
        ]
        if rows or as_list:  # what get does not find is told as an error
            print_table(columns, rows, right=("passages",))
        if not rows and as_list:
            say("There is no document.")


def _plain(document: Document) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(document)
    del made["origin"]
    return made


def _line(text: str, longest: int | None) -> str:
    if longest is None:
        return text
    line = " ".join(text[: 2 * longest].split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"
