"""Texts and ids that are broken, or odd: refused by both engines in the same words, or taken by both."""

from __future__ import annotations

import numpy as np
import pytest
from asked import by_both, by_text, by_vector
from fleas import FLEAS, VECTORS, ids

from hybrid_search.errors import FilterError, UsageError
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms
from hybrid_search.protocols import Engine
from hybrid_search.types import Document

IMPOSSIBLE: tuple[object, ...] = ("a\ud800", "", "é" * 257, 5, None, b"a")
OF_OLD = (" ", "\t", "two\nlines", "nul\0")
"""Ids that are not taken any more; an older index may hold them."""


@pytest.mark.parametrize("id", [*IMPOSSIBLE, *OF_OLD], ids=ascii)
def test_what_can_not_be_an_id_is_refused_with_its_document_and_the_rest_goes_on(filled: Engine, id: str) -> None:
    (rejection,) = filled.add([Document(id, "text"), Document("good", "text")], np.ones((2, 2), np.float32))
    assert rejection.field == "id"
    filled.commit()
    assert filled.count() == 4


@pytest.mark.parametrize("id", IMPOSSIBLE, ids=ascii)
def test_asking_for_what_can_not_be_an_id_is_an_error_that_names_it(filled: Engine, id: str) -> None:
    for ask in (filled.get, filled.delete):
        with pytest.raises(UsageError, match="ids holds"):
            ask(["flea", id])
        with pytest.raises(UsageError, match="ids is one text; give a list"):
            ask("flea")
        with pytest.raises(UsageError, match="ids is 5"):
            ask(5)  # type: ignore[arg-type]
    filled.commit()
    assert filled.count() == 3


@pytest.mark.parametrize("id", OF_OLD, ids=ascii)
def test_an_id_that_only_an_older_index_can_hold_may_be_asked_for(filled: Engine, id: str) -> None:
    assert filled.get([id, "flea"]) == [None, FLEAS[0]]
    assert filled.delete([id]) == 0


def test_ids_with_blanks_and_of_any_script_are_taken(filled: Engine) -> None:
    ids = ["two words", " before", "東京", "é" * 256, "\U0001f600", "a/b?c=d#e%20", '"quoted"', "~", "_id", "-"]
    assert filled.add([Document(id, "text") for id in ids], np.ones((len(ids), 2), np.float32)) == []
    filled.commit()
    assert [document and document.id for document in filled.get(ids)] == ids
    assert filled.delete(ids) == len(ids)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"lang": "a\ud800"}, "lang"),
        ({"lang": ("en", "a\ud800")}, "lang"),
        ({"a\ud800": 1}, "metadata"),
        ({"": 1}, "metadata"),
        ({5: 1}, "metadata"),
        ({(1, 2): 1}, "metadata"),
        ("no mapping", "metadata"),
    ],
    ids=ascii,
)
def test_bad_metadata_is_refused_with_its_document(filled: Engine, metadata: dict[str, str], field: str) -> None:
    documents = [Document("bad", "text", metadata=metadata), Document("good", "text")]
    (rejection,) = filled.add(documents, np.ones((2, 2), np.float32))
    assert rejection.field == field
    assert '"bad"' in rejection.record
    filled.commit()
    assert filled.count() == 4


@pytest.mark.parametrize("text", ["flea \ud800", "\ud800"], ids=ascii)
def test_half_a_character_in_a_query_is_refused_as_in_a_document(filled: Engine, text: str) -> None:
    with pytest.raises(UsageError, match="surrogate"):
        by_text(filled, [text], 5)


@pytest.mark.parametrize("text", ["flea\0sea", "\0"], ids=ascii)
def test_a_control_character_in_a_query_separates_words(filled: Engine, text: str) -> None:
    expected = sorted(word for word in ("flea", "sea") if word in text)
    found = sorted(id for id in by_text(filled, [text], 5)[0].ids if id != "dog")
    assert found == expected


@pytest.mark.parametrize(
    "filter",
    [
        Term("lang", "a\ud800"),
        Terms("lang", ("en", "\udc80")),
        Range("lang", gte="\ud800"),
        Term("\ud800", 1),
        Exists("\ud800"),
        Not(Term("lang", "\ud800")),
        Or((Term("lang", "en"), Term("lang", "\ud800"))),
        Term(5, 1),  # type: ignore[arg-type]
        Term(["lang"], "en"),  # type: ignore[arg-type]
        And(("lang",)),  # type: ignore[arg-type]
    ],
    ids=ascii,
)
def test_a_filter_with_a_bad_text_is_an_error_in_words(filled: Engine, filter: Filter) -> None:
    for search in (
        lambda: by_text(filled, ["sea"], 5, filter),
        lambda: by_vector(filled, VECTORS, 5, filter),
        lambda: by_both(filled, ["sea"], VECTORS[:1], 5, filter=filter),
    ):
        with pytest.raises(FilterError) as caught:
            search()
        str(caught.value).encode()


@pytest.mark.parametrize("value", ["nul\0", "two\nlines", " ", "", "東京", "'"], ids=ascii)
def test_any_other_text_can_be_a_value_and_be_filtered_by(filled: Engine, value: str) -> None:
    filled.add([Document("new", "waves", metadata={"lang": value})], np.ones((1, 2), np.float32))
    filled.commit()
    assert ids(by_text(filled, ["waves"], 5, Term("lang", value))[0]) == ["new"]
