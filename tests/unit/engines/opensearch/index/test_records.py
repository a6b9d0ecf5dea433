"""Documents as an index keeps them, and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.engines.opensearch.index.document_json import from_source, to_source
from hybrid_search.types import Document


def test_a_document_comes_back_as_it_was_stored() -> None:
    document = Document("a", "text", "title", {"year": 1999, "tag": ("x", "y")})
    assert from_source({**to_source(document, None), "added": "2026-11-21T00:00:00Z"}) == document


def test_what_somebody_else_indexed_may_lack_a_text_or_a_title() -> None:
    assert from_source({"id": "a", "title": "only a title"}) == Document("a", "", "only a title")
    assert from_source({"id": "a", "text": "only a text"}) == Document("a", "only a text")


@pytest.mark.parametrize(
    ("held", "right"),
    [
        ({"metadata": None, "text": None, "title": None}, Document("7", "")),
        ({"metadata": [], "text": [], "id": None}, Document("7", "")),
        ({"metadata": {"a": None, "b": [None], "c": []}}, Document("7", "", metadata={"c": ()})),
        ({"metadata": [{"a": 1}, {"b": "x"}, None]}, Document("7", "", metadata={"a": 1, "b": "x"})),
        ({"metadata": [{"a": "x"}, {"a": "y"}]}, Document("7", "", metadata={"a": ("x", "y")})),
        ({"metadata": {"a": ["x", None, ["y"]]}}, Document("7", "", metadata={"a": ("x", "y")})),
        ({"metadata": {"a": {"deep": [1]}}}, Document("7", "", metadata={"a": '{"deep":[1]}'})),
        ({"metadata": {"a": [True, 1.5]}}, Document("7", "", metadata={"a": (True, 1.5)})),
        ({"metadata": "words", "text": 5, "title": ["a", "b"]}, Document("7", "5", "a b")),
        ({"id": "own", "text": ["one", None, "two"]}, Document("own", "one two")),
        ({"id": 8, "text": {"a": 1}}, Document("7", '{"a":1}')),
    ],
)
def test_what_stands_in_the_place_of_a_text_or_of_metadata_is_read_as_a_server_takes_it(
    held: dict[str, Any], right: Document
) -> None:
    assert from_source(held, "7") == right


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["id", "text", "title", "metadata", "added"]), JSON))
def test_whatever_a_document_holds_it_is_read_as_one(held: dict[str, Any]) -> None:
    read = from_source(held, "7")
    assert read.id
    assert all(isinstance(text, str) for text in (read.id, read.text, read.title, read.searchable_text))
    assert all(isinstance(value, str | int | float | tuple) for value in read.metadata.values())
