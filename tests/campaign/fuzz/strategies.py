"""Strategies for what users, files and servers give: texts, ids, JSON, documents, queries."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from hybrid_search import Document

__all__ = ["ANY", "DOCUMENTS", "FIELDS", "IDS", "JSON", "METADATA", "NUMBERS", "QUERIES", "STRANGE", "TEXTS", "WORDS"]

WORDS = ("cat", "kitten", "dog", "puppy", "car", "tree", "sleeps", "the", "naïve", "café", "ﬁle", "東京", "C++", "a.b")
"""Some of them on the axes of :class:`fakes.AxisEncoder`, some outside, some that analysers split."""

_TRICKY = (
    "",
    " ",
    "\x00",
    "\n",
    "a\x00b",
    "a\nb",
    "a/b",
    "../x",
    "\ud800",
    "a\udfffb",
    "\u202e",
    "e\u0301",
    "\ufb01",
    "İ",
    "ß",
    "\U0001f642",
    "\ufeff",
    "\u00ad",
    "%s",
    "%00",
    "'",
    '"',
    "\\",
    "*",
    "a" * 512,
    "a" * 513,
    "é" * 256,
    "é" * 300,
    "null",
    "None",
    "_id",
    "0",
    "-1",
    "1e400",
    "NaN",
)

_ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)  # lone surrogates too
_SENTENCES = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)

TEXTS = st.one_of(_SENTENCES, _SENTENCES, _ANY_TEXT, st.sampled_from(_TRICKY))
IDS = st.one_of(
    st.sampled_from([f"d{number}" for number in range(12)]), st.text(max_size=6), _ANY_TEXT, st.sampled_from(_TRICKY)
)

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.floats(-4, 4).map(lambda one: round(one, 1)),
    st.sampled_from(
        [
            0,
            0.0,
            -0.0,
            1e400,
            -math.inf,
            math.nan,
            2**53,
            2**53 + 1,
            2**63 - 1,
            2**63,
            -(2**63),
            -(2**63) - 1,
            10**400,
            5e-324,
            1.7976931348623157e308,
            9.5,
            10,
        ]
    ),
)

STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    TEXTS,
    st.binary(max_size=4),
    st.just(()),
    st.just([]),
    st.just({}),
    st.sampled_from([object(), int, len, {1}, b"x", 1j, ["x"], ("x",), {"x": 1}, [1], (None,), range(3)]),
)
"""Of any type, the ones that Python has and JSON has not included."""

JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)

ANY = st.one_of(JSON, STRANGE)

FIELDS = ("lang", "year", "price", "open", "tags", "a.b", "x y", "", "_id", "é")
"""Names of metadata fields, most of them usual."""

_USUAL = st.fixed_dictionaries(
    {},
    optional={
        "lang": st.sampled_from(["en", "de", "", "EN", "é", "e\u0301", "en "]),
        "year": st.integers(1998, 2003),
        "price": st.one_of(
            st.floats(0, 4).map(lambda one: round(one, 1)), st.sampled_from([-0.0, 0.0, 9.99, 10, 1e300])
        ),
        "open": st.booleans(),
        "tags": st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=3).map(tuple),
        "a.b": st.sampled_from(["x", "y"]),
        "x y": st.integers(0, 2),
    },
)
METADATA = st.one_of(
    _USUAL, _USUAL, _USUAL, st.dictionaries(st.one_of(st.sampled_from(FIELDS), TEXTS), ANY, max_size=3), STRANGE
)

_USUAL_DOCUMENTS = st.builds(Document, st.sampled_from([f"d{n}" for n in range(40)]), _SENTENCES, _SENTENCES, _USUAL)
DOCUMENTS = st.one_of(
    _USUAL_DOCUMENTS,
    _USUAL_DOCUMENTS,
    st.builds(Document, IDS, TEXTS, TEXTS, METADATA),
    st.builds(Document, st.one_of(IDS, STRANGE), st.one_of(TEXTS, STRANGE), st.one_of(TEXTS, STRANGE), METADATA),
)

_OPERATORS = st.lists(
    st.one_of(
        st.sampled_from(WORDS),
        st.sampled_from(
            [
                "AND",
                "OR",
                "NOT",
                "(",
                ")",
                '"',
                "~",
                "*",
                "?",
                "+",
                "-",
                "^2",
                "field:",
                "/x/",
                "[a TO b]",
                "{",
                "}",
                ":",
                "\\",
                "&&",
                "||",
                "!",
            ]
        ),
    ),
    max_size=10,
).map(" ".join)
_LONG = st.builds(
    lambda words, times: " ".join(words * times),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    st.sampled_from([400, 1_030, 3_000]),
)
QUERIES = st.one_of(
    _SENTENCES, _SENTENCES, TEXTS, _OPERATORS, st.one_of(_OPERATORS, _OPERATORS, _OPERATORS, _LONG)
).map(lambda text: text.encode("utf-8", "replace").decode())  # one with a lone surrogate is refused
