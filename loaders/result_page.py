"""One row of ``microsoft/ms_marco``: a query, its result page, and which passages an annotator's answer used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hybrid_search.types import Document, Query, text_hash
from loaders.records import FieldError

__all__ = ["ResultPage", "parse_row"]

_NO_ANSWER = "No Answer Present."
_MISSING = re.compile("missing required field `(.+)`")


class _Passages(msgspec.Struct):
    is_selected: list[int]
    passage_text: list[str]
    url: list[str] | None = None


class _Row(msgspec.Struct):
    query_id: int | str
    query: str
    passages: _Passages
    answers: list[str] | None = None


@dataclass(frozen=True, slots=True)
class ResultPage:
    """A query with its passages, each text once.

    :ivar selected: passages that an answer was written from.
    :ivar others: the rest of the page.
    :ivar answers: the annotators' answers; empty where there is none.
    :ivar blanks: how many passages were left out because they are blank.
    """

    query: Query
    selected: tuple[Document, ...]
    others: tuple[Document, ...]
    answers: tuple[str, ...]
    blanks: int

    @property
    def passages(self) -> tuple[Document, ...]:
        """All passages, the selected ones first."""
        return self.selected + self.others


def parse_row(row: Mapping[str, Any]) -> ResultPage:
    """Check a row and turn it into a result page. A document's id is its text's hash, so it is the same in every row.

    :raises FieldError: naming the field that is missing or of the wrong type.
    """
    checked = _check(row)
    passages = checked.passages
    urls = passages.url or [""] * len(passages.passage_text)
    if not len(passages.is_selected) == len(passages.passage_text) == len(urls):
        lengths = f"{len(passages.is_selected)}, {len(passages.passage_text)} and {len(urls)}"
        raise FieldError("passages", f"is_selected, passage_text and url differ in length: {lengths}")
    selected: dict[str, Document] = {}
    others: dict[str, Document] = {}
    for mark, text, url in zip(passages.is_selected, passages.passage_text, urls, strict=True):
        if text.strip():
            document = Document(text_hash(text), text, metadata={"url": url} if url.strip() else {})
            (selected if mark else others).setdefault(document.id, document)
    return ResultPage(
        query=Query(str(checked.query_id), checked.query.strip()),
        selected=tuple(selected.values()),
        others=tuple(document for id, document in others.items() if id not in selected),
        answers=tuple(answer for answer in checked.answers or () if answer.strip() and answer != _NO_ANSWER),
        blanks=sum(not text.strip() for text in passages.passage_text),
    )


def _check(row: Mapping[str, Any]) -> _Row:
    try:
        checked = msgspec.convert(row, _Row)
    except msgspec.ValidationError as error:
        # msgspec ends its message with the path, "... - at `$.passages.url[0]`", and names a missing field in ticks.
        reason, _, place = str(error).partition(" - at `$.")
        missing = _MISSING.search(reason)
        fields = [place.rstrip("`"), missing[1] if missing else ""]
        raise FieldError(".".join(filter(None, fields)), reason) from error
    if not checked.query.strip():
        raise FieldError("query", "blank")
    if not str(checked.query_id).strip():
        raise FieldError("query_id", "blank")
    return checked
