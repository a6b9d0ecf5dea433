"""Where a hit matched: which words are marked, and which part of a text is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hybrid_search
from hybrid_search.analysis import analyzer, asked_terms
from hybrid_search.highlights import beginnings, marked
from hybrid_search.types import Hit

ENGLISH = analyzer("english_parts")


def highlights(query, text, title="", analyzer=ENGLISH):
    [[hit]] = marked([query], [[Hit("a", 1, 1.0, text, title)]], analyzer)
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


WORD = re.compile(r"[^\W_](?:[^\W_]|[\u0300\u0301\u0327\u064b\u093e\u094d\u0e31\u3099\u00ad\u200d])*")
WORDS = """
    parseHTTPResponse HTTP XMLHttpRequest utf8Decode DNAs running Runs run die dying tie tying sky skies happy Happily
    hoping hope Use using rerun respond responsibilities x C 3 11 - _ . ' a file cafe CAFE istanbul kelvin cooperate
    gr\u00f6\u00dfeMax Gr\u00f6\u00dfe gr\u00f6sse caf\u00e9 Caf\u00e9 caf\u00e9Latte latte na\u00efve \u00e9 \u0301
    \u6771\u4eac\u90fd \u6771\u4eac \u30ab\u3099\u30b9 \ufb01le \u0130stanbul \u212aelvin co\u00adoperates
    \u0441\u043b\u043e\u0432\u043e \u2014 \u201c \u2026 \U0001f642
"""
PIECES = st.lists(st.sampled_from([*WORDS.split(), " ", " ", "\n"]), max_size=40).map("".join)


def slowly(query, text, analyzer):
    """Look at every word of a text, and let the analyzer say which terms it and its parts have."""
    terms_of, asked = analyzer.terms_of(), set(asked_terms(analyzer, log=False)(query))
    found = []
    for word in WORD.finditer(text):
        runs, spans = analyzer.runs_of(word[0]), []
        for start, end in runs:
            run = word[0][start:end]
            terms, parts = terms_of(run), analyzer.parts_of(run)
            if asked.isdisjoint(terms):
                continue
            places, at = [], start
            for part in parts:
                places += [(at, at + len(part))] * (not asked.isdisjoint(terms_of(part)))
                at += len(part)
            spans += [(start, end)] if len(parts) == 1 or terms[0] in asked or not places else places
        for start, end in sorted(spans):
            if len(runs) > 1 and found and start + word.start() < found[-1][1]:
                start = found.pop()[0] - word.start()
            found.append((word.start() + start, word.start() + end))
    return tuple(found)


@pytest.mark.parametrize(
    "name",
    ["english_parts", "english", "plain", "german_light", "german", "turkish", "french_light", "finnish_light", "cjk"],
)
def test_the_quick_way_marks_what_looking_at_every_word_marks(name):
    @given(PIECES, PIECES)
    def same(query, text):
        assert highlights(query, text, analyzer=analyzer(name)).text == slowly(query, text, analyzer(name))

    same()


def test_every_word_of_english_begins_as_its_stem_says():
    known = json.loads(Path(hybrid_search.__file__).with_name("shipped").joinpath("en/tokenizer.json").read_text())
    words = [word for word in known["model"]["vocab"] if word.isascii() and word.isalnum()]
    endings = [
        "s",
        "ying",
        "es",
        "ies",
        "ed",
        "ing",
        "y",
        "ly",
        "ability",
        "ization",
        "fulness",
        "ously",
        "ational",
        "ied",
    ]
    terms_of = ENGLISH.terms_of()
    assert len(words) > 10_000
    for word in words[:: len(words) // 4_000]:
        for whole in [word, *(word.rstrip("eyi") + ending for ending in endings)]:
            [term] = terms_of(whole)
            assert f" {whole} ".startswith(beginnings(term, ENGLISH)), (whole, term)
    of = {word: beginnings(*terms_of(word), ENGLISH) for word in ("dying", "happy", "hoping", "sets", "a")}
    assert of == {
        "dying": (" d",), "happy": (" happ",), "hoping": (" hop",), "sets": (" set",), "a": (" a ", " aed", " aing")
    }  # fmt: skip
