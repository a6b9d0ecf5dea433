"""The languages that an index can be made for, and which a text seems to have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from hybrid_search import mappings
from hybrid_search.analysis.analyzers import Analyzer, analyzer
from hybrid_search.errors import ConfigError

__all__ = ["analyzer_of", "language_of", "languages", "seen_in"]

_ENGLISH, _CJK, _ANY = "en", "cjk", "any"
_LEAST_LETTERS = 200
_FOREIGN_SHARE = 0.5
_CJK_SHARE = 0.2
_LEAST_COMMON = 0.08


@cache
def languages() -> Mapping[str, str]:
    """Return the name of each language's analyzer."""
    return mappings.render("analysis/languages")


def analyzer_of(language: str) -> str:
    """Return the name of a language's analyzer.

    :raises ConfigError: if there is no such language.
    """
    try:
        return languages()[language]
    except KeyError:
        raise ConfigError(f"language is {language!r}; it must be one of {', '.join(languages())}") from None


def language_of(name: str) -> str:
    """Return the language of an analyzer, those of older indexes too."""
    known = {_stock(of): language for language, of in languages().items()}
    return known.get(_stock(analyzer(name).name), _ANY)


def _stock(name: str) -> str:
    """Return what the analyzers of a language have in common: *german* of ``german_light``."""
    return name.partition("_")[0]


def seen_in(texts: Iterable[str]) -> str:
    """Return ``cjk`` or ``any`` if the texts are plainly not English, else ``en``.

    By the letters' scripts; and in Latin letters, by whether they have common words of other languages
    (``mappings/analysis/common_words.json``) and much fewer of English.
    """
    text = " ".join(texts)
    letters = [letter for letter in text if letter.isalpha()]
    if len(letters) < _LEAST_LETTERS:
        return _CJK if letters and _share_of_cjk(letters) > _FOREIGN_SHARE else _ENGLISH
    if _share_of_cjk(letters) > _CJK_SHARE:
        return _CJK
    if sum(letter > "\u024f" for letter in letters) > _FOREIGN_SHARE * len(letters):
        return _ANY
    return _ANY if _is_foreign(_splitter().words(text)) else _ENGLISH


def _is_foreign(words: list[str]) -> bool:
    common = mappings.render("analysis/common_words")
    english = sum(word in set(common["en"]) for word in words)
    others = max(sum(word in set(those) for word in words) for name, those in common.items() if name != _ENGLISH)
    return others > 2 * english and others > _LEAST_COMMON * len(words)


def _share_of_cjk(letters: list[str]) -> float:
    return sum("\u3041" <= letter <= "\u9fff" or "\uac00" <= letter <= "\ud7a3" for letter in letters) / len(letters)


def _splitter() -> Analyzer:
    return analyzer("plain_folded")
