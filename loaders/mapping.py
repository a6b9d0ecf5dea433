"""Which fields of a record become a document's id, title, text and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hybrid_search.loaders.records import FieldError, one_of

__all__ = ["LEFT_OUT", "Fields", "LeftOut", "has_text"]

LEFT_OUT = "fields_left_out"
"""The count of values that became no part of a document."""

_NAMED = 10

_IDS = ("id", "_id", "docid")
_TITLES = ("title", "name", "headline", "subject")
_LONG = range(-(2**63), 2**63)
_TEXTS = ("text", "contents", "content", "body", "description", "summary", "abstract")


@dataclass(slots=True)
class LeftOut:
    """The values that became no part of a document.

    :ivar count: how many.
    :ivar unfit: the names of the first fields whose values metadata can't hold, in the order in which they were met.
    """

    count: int = 0
    unfit: dict[str, None] = field(default_factory=dict)

    def note_unfit(self, name: str) -> None:
        """Count a value that metadata can't hold."""
        self.count += 1
        if len(self.unfit) < _NAMED:
            self.unfit.setdefault(name)


@dataclass(frozen=True, slots=True)
class Fields:
    """A choice of fields, by their names in the records.

    :ivar id: empty for ``id``, ``_id`` or ``docid``; of the loader ``files`` ``path+FIELD`` for ids that begin with the
        file's path.
    :ivar title: empty for ``title``.
    :ivar text: joined by blank lines; empty for ``text`` or ``contents``.
    :ivar metadata: None for all other fields, as far as metadata can hold their values.
    """

    id: str = ""
    title: str = ""
    text: tuple[str, ...] = ()
    metadata: tuple[str, ...] | None = None

    def applied(self, record: Mapping[str, Any], left_out: LeftOut, *, lenient: bool = False) -> dict[str, Any]:
        """Return a record of an id, a text, a title and metadata; other values are noted in ``left_out``.

        Fields that were not chosen by name keep their names and values, for
        :func:`~hybrid_search.loaders.records.parse_document` to check.

        :param lenient: take usual names of titles and texts too, and numbers and lists as texts.
        :raises FieldError: if a field that was chosen is missing or of the wrong kind.
        """
        if not lenient:
            _check_one(record, () if self.id else ("id", "docid"))
            _check_one(record, () if self.text else _TEXTS[:2])
        ids = {self.id} if self.id else {"id", "_id", one_of(record, _IDS)}
        title = self.title or one_of(record, _TITLES if lenient else _TITLES[:1])
        texts = self.text or (one_of(record, _TEXTS if lenient else _TEXTS[:2]),)
        made = {"id" if self.id else name: record[name] for name in ids if name in record}
        if self.id and made.get("id") is None:
            raise FieldError(self.id, "missing")
        made["text"] = _joined(record, texts) if self.text or lenient else record.get(texts[0])
        if title not in texts:
            made["title"] = _text(record, title) if self.title or lenient else record.get(title)
        made["metadata"] = self._metadata(record, {*ids, title, *texts}, left_out)
        return made

    def named(self, field: str) -> str:
        """Return how the fields of a record that are an id, a title or a text are called in it: as they were chosen."""
        chosen = {"id": self.id, "title": self.title, "text": ", ".join(self.text)}
        return chosen.get(field) or field

    def _metadata(self, record: Mapping[str, Any], used: set[str], left_out: LeftOut) -> dict[str, Any]:
        if self.metadata is not None:
            if others := len(record.keys() - used - set(self.metadata)):
                left_out.count += others
            return {name: record[name] for name in self.metadata if record.get(name) is not None}
        own = record.get("metadata")
        if own is not None and not isinstance(own, dict):
            raise FieldError("metadata", f"expected an object, found {type(own).__name__}")
        found = dict(own or {})
        for name, value in record.items():
            if name in used or name == "metadata" or value is None:
                continue
            if name in found:
                raise FieldError(name, "given twice, in the record and under 'metadata'; keep one")
            if _can_be_metadata(value):
                found[name] = value
            else:
                left_out.note_unfit(name)
        return found


def _check_one(record: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Refuse a record in which two fields might be meant."""
    if names and all(name in record for name in names):
        raise FieldError(
            names[1], f"both {names[0]!r} and {names[1]!r} are given; keep one, or choose the field to take"
        )


def has_text(record: Mapping[str, Any]) -> bool:
    """Return whether a record has a field that is usually a text."""
    return any(isinstance(record.get(name), str) for name in _TEXTS)


def _can_be_metadata(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return value in _LONG if isinstance(value, int) else isinstance(value, str | float)


def _joined(record: Mapping[str, Any], names: Iterable[str]) -> str:
    return "\n\n".join(text for name in names if (text := _text(record, name)).strip())


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise FieldError(name, f"expected a text, found {type(value).__name__}")
    return str(value)
