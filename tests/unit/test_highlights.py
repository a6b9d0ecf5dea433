"""Where a hit matched: which words are marked, and which part of a text is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.analysis import analyzer
from hybrid_search.highlights import marked
from hybrid_search.types import Hit

ENGLISH = analyzer("english_parts")


def highlights(query, text, title=""):
    [[hit]] = marked([query], [[Hit("a", 1, 1.0, text, title)]], ENGLISH)
    return hit.highlights


def test_that_a_query_is_too_long_is_for_its_search_to_say(caplog):
    highlights(" ".join(f"w{number}" for number in range(1_000)), "w1")
    assert caplog.text == ""


def words(query, text):
    return [text[start:end] for start, end in highlights(query, text).text]


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("run", "Running dogs RUN; runner, rerun.", ["Running", "RUN"]),
        ("cafe", "Café? cafe!", ["cafe"]),
        ("café", "A Cafe\u0301, and CAFÉ.", ["Cafe\u0301", "CAFÉ"]),
        ("file", "a ﬁle and co\u00adoperate", ["ﬁle"]),
        ("cooperate", "co\u00adoperates", ["co\u00adoperates"]),
        ("parse_http", "parse_http2 parse http", ["parse", "parse", "http"]),
        ("straße", "STRASSE Straße", ["STRASSE", "Straße"]),
        ("skies dying", "sky, die, dyed", ["sky", "die"]),
        ("3.11", "Python 3.11, 3.12", ["3", "11", "3"]),
        ("http", "parseHTTPResponse, HTTP; XMLHttpRequest", ["HTTP", "HTTP", "Http"]),
        ("parsing responses", "parseHTTPResponse", ["parse", "Response"]),
        ("parsehttpresponse", "parseHTTPResponse parse", ["parseHTTPResponse"]),
        ("parseHTTPResponse", "parseHTTPResponse http", ["parseHTTPResponse", "http"]),
        ("youtube", "YouTube, you, tube", ["YouTube"]),
        ("latte", "caféLatte cafe\u0301Latte", ["Latte", "Latte"]),
        ("", "nothing asked", []),
        ("zzz", "", []),
    ],
)
def test_the_words_are_those_whose_terms_bm25_counts(query, text, expected):
    assert words(query, text) == expected


def test_a_title_is_marked_too():
    assert highlights("flea", "", "On fleas").title == ((3, 8),)


def test_a_snippet_shows_the_most_different_words_on_one_line():
    text = "Fleas. Fleas. " + "filler " * 60 + "a flea\n\n  and a   cat. " + "filler " * 60
    found = highlights("cat flea", text)
    assert (found.snippet[:7], found.snippet[-7:]) == ("…filler", "filler…")
    assert "a flea    and a   cat. filler" in found.snippet
    assert [found.snippet[start:end] for start, end in found.in_snippet] == ["flea", "cat"]
    assert len(found.snippet) < 210


def test_without_a_match_the_snippet_is_the_beginning():
    assert highlights("zzz", "One\ntwo.").snippet == "One two."
    assert highlights("zzz", "word " * 100).snippet == "word " * 39 + "word…"


def test_the_passages_of_a_hit_are_marked_as_it_is():
    hit = Hit("a", 1, 1.0, "flea", passages=(Hit("a#p1", 1, 1.0, "flea"), Hit("a#p2", 2, 1.0, "the flea")))
    [[found]] = marked(["flea"], [[hit]], ENGLISH)
    assert [one.highlights.text for one in found.passages] == [((0, 4),), ((4, 8),)]


TEXTS = st.text(st.sampled_from("abABÉe\u0301 \n.ﬁßſıİ漢 1_-\u00ad\U0001f642"), max_size=600)


@given(TEXTS, TEXTS)
def test_of_any_text_the_places_are_words_of_the_query_and_the_snippet_says_the_same(query, text):
    found = highlights(query, text)
    asked = set(ENGLISH.terms_of()(query))
    for start, end in found.text:
        assert asked & set(ENGLISH.terms_of()(text[start:end]))
    assert list(found.text) == sorted(found.text)
    assert len(found.snippet) <= 260
    assert "\n" not in found.snippet
    for start, end in found.in_snippet:
        assert found.snippet[start:end] in text
