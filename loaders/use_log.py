"""Reads logs of use: which documents a search showed, which were clicked, and what people said of them.

Lines of JSON in any order, from any number of files, each of one of these forms:

- ``{"query": TEXT, "shown": [ID, …], "clicked": [ID, …], "client": ID}``: a search; ``client`` may be left out;
- ``{"query": TEXT, "document": ID, "grade": N}``: a judgement, which counts more than all clicks;
- an entry of ``ubi_queries`` or ``ubi_events`` (OpenSearch's User Behavior Insights), bare or as a search returns it,
  with the entry under ``_source``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybrid_search.loaders.formats import json_objects
from hybrid_search.loaders.intake import Reject
from hybrid_search.loaders.lines import read_lines
from hybrid_search.loaders.records import FieldError, check_id
from hybrid_search.types import Judgement, normalise_text

__all__ = ["Click", "Search", "UseLog", "read_use_log"]

LONGEST_QUERY = 1_000
"""Most characters of a query; longer ones are nobody's words."""

_MOST_SHOWN = 10_000
_MOST_GRADE = 100
_NO_FORM = (
    'neither a search ("query"), nor an entry of ubi_queries ("user_query", "query_id") or ubi_events ("action_name")'
)


@dataclass(frozen=True, slots=True)
class Search:
    """A search: what was asked, by whom, and what it showed.

    :ivar client: who searched; the search's own id where that is not known.
    :ivar shown: ids of documents, the first on top; empty if it is not known.
    """

    query: str
    client: str
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Click:
    """A click: by whom, in which search, on which document; ``rank`` is from 1, 0 if it is not known."""

    query: str
    client: str
    document: str
    rank: int


@dataclass(slots=True)
class UseLog:
    """What logs say.

    :ivar judgements: with the query's text as its id; of several about one document the last one stays.
    :ivar ignored: number of events that are no clicks.
    :ivar unmatched: number of clicks whose search is not in the logs, and who do not say what was asked.
    :ivar not_shown: number of clicks on documents that their search did not show; they are left out.
    """

    searches: list[Search] = field(default_factory=list)
    clicks: list[Click] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    ignored: int = 0
    unmatched: int = 0
    not_shown: int = 0


@dataclass(frozen=True, slots=True)
class _Event:
    search: str
    query: str
    client: str
    document: str
    rank: int


def read_use_log(paths: Iterable[Path], reject: Reject, *, actions: Iterable[str] = ("click",)) -> UseLog:
    """Read logs to their end.

    A click on a document that its search did not show is counted and left out; without ``shown`` any may be.

    :param reject: called with each line that is of none of the forms, or has a bad value.
    :param actions: names of the events that are clicks.
    :raises DataError: if a file can't be read to its end.
    """
    log, events, by_id = UseLog(), list[_Event](), dict[str, Search]()
    reader = _Reader(log, events, by_id, frozenset(actions))
    for path in paths:
        for line, record in json_objects(read_lines(path, reject), reject):
            try:
                reader.take(record)
            except FieldError as error:
                reject(line.rejected(error.field, error.reason))
    log.searches += by_id.values()
    for event in events:
        search = by_id.get(event.search)
        query = search.query if search else event.query
        if not query:
            log.unmatched += 1
            continue
        client = (search.client if search else "") or event.client or event.search
        shown = search.shown if search else ()
        # A rank below the documents that are listed is that of a further page.
        if shown and event.document not in shown and event.rank <= len(shown):
            log.not_shown += 1
            continue
        rank = shown.index(event.document) + 1 if event.document in shown else event.rank
        log.clicks.append(Click(query, client, event.document, rank))
    return log


class _Reader:
    """Tells the forms of records apart, and checks them."""

    def __init__(self, log: UseLog, events: list[_Event], by_id: dict[str, Search], actions: frozenset[str]) -> None:
        self._log, self._events, self._by_id, self._actions = log, events, by_id, actions
        self._anonymous = 0

    def take(self, record: Mapping[str, Any]) -> None:
        source = record.get("_source")
        entry = source if isinstance(source, dict) else record
        for name, take in self._forms().items():
            if name in entry:
                take(entry)
                return
        raise FieldError("", _NO_FORM)

    def _forms(self) -> dict[str, Callable[[Mapping[str, Any]], None]]:
        # An event of UBI may repeat what was asked, so its own name is looked for first.
        return {
            "action_name": self._event, "user_query": self._ubi_query, "grade": self._judgement, "query": self._search,
        }  # fmt: skip

    def _event(self, entry: Mapping[str, Any]) -> None:
        action = entry["action_name"]
        if not isinstance(action, str):
            raise FieldError("action_name", "not text")
        if action not in self._actions:
            self._log.ignored += 1
            return
        attributes = _inner(entry, "event_attributes")
        document = _inner(attributes, "object").get("object_id")
        ordinal = _inner(attributes, "position").get("ordinal")
        rank = ordinal if isinstance(ordinal, int) and not isinstance(ordinal, bool) and ordinal > 0 else 0
        query = _query(entry, "user_query") if entry.get("user_query") is not None else ""
        self._events.append(
            _Event(_text(entry, "query_id"), query, _client(entry), _id(document, "event_attributes.object.object_id"),
                   rank)
        )  # fmt: skip

    def _ubi_query(self, entry: Mapping[str, Any]) -> None:
        search, query = _text(entry, "query_id"), _query(entry, "user_query")
        shown = _ids(entry, "query_response_hit_ids")
        self._by_id[search] = Search(query, _client(entry) or search, shown)

    def _search(self, entry: Mapping[str, Any]) -> None:
        query, shown, clicked = _query(entry, "query"), _ids(entry, "shown"), _ids(entry, "clicked")
        self._anonymous += 1
        client = _client(entry, "client") or f"line {self._anonymous}"
        self._log.searches.append(Search(query, client, shown))
        ranks = {id: rank for rank, id in reversed(list(enumerate(shown, 1)))}
        possible = [id for id in clicked if id in ranks or not shown]
        self._log.not_shown += len(clicked) - len(possible)
        self._log.clicks += [Click(query, client, id, ranks.get(id, 0)) for id in possible]

    def _judgement(self, entry: Mapping[str, Any]) -> None:
        grade = entry["grade"]
        if not isinstance(grade, int) or isinstance(grade, bool) or not 0 <= grade <= _MOST_GRADE:
            raise FieldError("grade", f"not a whole number from 0 to {_MOST_GRADE}")
        self._log.judgements.append(Judgement(_query(entry, "query"), _id(entry.get("document"), "document"), grade))


def _query(entry: Mapping[str, Any], name: str) -> str:
    text = _text(entry, name)
    if len(text) > LONGEST_QUERY:
        raise FieldError(name, f"longer than {LONGEST_QUERY:,} characters")
    if not normalise_text(text):
        raise FieldError(name, "blank")
    return " ".join(text.split())


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip():
        raise FieldError(name, "missing or blank" if value is None or value == "" else "not text")
    return value


def _client(entry: Mapping[str, Any], *names: str) -> str:
    """Return who it was; empty if that is not said."""
    values = (entry.get(name) for name in names or ("client_id", "session_id"))
    return next((value for value in values if isinstance(value, str) and value.strip()), "")


def _ids(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = entry.get(name)
    if values is None:
        return ()
    if not isinstance(values, list) or len(values) > _MOST_SHOWN:
        raise FieldError(name, f"not a list of at most {_MOST_SHOWN:,} ids")
    return tuple(_id(value, name) for value in values)


def _id(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise FieldError(name, "not text")
    return check_id(value, name)


def _inner(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    return value if isinstance(value, dict) else {}
