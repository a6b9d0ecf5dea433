"""A new index has the language that is asked for, or that its first texts seem to have."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybrid_search
from hybrid_search.errors import ConfigError, IndexExists
from hybrid_search.loading.load import LoadOptions, load
from hybrid_search.loading.sources import Corpus
from hybrid_search.loading.target import create
from hybrid_search.models import inspect_index
from hybrid_search.types import Document

JAPANESE = [Document(f"d{n}", f"東京都の天気は晴れです。京都の猫は{n}匹います。") for n in range(20)]
ENGLISH = [Document(f"d{n}", f"The weather is fine, and there are {n} cats.") for n in range(20)]


def loaded(folder: Path, documents: list[Document], language: str | None = None) -> str:
    options = LoadOptions(lexical_only=True, language=language)
    return load(Corpus("texts", lambda: iter(documents)), folder / "index", options=options).language


def test_the_first_texts_decide_and_info_says_it(tmp_path: Path) -> None:
    assert loaded(tmp_path, JAPANESE) == "cjk"
    assert inspect_index(str(tmp_path / "index"))["language"] == "cjk"
    with hybrid_search.open(tmp_path / "index") as retriever:
        hits = retriever.search("京都の猫", 5, mode="bm25", highlight=True)
        assert len(hits) == 5
        assert hits[0].highlights is not None
        assert [hits[0].text[start:end] for start, end in hits[0].highlights.text] == ["京都の", "京都の猫"]


def test_english_and_what_is_asked_for_stay_as_they_are(tmp_path: Path) -> None:
    assert loaded(tmp_path / "a", ENGLISH) == "en"
    assert loaded(tmp_path / "b", JAPANESE, "any") == "any"
    assert loaded(tmp_path / "b", ENGLISH) == "any"  # an index keeps its language


def test_another_language_than_the_index_has_is_refused(tmp_path: Path) -> None:
    loaded(tmp_path, ENGLISH)
    with pytest.raises(IndexExists, match="has language en, asked for de"):
        loaded(tmp_path, ENGLISH, "de")
    with pytest.raises(ConfigError, match="language is 'xx'"):
        loaded(tmp_path / "other", ENGLISH, "xx")


def test_an_empty_index_is_made_for_a_language(tmp_path: Path) -> None:
    with create(tmp_path / "index", None, "de") as retriever:
        assert retriever.engine.settings.analyzer == "german_light"
