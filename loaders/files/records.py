"""The documents of a file of records: CSV, TSV, JSON, JSON lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import msgspec

from hybrid_search.loaders.files.finding import Found
from hybrid_search.loaders.files.page import LARGEST, Unreadable
from hybrid_search.loaders.first_only import FirstOnly
from hybrid_search.loaders.formats import json_objects, not_json
from hybrid_search.loaders.intake import Reject, count_records
from hybrid_search.loaders.json_containers import array_elements
from hybrid_search.loaders.kinds import is_json_array
from hybrid_search.loaders.lines import Line, lines_of
from hybrid_search.loaders.mapping import LEFT_OUT, Fields, LeftOut, has_text
from hybrid_search.loaders.opening import Opened, open_file
from hybrid_search.loaders.records import FieldError, parse_document
from hybrid_search.loaders.tables import csv_records
from hybrid_search.types import Document, id_fault

__all__ = ["documents_of"]

BY_PATH = "path+"
"""Before the name of the field of an id: ids begin with the file's path."""

_SHOWN = 1_000
_ADVICE = "; if tables count their rows alike, choose id=path+id, so that ids begin with the file's path"


def documents_of(
    found: Found,
    kind: str,
    fields: Fields,
    first: FirstOnly,
    counts: Counter[str],
    left_out: LeftOut,
    reject: Reject,
) -> Iterator[Document]:
    """Stream the documents of a file; records that can't be taken are rejected.

    A record without an id has the file's path and its line as id.

    :param left_out: gets the values that became no part of a document, which are counted too.
    :param kind: ``csv``, ``json`` or ``jsonl``.
    :param first: knows the ids of the files before.
    :raises DataError: if the file can't be read to its end.
    """
    by_path = fields.id.startswith(BY_PATH)
    if by_path:
        fields = replace(fields, id=fields.id.removeprefix(BY_PATH))
    with open_file(found.path) as opened:
        for line, record in _records(opened, found, kind, reject):
            if kind == "json" and fields == Fields() and not has_text(record):
                counts["not_read_data"] += 1  # settings of a program, for example
                continue
            try:
                taken = fields.applied(record, left_out, lenient=True)
                if not any(name in taken for name in ("id", "_id", "docid")):
                    taken["id"] = f"{found.name}#{line.number}"
                document = parse_document(taken, line)
                if by_path:
                    document = replace(document, id=f"{found.name}#{document.id}")
                    if fault := id_fault(document.id):
                        raise FieldError("id", fault)
            except FieldError as error:
                advice = _advice(error, record, fields)
                reject(line.rejected(fields.named(error.field), f"{error.reason}{advice}"))
                continue
            finally:
                if left_out.count:
                    counts[LEFT_OUT] = left_out.count
            content = f"{document.title}\0{document.text}\0{document.metadata}"
            if first.passes(line, document.id, content, "" if by_path else _ADVICE):
                yield replace(document, metadata={"path": found.name, **document.metadata})


def _advice(error: FieldError, record: dict[str, Any], fields: Fields) -> str:
    if error.field != "text" or fields.text:
        return ""
    return f"; the fields are {', '.join(record)[:200]}: choose with `text`, `title` and `id` what they are"


def _records(opened: Opened, found: Found, kind: str, reject: Reject) -> Iterator[tuple[Line, dict[str, Any]]]:
    if kind == "csv":
        yield from csv_records(opened, found.path, reject)
    elif is_json_array(opened.head):
        yield from json_objects(array_elements(opened, found.path, reject), reject)
    elif kind == "json":
        yield from _objects_of_json(opened.stream, found, reject)
    else:
        yield from json_objects(lines_of(opened, found.path, reject), reject)


def _objects_of_json(stream: IO[bytes], found: Found, reject: Reject) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Stream the objects of a file of JSON that is no array: one object, or JSON lines under another name."""
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Unreadable(f"larger than {LARGEST >> 20} MiB, and neither an array nor named .jsonl")
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        first = data.split(b"\n", 1)[0]
        try:
            msgspec.json.decode(first)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise Unreadable(not_json(error, data)) from error
        with open_file(found.path) as again:
            yield from json_objects(lines_of(again, found.path, reject), reject)
        return
    if isinstance(value, dict):
        count_records(reject, str(found.path), 1, to_the_end=True)
        yield Line(str(found.path), 1, 0, data[:_SHOWN].decode(errors="replace")), value
