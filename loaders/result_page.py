"""Parses rows of ``microsoft/ms_marco``: a query, its result page, and the passages that an annotator selected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hybrid_search.loaders.records import FieldError
from hybrid_search.types import Document, Query, text_hash

__all__ = ["PASSAGE_FIELDS", "ResultPage", "parse_row"]

PASSAGE_FIELDS = ("is_selected", "passage_text", "url")
"""Names of the columns of a page in the hub's rows, and of the fields of a passage in the official files."""

_NO_ANSWER = "No Answer Present."
_MISSING = re.compile("missing required field `(.+)`")

_Mark = int | float | None
"""Value of ``is_selected``: 0 or 1 (also as a bool); the test splits have -1, some files null or no value."""


class _Columns(msgspec.Struct):
    is_selected: list[int | float | bool | None]
    passage_text: list[str | None]
    url: list[str | None] | None = None


class _Passage(msgspec.Struct):
    passage_text: str | None = None
    is_selected: int | float | bool | None = None
    url: str | None = None


class _Row(msgspec.Struct):
    query_id: int | str
    query: str
    passages: _Columns | list[_Passage]
    answers: list[str | None] | str | None = None


@dataclass(frozen=True, slots=True)
class ResultPage:
    """A query with its passages, each text once.

    :ivar selected: passages that annotators used for an answer (``is_selected`` 1).
    :ivar others: passages that they did not use (``is_selected`` 0).
    :ivar unjudged: passages without a judgement (``is_selected`` -1 or null).
    :ivar answers: the annotators' answers; may be empty.
    :ivar blanks: number of passages that were left out because they have no text.
    """

    query: Query
    selected: tuple[Document, ...]
    others: tuple[Document, ...]
    unjudged: tuple[Document, ...]
    answers: tuple[str, ...]
    blanks: int

    @property
    def passages(self) -> tuple[Document, ...]:
        """All passages, the selected ones first."""
        return self.selected + self.others + self.unjudged


def parse_row(row: Mapping[str, Any]) -> ResultPage:
    """Check a row and convert it to a result page. The id of a document is the hash of its text, in every row.

    Passages may be an object of columns, as on the hub, or a list of objects, as in the official files.

    :raises FieldError: naming the field that is missing or of the wrong type.
    """
    checked = _check(row)
    passages = _passages(checked.passages)
    by_mark: dict[str, dict[str, Document]] = {"selected": {}, "others": {}, "unjudged": {}}
    for number, passage in enumerate(passages):
        group = by_mark[_group(passage.is_selected, number)]
        text, url = passage.passage_text or "", passage.url or ""
        if text.strip():
            document = Document(text_hash(text), text, metadata={"url": url} if url.strip() else {})
            group.setdefault(document.id, document)
    selected = by_mark["selected"]
    others = _without(by_mark["others"], selected)
    return ResultPage(
        query=Query(str(checked.query_id), checked.query.strip()),
        selected=tuple(selected.values()),
        others=tuple(others.values()),
        unjudged=tuple(_without(by_mark["unjudged"], {**selected, **others}).values()),
        answers=_answers(checked.answers),
        blanks=sum(not (passage.passage_text or "").strip() for passage in passages),
    )


def _passages(passages: _Columns | list[_Passage]) -> Sequence[_Passage]:
    if isinstance(passages, list):
        return passages
    urls = passages.url or [""] * len(passages.passage_text)
    if not len(passages.is_selected) == len(passages.passage_text) == len(urls):
        lengths = f"{len(passages.is_selected)}, {len(passages.passage_text)} and {len(urls)}"
        raise FieldError("passages", f"is_selected, passage_text and url differ in length: {lengths}")
    columns = zip(passages.passage_text, passages.is_selected, urls, strict=True)
    return [_Passage(text, mark, url) for text, mark, url in columns]


def _group(mark: _Mark, number: int) -> str:
    """Return ``selected``, ``others`` or ``unjudged``; ``number`` is the passage's, from 0, for the message."""
    if mark is None or mark == -1:
        return "unjudged"
    if mark not in (0, 1):
        raise FieldError(f"passages.is_selected[{number}]", f"expected 1, 0, or -1 for not judged, found {mark}")
    return "selected" if mark else "others"


def _without(documents: Mapping[str, Document], known: Mapping[str, Document]) -> dict[str, Document]:
    return {id: document for id, document in documents.items() if id not in known}


def _answers(answers: Sequence[str | None] | str | None) -> tuple[str, ...]:
    given = [answers] if isinstance(answers, str) else answers or ()
    return tuple(answer for answer in given if answer and answer.strip() and answer != _NO_ANSWER)


def _check(row: Mapping[str, Any]) -> _Row:
    try:
        checked = msgspec.convert(row, _Row)
    except msgspec.ValidationError as error:
        # msgspec ends its message with the path, "... - at `$.passages.url[0]`", and names a missing field in ticks.
        reason, _, path = str(error).partition(" - at `$.")
        missing = _MISSING.search(reason)
        fields = [path.rstrip("`"), missing[1] if missing else ""]
        raise FieldError(".".join(filter(None, fields)), reason) from error
    if not checked.query.strip():
        raise FieldError("query", "blank")
    if not str(checked.query_id).strip():
        raise FieldError("query_id", "blank")
    return checked
