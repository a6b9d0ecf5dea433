"""The parsers that stand at every door: filters, locations, connections, settings."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from hypothesis import strategies as st

from campaign.attack import Attempt, Bench, Outcome
from campaign.fuzz.conditions import CLEAN, as_text
from campaign.fuzz.draws import searched
from campaign.fuzz.expectation import Answer, Broken, Refused, outcome_of
from campaign.fuzz.mutation import mutated
from campaign.fuzz.planted import planted
from campaign.fuzz.strategies import ANY, JSON, TEXTS
from hybrid_search import Connection, SearchOptions, ServerOptions
from hybrid_search.engines.opensearch.transport.connection_settings import resolved
from hybrid_search.filters import And, Range
from hybrid_search.filters.parser import parse_filter
from hybrid_search.location import Address
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.settings.training import TrainConfig

__all__ = ["TARGETS", "Parsers"]

SECRET = "S3cr3tPass"


@dataclass(frozen=True, slots=True)
class Target:
    """One parser.

    :ivar inputs: what it is given.
    :ivar check: gives it one, and raises :class:`Broken`.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], None]


def _filter_text(text: str) -> None:
    outcome_of(lambda: parse_filter(text), seconds=4)


def _filter_comes_back(filter: Any) -> None:
    text = as_text(filter)
    told = outcome_of(lambda: parse_filter(text), seconds=4)
    if isinstance(told, Refused):
        raise Broken(f"{text!r} was refused: {told}")
    if told.value != _as_parsed(filter):
        raise Broken(f"{text!r} was read as {told.value!r}")


def _as_parsed(filter: Any) -> Any:
    """The small language has one bound a comparison."""
    match filter:
        case Range(field, gte, gt, lte, lt):
            named = {"gte": gte, "gt": gt, "lte": lte, "lt": lt}
            parts = tuple(Range(field, **{name: bound}) for name, bound in named.items() if bound is not None)
            return parts[0] if len(parts) == 1 else And(parts)
    if hasattr(filter, "filters"):
        return type(filter)(tuple(_as_parsed(part) for part in filter.filters))
    return type(filter)(_as_parsed(filter.filter)) if hasattr(filter, "filter") else filter


def _location(text: str) -> None:
    for parse in (Address.parse, Address.parse_server):
        told = outcome_of(lambda parse=parse: parse(text))
        if isinstance(told, Answer):
            again = outcome_of(lambda parse=parse, told=told: parse(str(told.value)))
            if not isinstance(again, Answer) or again.value != told.value:
                raise Broken(f"{text!r} is {told.value!r}, but written and read again {again!r}")
            shown = repr(told.value) + str(told.value)
        else:
            shown = str(told)
        if SECRET in shown:
            raise Broken(f"the password of {text!r} is shown: {shown!r}")


