"""Names with inner capitals, as programs have them: whole, and by their parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.analysis import asked_terms, counted_words
from hybrid_search.analysis.analyzers import Analyzer
from hybrid_search.analysis.identifiers import has_parts, parts_of

PLAIN = Analyzer("plain_parts", folds=True, parts=True)

NAMES = [
    ("parseHTTPResponse", "parse HTTP Response"),
    ("getURL", "get URL"),
    ("XMLHttpRequest", "XML Http Request"),
    ("utf8Decode", "utf8 Decode"),
    ("sha256Sum", "sha256 Sum"),
    ("ipv4CIDR", "ipv4 CIDR"),
    ("HTTP2Server", "HTTP2 Server"),
    ("3DPrinter", "3D Printer"),
    ("iPhone", "i Phone"),
    ("YouTube", "You Tube"),
    ("isA", "is A"),
    ("größeMax", "größe Max"),
    ("東京Tower", "東京 Tower"),
    ("\U00020000Tower", "\U00020000 Tower"),
    ("a" * 50 + "B" * 50, "a" * 50 + " " + "B" * 50),
]
WHOLE = ["Parse", "HTTP", "DNAs", "URLs", "pH", "CYP2D6", "B12", "parsedata", "2D", "a" * 51 + "B" * 50, "T", "Éa"]


@pytest.mark.parametrize(("name", "parts"), NAMES)
def test_a_name_is_itself_and_its_parts(name: str, parts: str) -> None:
    assert has_parts(name)
    assert parts_of(name) == parts.split()
    assert PLAIN.terms_of()(f"A {name}.") == PLAIN.terms_of()(f"a {name.lower()} {parts.lower()}")


@pytest.mark.parametrize("word", WHOLE)
def test_other_words_have_no_parts(word: str) -> None:
    assert parts_of(word) == [word]
    assert len(PLAIN.terms_of()(word)) == 1


def test_an_underscore_separates_as_ever() -> None:
    terms = PLAIN.terms_of()("parse_HTTP_fromData")
    assert terms == ["parse", "http", "fromdata", "from", "data"]


def test_a_composed_letter_is_in_the_word_however_it_is_written() -> None:
    assert PLAIN.terms_of()("cafe\u0301Latte E\u0301a") == ["cafélatte", "café", "latte", "éa"]


def test_the_mark_of_the_server_in_a_text_is_a_blank() -> None:
    assert PLAIN.terms_of()("a\ue000b fooBar\ue000fooBar") == ["a", "b", *["foobar", "foo", "bar"] * 2]


def test_a_query_is_split_as_a_document_is_and_its_function_words_left_out() -> None:
    english = Analyzer("english_parts", stemmer="english", folds=True, parts=True, asked_in="english")
    assert asked_terms(english)("YouTube") == ["youtub", "tube"]
    assert asked_terms(english)("how do I parseHTTPResponse") == ["parsehttprespons", "pars", "http", "respons"]
    assert asked_terms(english)("youtube") == ["youtub"]


def test_of_a_long_query_the_parts_count_as_words() -> None:
    names = [f"a{letters}B{letters}" for letters in (chr(97 + n % 26) * (n // 26 + 1) for n in range(400))]
    counted = counted_words(" ".join(names), PLAIN, 800)
    assert counted is not None
    assert len(counted) == 800
    assert counted_words("aBa " * 300, PLAIN, 800) == {"aba": 300, "a": 300, "ba": 300}


LETTERS = st.text(st.sampled_from("aabzABZ019éß東"), max_size=12)


@given(LETTERS)
def test_the_parts_of_any_word_are_the_word(word: str) -> None:
    assert "".join(parts_of(word)) == word
    assert has_parts(word) or len(parts_of(word)) == 1


@given(st.lists(LETTERS, max_size=6))
def test_any_text_has_the_terms_that_it_has_without_parts(words: list[str]) -> None:
    with_parts = PLAIN.terms_of()(" ".join(words))
    without = Analyzer("plain_folded", folds=True).terms_of()(" ".join(words))
    kept = iter(with_parts)
    assert all(term in kept for term in without)
