"""Checks of documents that all engines share.

A metadata field's type is that of its first value, unless it was declared before; only so it can be a date.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np

from hybrid_search.errors import IndexExists, UsageError, shown
from hybrid_search.filters.dates import canonical
from hybrid_search.protocols import Vectors
from hybrid_search.settings.index import FieldType
from hybrid_search.types import Document, MetadataValue, Rejection, can_be_held, id_fault

__all__ = ["Limits", "Sifted", "as_stored", "check_declared", "ids_of", "refusal", "sift"]


LONGEST_KEYWORD = 32_766
"""Maximum size in bytes (Lucene's limit)."""


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How an engine's checks differ from the common ones.

    :ivar room: number of further metadata fields that can be declared; None for no limit.
    :ivar room_is: the name of that limit, for messages.
    :ivar refused: metadata fields that can't be declared -> reason.
    :ivar as_held: accept what an index written by others may contain: several numbers in a declared field, and
        documents without any text.
    """

    room: int | None = None
    room_is: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    as_held: bool = False


@dataclass(frozen=True, slots=True)
class Sifted:
    """The result of checking a batch of documents.

    :ivar positions: of the documents to store; if an id occurs twice, of the last one.
    :ivar documents: these documents, with their dates in the form in which an index stores them.
    :ivar fields: the declared fields, including those that these documents declare.
    """

    positions: list[int]
    documents: list[Document]
    fields: dict[str, FieldType]
    rejections: list[Rejection]


def sift(
    documents: Sequence[Document], vectors: Vectors | None, declared: Mapping[str, FieldType], limits: Limits = Limits()
) -> Sifted:
    """Separate documents that can be stored from those that are rejected.

    :param vectors: (n, dimension) float32, or None; a document with a row that is not finite is rejected.
    """
    finite = [True] * len(documents)
    if vectors is not None:
        finite = [bool(row.all()) for row in np.isfinite(vectors)]
    fields = dict(declared)
    dates = _dates_of(declared)
    accepted: dict[str, tuple[int, Document]] = {}
    rejections: list[Rejection] = []
    for position, document in enumerate(documents):
        try:
            new_fields = _new_fields(document, fields, as_held=limits.as_held)
            _check_room(new_fields, len(fields) - len(declared), limits)
            dated = _dated(document, dates)
            if not finite[position]:
                raise _Refused("vector", "the vector has a number that is not finite")
        except _Refused as refused:
            rejections.append(refusal(document, refused.field, refused.reason))
            continue
        fields.update(new_fields)
        accepted.pop(document.id, None)
        accepted[document.id] = position, dated
    positions, stored = [position for position, _ in accepted.values()], [one for _, one in accepted.values()]
    return Sifted(positions, stored, fields, rejections)


def as_stored(document: Document, fields: Mapping[str, FieldType]) -> Document:
    """Return a document as an index with these fields gives it back; unchanged if no index takes it."""
    try:
        return _dated(document, _dates_of(fields)) if isinstance(document.metadata, Mapping) else document
    except _Refused:
        return document


def _dates_of(fields: Mapping[str, FieldType]) -> list[str]:
    return [name for name, kind in fields.items() if kind == "date"]


def _dated(document: Document, names: Sequence[str]) -> Document:
    """Return a document with the dates in these fields in the form in which an index stores them."""
    dates: dict[str, MetadataValue] = {}
    for name in names:
        value = document.metadata.get(name)
        if isinstance(value, tuple):
            dates[name] = tuple(_date(name, one) for one in value)
        elif name in document.metadata:
            dates[name] = _date(name, value)
    return replace(document, metadata={**document.metadata, **dates}) if dates else document


def _date(name: str, value: object) -> str:
    try:
        return canonical(value)
    except ValueError as error:
        raise _Refused(name, f"{name} {error}") from None


def refusal(document: Document, field: str, reason: str) -> Rejection:
    """Return the rejection of a document, which contains the whole document and says where it was read."""
    record = {"id": document.id, "text": document.text, "title": document.title, "metadata": document.metadata}
    try:
        text = json.dumps(record, default=repr)
    except (TypeError, ValueError, RecursionError):  # a name that is not a string, a mapping that contains itself
        text = json.dumps(
            {name: value if isinstance(value, str) else _written(value) for name, value in record.items()}
        )
    source, line = document.origin or ("index", 0)
    return Rejection(source=source, line=line, field=field, reason=reason, record=text)


def _written(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of too many digits
        return shown(value)


def ids_of(ids: Sequence[str]) -> list[str]:
    """Check that these are valid ids; an invalid one is an error, not an unknown document.

    Blanks and control characters are accepted: new documents can't have them, but older indexes may contain them.

    :raises UsageError: names the invalid id.
    """
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        what = "one text" if isinstance(ids, str) else shown(ids)
        raise UsageError(f"ids is {what}; give a list of ids")
    checked = list(ids)
    for id in checked:
        if not isinstance(id, str):
            raise UsageError(f"ids holds {shown(id)}; an id is text")
        if not can_be_held(id):
            raise UsageError(f"ids holds {shown(id)}, which no document can have: {id_fault(id)}")
    return checked


def check_declared(known: Mapping[str, FieldType], asked: Mapping[str, FieldType], where: object) -> None:
    """Check that no metadata field is asked for with another type than the index has.

    :raises IndexExists: names the first one.
    """
    for name, kind in asked.items():
        if known.get(name, kind) != kind:
            raise IndexExists(
                f"{where}: the metadata field {name} is {known[name]} in the index, asked for {kind}; a field keeps "
                f"its type: leave it out, or build the index anew with recreate=True"
            )


def _check_room(new: Mapping[str, FieldType], declared: int, limits: Limits) -> None:
    """Check that a document's new fields can be declared, together with ``declared`` other new ones."""
    for name in new:
        if name in limits.refused:
            raise _Refused(name, limits.refused[name])
    if new and limits.room is not None and len(new) > limits.room - declared:
        raise _Refused(
            "metadata",
            f"it would declare {len(new):,} more metadata fields, and the index takes {limits.room - declared:,} more "
            f"({limits.room_is}); use fewer names, or raise that limit",
        )


def _new_fields(
    document: Document, declared: Mapping[str, FieldType], *, as_held: bool = False
) -> dict[str, FieldType]:
    """Check a document; return the metadata fields that it would declare."""
    _check_text("id", document.id)
    _check_text("title", document.title)
    _check_text("text", document.text)
    fault = id_fault(document.id)
    if fault and not (as_held and can_be_held(document.id)):
        raise _Refused("id", f"the id {shown(document.id)} can't be taken: {fault}")
    if not (as_held or document.searchable_text.strip()):
        raise _Refused("text", "text and title are empty")
    new: dict[str, FieldType] = {}
    if not isinstance(document.metadata, Mapping):
        raise _Refused("metadata", f"metadata is {shown(document.metadata)}; it must be a mapping of names to values")
    for name, value in document.metadata.items():
        if not name:
            raise _Refused("metadata", "a metadata field has no name")
        _check_text("metadata", name)
        expected = declared.get(name)
        if expected == "date":
            continue  # see _dated
        kind = _kind_of_several(name, value) if as_held and expected not in (None, "keyword") else _kind(name, value)
        if expected is None:
            new[name] = kind
        elif kind != expected and not (kind == "long" and expected == "double") and not _is_whole(value, expected):
            raise _Refused(name, _mismatch(name, value, kind, expected))
    return new


def _kind_of_several(name: str, value: Any) -> FieldType:
    """Return the type of a value, which may be several numbers or booleans."""
    if not (isinstance(value, tuple) and value):
        return _kind(name, value)
    kinds = {_kind(name, one) for one in value}
    return "double" if kinds == {"long", "double"} else kinds.pop() if len(kinds) == 1 else "keyword"


def _is_whole(value: object, expected: FieldType) -> bool:
    """Return whether a float is an integer that fits into the declared type ``long``."""
    return expected == "long" and isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**63


def _mismatch(name: str, value: object, kind: FieldType, expected: FieldType) -> str:
    message = f"{name} is {shown(value)}, which is {kind}; the index has it as {expected}"
    if kind == "double" and expected == "long":
        message += (
            f", as it was declared or as its first value was; for both declare it when the index is made: --field "
            f"{name}:double (LoadOptions or IndexSettings: fields={{{name!r}: 'double'}})"
        )
    elif {kind, expected} != {"long", "double"}:
        message += (
            f". A field has one type, that of its first value; `load --field {name}:keyword` (or the type that fits) "
            f"into a new index reads every value as that type"
        )
    return message


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _Refused(name, f"{name} is {shown(value)}; it must be text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _Refused(name, f"{name} is no valid Unicode: a lone surrogate at character {error.start + 1}") from None


def _kind(name: str, value: Any) -> FieldType:
    match value:
        case bool():
            return "boolean"
        case int():
            if not -(2**63) <= value < 2**63:
                raise _Refused(name, f"{name} is {shown(value)}; a whole number must fit in 64 bits")
            return "long"
        case float():
            if not math.isfinite(value):
                raise _Refused(name, f"{name} is {value}; a number must be finite")
            return "double"
        case str() | tuple():
            for word in (value,) if isinstance(value, str) else value:
                _check_text(name, word)
                if len(word.encode()) > LONGEST_KEYWORD:
                    raise _Refused(name, f"a value of {name} has more than {LONGEST_KEYWORD} bytes")
            return "keyword"
        case date():
            raise _Refused(
                name,
                f"{name} is {shown(value.isoformat())}, a date, and the field is not declared as one; declare it when "
                f"the index is made (fields={{{name!r}: 'date'}}), or give a text",
            )
    raise _Refused(name, f"{name} is {shown(value)}; it must be text, a number, true or false, or several texts")
