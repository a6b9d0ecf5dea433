"""Texts of other languages: how they are cut, which language a text seems to have, and where it matched."""

from __future__ import annotations

import pytest

from hybrid_search.analysis import ANALYZERS, analyzer, analyzer_of, asked_terms, language_of, languages, seen_in
from hybrid_search.errors import ConfigError
from hybrid_search.highlights import marked
from hybrid_search.types import Hit

CUT = [
    ("cjk", "東京都の天気", ["東京", "京都", "都の", "の天", "天気"]),
    ("cjk", "猫 Tower東京parseData", ["猫", "tower", "東京", "parsedata", "parse", "data"]),
    ("cjk", "ｶﾞｽ会社 서울역", ["ガス", "ス会", "会社", "서울", "울역"]),
    ("any", "Café Straße Ὀδός ёлка", ["cafe", "strasse", "οδοσ", "елка"]),
    ("any", "كِتَاب أحمد", ["كتاب", "احمد"]),
    ("any", "東京都", ["東京", "京都"]),
    ("de", "Größe der Bäume", ["gross", "der", "baum"]),
    ("de", "Prüfsumme Prüfsummen BAUM Baums", ["prufsumm", "prufsumm", "baum", "baum"]),
    ("de", "neueste neuen Lehrern Test des", ["neu", "neu", "lehr", "test", "des"]),
    ("fr", "l'été français", ["l", "ete", "francai"]),
    ("fr", "données donnée donné portes porte", ["donn", "donn", "donn", "port", "port"]),
    ("es", "libros libro canciones canción", ["libr", "libr", "cancion", "cancion"]),
    ("nl", "boeken boek katten kat", ["boek", "boek", "kat", "kat"]),
    ("sv", "bilarna bilens bil år", ["bil", "bil", "bil", "år"]),
    ("no", "husene husets hus på", ["hus", "hus", "hus", "på"]),
    ("da", "husenes huset hus år", ["hus", "hus", "hus", "år"]),
    ("fi", "öitä metsässä metsään taloissa talon", ["öitä", "mets", "mets", "talo", "talo"]),
    ("it", "la velocità delle città", ["la", "veloc", "dell", "citt"]),
    ("tr", "kitaplar İstanbul", ["kitap", "istanbul"]),
    ("ru", "красивая", ["красив"]),
    ("en", "running", ["run"]),
]


@pytest.mark.parametrize(("language", "text", "terms"), CUT)
def test_a_text_is_cut_as_its_language_is(language: str, text: str, terms: list[str]) -> None:
    assert analyzer(analyzer_of(language)).terms_of()(text) == terms
    assert asked_terms(analyzer(analyzer_of(language)))(text) == terms


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        (["東京は日本の首都です。" * 30], "cjk"),
        (["東京"], "cjk"),
        (["서울은 대한민국의 수도이다. " * 20], "cjk"),
        (["Москва столица России. " * 20], "any"),
        (["हिन्दी भारत की राजभाषा है। " * 20], "any"),
        (
            ["Der Hund ist nicht im Haus und die Katze auf dem Dach. ", "Das Wetter wird morgen schön und warm. "] * 9,
            "any",
        ),
        (["Kissa on katolla, ja koira ei ole talossa, mutta se on myös hyvä. "] * 9, "any"),
        (["The dog is not in the house and the cat is on the roof. "] * 9, "en"),
        (["The German sentence der Hund und die Katze was in the book that we read. "] * 9, "en"),
        (["Scurvy; rickets; pellagra; vitamin deficiency syndromes; "] * 9, "en"),  # no common words at all
        (["def f(x): return [print(y) for y in x] "] * 9, "en"),
        (["Ja, und?"], "en"),  # too short to tell
        ([], "en"),
    ],
)
def test_only_what_is_plainly_not_english_is_taken_for_another_language(texts: list[str], language: str) -> None:
    assert seen_in(texts) == language


def test_an_unknown_language_is_named_and_every_analyzer_has_one() -> None:
    with pytest.raises(ConfigError, match="language is 'xx'; it must be one of en, ar, da, de"):
        analyzer_of("xx")
    assert {language_of(name) for name in ANALYZERS} == set(languages())
    assert language_of("english_folded") == "en"
    assert language_of("plain_folded") == "any"
    assert [language_of(older) for older in ("german", "dutch", "finnish")] == ["de", "nl", "fi"]


def test_an_index_of_older_days_keeps_whole_words() -> None:
    assert analyzer("german").terms_of()("Größe der Bäume") == ["grösse", "der", "bäume"]
    assert analyzer("french").terms_of()("les données") == ["les", "donnees"]


@pytest.mark.parametrize(
    ("language", "query", "text", "marks"),
    [
        ("cjk", "京都府", "東京都と京都府", ["京都", "京都府"]),
        ("cjk", "ガス", "ｶﾞｽ、ガス会社", ["ｶﾞｽ", "ガス"]),
        ("cjk", "東京", "東京Tower", ["東京"]),
        ("any", "cafe كتاب", "Café كِتَاب", ["Café", "كِتَاب"]),
        ("de", "baum", "parseBaum", ["Baum"]),
        ("de", "Bäume", "Ein Baum, zwei Bäume, des Baums, BAUMES, Baumarkt", ["Baum", "Bäume", "Baums", "BAUMES"]),
        ("sv", "bil", "bilarna och bilder", ["bilarna"]),
        ("any", "हिन्दी", "यह हिन्दी है", ["हिन्दी"]),
    ],
)
def test_marks_are_those_of_the_language(language: str, query: str, text: str, marks: list[str]) -> None:
    [[hit]] = marked([query], [[Hit("a", 1, 1.0, text, "")]], analyzer(analyzer_of(language)))
    assert [text[start:end] for start, end in hit.highlights.text] == marks
    assert [hit.highlights.snippet[start:end] for start, end in hit.highlights.in_snippet] == marks
