import pytest

from hybrid_search.loaders.records import FieldError, parse_document, parse_query
from hybrid_search.types import Document, Query


def test_a_full_document_is_taken_as_it_is():
    record = {
        "id": "d1",
        "text": "Fleas jump.",
        "title": "Fleas",
        "metadata": {"lang": "en", "year": 2019, "score": 0.5, "open": True, "tags": ["a", "b"], "gone": None},
    }
    assert parse_document(record) == Document(
        "d1", "Fleas jump.", "Fleas", {"lang": "en", "year": 2019, "score": 0.5, "open": True, "tags": ("a", "b")}
    )


def test_an_integer_id_becomes_text_and_underscore_id_is_an_id():
    assert parse_document({"_id": 7, "text": "x"}) == Document("7", "x")
    assert parse_query({"id": -7, "text": "x"}) == Query("-7", "x")


def test_a_title_alone_makes_a_document():
    assert parse_document({"id": "d", "title": "Fleas", "text": None}) == Document("d", "", "Fleas")


def test_null_characters_and_emoji_in_a_text_stay():
    assert parse_document({"id": "d", "text": "a\0b 🐟"}).text == "a\0b 🐟"


def test_an_id_of_512_bytes_is_taken():
    assert parse_document({"id": "é" * 256, "text": "x"}).id == "é" * 256


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        ({"text": "x"}, "id", "missing"),
        ({"id": None, "text": "x"}, "id", "missing"),
        ({"id": " ", "text": "x"}, "id", "blank"),
        ({"id": True, "text": "x"}, "id", "expected a string or an integer, found a truth value"),
        ({"id": 1.0, "text": "x"}, "id", "expected a string or an integer, found a number"),
        ({"_id": "é" * 257, "text": "x"}, "_id", "514 bytes long in UTF-8, at most 512 can be stored"),
        ({"id": "a\0", "text": "x"}, "id", "has a control character"),
        ({"id": "a", "_id": "b", "text": "x"}, "id", "both 'id' and '_id' are given; keep one"),
        ({"id": "a"}, "text", "blank, and so is the title"),
        ({"id": "a", "text": " \n"}, "text", "blank, and so is the title"),
        ({"id": "a", "text": ["x"]}, "text", "expected a string, found a list"),
        ({"id": "a", "text": "x", "title": 3}, "title", "expected a string, found an integer"),
        ({"id": "a", "text": "x", "metadata": "en"}, "metadata", "expected an object, found a string"),
        (
            {"id": "a", "text": "x", "metadata": {"a": {"b": 1}}},
            "metadata.a",
            "nested objects can't be stored; flatten it",
        ),
        ({"id": "a", "text": "x", "metadata": {"a": ["b", 1]}}, "metadata.a", "a list may hold strings only"),
        ({"id": "a", "text": "x", "metadata": {"a": 2**63}}, "metadata.a", "an integer beyond 64 bits can't be stored"),
    ],
)
def test_a_bad_field_is_named(record, field, reason):
    with pytest.raises(FieldError) as caught:
        parse_document(record)
    assert (caught.value.field, caught.value.reason) == (field, reason)


def test_a_blank_query_is_refused():
    with pytest.raises(FieldError, match="text: blank"):
        parse_query({"id": "q", "text": " "})
