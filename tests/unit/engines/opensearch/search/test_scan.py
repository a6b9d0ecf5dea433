"""What a server keeps as it was typed, and finds as it has indexed it."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_search.engines.opensearch.search.scan import as_indexed
from hybrid_search.settings.index import FieldType
from hybrid_search.types import Document

FIELDS: dict[str, FieldType] = {
    "year": "long",
    "price": "double",
    "grp": "keyword",
    "open": "boolean",
    "a.b": "keyword",
    "day": "date",
}


@pytest.mark.parametrize(
    ("typed", "indexed"),
    [
        ({"year": 2001}, {"year": 2001}),
        ({"year": "2001"}, {"year": 2001}),
        ({"year": 2001.0}, {"year": 2001}),
        ({"year": 2001.9}, {"year": 2001}),
        ({"year": -2001.9}, {"year": -2001}),
        ({"year": "2001.9"}, {"year": 2001}),
        ({"year": "2e3"}, {"year": 2000}),
        ({"year": "9223372036854775807"}, {"year": 9223372036854775807}),
        ({"year": ""}, {}),
        ({"year": None}, {}),
        ({"year": []}, {}),
        ({"year": [None]}, {}),
        ({"year": ["2001"]}, {"year": 2001}),
        ({"year": [2001, "2002"]}, {"year": (2001, 2002)}),
        ({"year": [[2001], [2002, None]]}, {"year": (2001, 2002)}),
        ({"price": "9.5"}, {"price": 9.5}),
        ({"price": "9.5f"}, {"price": 9.5}),
        ({"price": "1e3"}, {"price": 1000.0}),
        ({"price": [1.5, 2]}, {"price": (1.5, 2)}),
        ({"grp": 7}, {"grp": "7"}),
        ({"grp": 7.0}, {"grp": "7.0"}),
        ({"grp": True}, {"grp": "true"}),
        ({"grp": ["g1", None]}, {"grp": ("g1",)}),
        ({"grp": ["g1", 7]}, {"grp": ("g1", "7")}),
        ({"grp": ""}, {"grp": ""}),
        ({"open": "true"}, {"open": True}),
        ({"open": ""}, {"open": False}),
        ({"open": [True, "false"]}, {"open": (True, False)}),
        ({"a%2Eb": 1}, {"a.b": "1"}),
        ({"day": "2024"}, {"day": "2024-01-01T00:00:00.000Z"}),
        ({"day": 2024}, {"day": "2024-01-01T00:00:00.000Z"}),
        ({"day": "2024-05"}, {"day": "2024-05-01T00:00:00.000Z"}),
        ({"day": "2024-05-01T10"}, {"day": "2024-05-01T10:00:00.000Z"}),
        ({"day": "2024-05-01T10:30:00.123456789+02:00"}, {"day": "2024-05-01T08:30:00.123Z"}),
        ({"day": 500}, {"day": "1970-01-01T00:00:00.500Z"}),
        ({"day": [1714559400000, "1714559400001"]}, {"day": ("2024-05-01T10:30:00.000Z", "2024-05-01T10:30:00.001Z")}),
        ({"day": ""}, {}),
        ({"other": "2001-01-01"}, {"other": "2001-01-01"}),
        (None, {}),
        ([], {}),
        ([{"year": "2001", "grp": "a"}, {"year": 2002}], {"year": (2001, 2002), "grp": "a"}),
    ],
)
def test_metadata_is_read_as_the_server_read_it(typed: Any, indexed: dict[str, Any]) -> None:
    found = as_indexed("d", {"id": "d", "text": "t", "metadata": typed}, FIELDS)
    assert found == Document("d", "t", "", indexed)
    assert {name: type(value) for name, value in found.metadata.items()} == {
        name: type(value) for name, value in indexed.items()
    }


@pytest.mark.parametrize(
    ("source", "document"),
    [
        ({"text": None, "title": "a title"}, Document("d", "", "a title")),
        ({"text": "t", "title": None}, Document("d", "t", "")),
        ({}, Document("d", "", "")),
        ({"text": ["one", None, "two"], "title": 7}, Document("d", "one two", "7")),
        ({"id": "another", "text": True}, Document("d", "true")),
        ({"text": "t", "metadata.year": "2001"}, Document("d", "t", metadata={"year": 2001})),
    ],
)
def test_texts_are_read_as_the_server_read_them(source: dict[str, Any], document: Document) -> None:
    assert as_indexed("d", source, FIELDS) == document


def test_what_no_server_takes_stays_as_it_is() -> None:
    typed = {"year": "long ago", "price": "cheap", "open": "perhaps", "where": {"lat": 1}, "day": "+12024-01-01"}
    assert as_indexed("d", {"text": "t", "metadata": typed}, FIELDS).metadata == typed