def _connection_file(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(content)
        file.flush()
        environment = {"HYBRID_SEARCH_CONFIG": file.name, "HOME": "/nowhere"}
        told = outcome_of(lambda: resolved(Address.parse_server("opensearch://search:9200"), environment))
    if SECRET in (str(told) if isinstance(told, Refused) else repr(told.value)):
        raise Broken(f"the password is shown: {told}")


def _setting(given: tuple[type[Any], Any]) -> None:
    kind, values = given
    if isinstance(values, dict) and values.keys() <= _names(kind):
        outcome_of(lambda: kind(**values))
        if hasattr(kind, "from_mapping"):
            outcome_of(lambda: kind.from_mapping(values, source="here"))
    if hasattr(kind, "from_json"):
        told = outcome_of(lambda: kind.from_json(values if isinstance(values, bytes) else _json(values), source="here"))
        if isinstance(told, Answer):
            again = outcome_of(lambda: kind.from_json(told.value.to_json(), source="here"))
            if not isinstance(again, Answer) or again.value != told.value:
                raise Broken(f"{told.value!r} comes back from its own JSON as {again!r}")


def _names(kind: type[Any]) -> set[str]:
    return set(kind.__struct_fields__ if hasattr(kind, "__struct_fields__") else [one.name for one in fields(kind)])


def _json(value: Any) -> bytes:
    return json.dumps(value, default=repr).encode("utf-8", "surrogatepass")


_TOKENS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "lang",
                "year",
                '"x y"',
                "'a'",
                "=",
                "!=",
                "<",
                "<=",
                ">",
                ">=",
                "in",
                "not",
                "and",
                "or",
                "exists",
                "(",
                ")",
                ",",
                "(a, b)",
                "true",
                "1",
                "-2.5",
                "1e999",
                "9" * 25,
                "0x1",
                "NaN",
                '"',
                "'",
                "\\",
                "==",
                "&",
                "٣",
                "²",
                "1_0",
                "+",
                "-",
                ".",
                "not " * 60,
                "(" * 60,
            ]
        ),
        TEXTS,
    ),
    max_size=14,
).map(" ".join)
_LOCATIONS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "opensearch",
                "opensearchs",
                "http",
                "://",
                ":",
                "@",
                "/",
                "//",
                "?",
                "#",
                "localhost",
                "[::1]",
                "[",
                "]",
                "9200",
                "99999",
                "-1",
                "user",
                f"user:{SECRET}@",
                f"a@b:{SECRET}@",
                "%",
                "%40",
                "%zz",
                "passages",
                "..",
                "A",
                "*",
                ",",
                "é",
                "\n",
                " ",
                "\\",
                "xn--",
                "a" * 300,
                "1.2.3.4.5",
                "\x00",
            ]
        ),
        TEXTS,
    ),
    max_size=8,
).map("".join)
_KEYS = [
    "hosts",
    "verify",
    "ca_certs",
    "client_cert",
    "client_key",
    "user",
    "password",
    "token",
    "password_file",
    "token_env",
    "aws_region",
    "aws_service",
    "aws_profile",
    "connect_timeout",
    "read_timeout",
    "retries",
    "max_connections",
    "odd",
]
_TOML_VALUES = st.one_of(
    st.sampled_from(
        [
            '"x"',
            "1",
            "0",
            "-1",
            "1e400",
            "nan",
            "true",
            "[]",
            '["a:1", "b"]',
            "{}",
            "1979-05-27",
            '"/nowhere"',
            "99999999999999999999",
            '"\\u0000"',
        ]
    ),
    JSON.map(lambda one: json.dumps(one, default=repr)),
)
_TOML = st.builds(
    lambda section, rows: "\n".join([section, *rows]).encode("utf-8", "surrogatepass"),
    st.sampled_from(['["search:9200"]', '["search:9200"]', "[search]", "", '["u@h:1"]', "[[x]]"]),
    st.lists(
        st.one_of(
            st.builds(lambda key, value: f"{key} = {value}", st.sampled_from(_KEYS), _TOML_VALUES),
            st.sampled_from([f'password = "{SECRET}"', f'token = "{SECRET}"', f'password = ["{SECRET}"]']),
        ),
        max_size=5,
    ),
)
_KINDS = (Fusion, Bm25, IndexSettings, TrainConfig, ServerOptions, Connection, SearchOptions)


def _settings_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    names = sorted(_names(kind))
    values = st.dictionaries(st.one_of(*[st.sampled_from(names)] * 9, TEXTS), ANY, max_size=3)
    whole = [mutated(kind().to_json())] if hasattr(kind, "to_json") else []
    return st.tuples(st.just(kind), st.one_of(values, values, ANY, *whole))


TARGETS = (
    Target(
        "a filter as text",
        st.one_of(
            _TOKENS,
            _TOKENS,
            CLEAN.map(as_text)
            .flatmap(lambda text: mutated(text.encode()))
            .map(lambda data: data.decode("utf-8", "surrogateescape")),
        ),
        _filter_text,
    ),
    Target("a filter written and read", CLEAN, _filter_comes_back),
    Target("a location", _LOCATIONS, _location),
    Target("a connections file", st.one_of(_TOML, _TOML.flatmap(mutated)), _connection_file),
    Target("settings", st.one_of(*map(_settings_of, _KINDS)), _setting),
)


class Parsers:
    """A parser a trial, in turn, many inputs each."""

    name = "fuzz-parsers"
    unit = "inputs"
    wanted = 50_000
    short = 750
    needs_server = False
    planted: ClassVar = {
        "a parser with a bare KeyError": "the filter parser looks a word up without a guard",
        "a hang": "the filter parser never ends on an unclosed parenthesis",
        "a changed filter": "the filter parser reads <= as <",
    }

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        def attempt(trial: int) -> Outcome:
            target = TARGETS[trial % len(TARGETS)]
            return searched(target.inputs, target.check, bench.draw(trial), 150, what=target.name)

        with planted(bench.planted):
            yield attempt
