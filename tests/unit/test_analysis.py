from __future__ import annotations

import pytest

import mappings
from hybrid_search.analysis import ANALYZERS, analyzer
from hybrid_search.errors import ConfigError
from hybrid_search.settings.index import IndexSettings
from mappings.folding import folded


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The Foxes were RUNNING", ["the", "fox", "were", "run"]),
        ("don't e-mail x_y", ["don", "t", "e", "mail", "x", "y"]),
        ("Café 🙂 naïve", ["café", "naïv"]),
        ("東京タワー 3.5%", ["東京タワー", "3", "5"]),
        ("to be to be", ["to", "be", "to", "be"]),
        ("🙂 … !", []),
    ],
)
def test_english_cuts_a_text_into_stems(text: str, terms: list[str]) -> None:
    assert analyzer("english").terms_of()(text) == terms


SPELLINGS = [
    ("cafe\u0301 CAFE\u0301 café CAFÉ", ["café"] * 4),
    ("ﬁle ﬂoor ﬀ", ["file", "floor", "ff"]),
    ("ＡＰＩ ｋｅｙ １２", ["api", "key", "12"]),
    ("ΟΔΟΣ οδος Οδός", ["οδοσ", "οδοσ", "οδόσ"]),
    ("co\u00adop\u200ber\u2060ate", ["cooperate"]),
    ("İstanbul I\u0307stanbul i\u0307stanbul Istanbul", ["istanbul"] * 4),
    ("Straße STRASSE STRAẞE", ["strasse"] * 3),
    ("ｶﾞｽ ガス カ\u3099ス", ["ガス"] * 3),
    ("m² ½ ① ㎏ ™ № ℌ 𝐛𝐨𝐥𝐝", ["m2", "1", "2", "1", "kg", "tm", "no", "h", "bold"]),
    ("\u1ea5 \u00e2\u0301 a\u0302\u0301 A\u0302\u0301", ["ấ"] * 4),  # two marks, composed in part or not at all
    ("a\u0323\u0302 a\u0302\u0323 \u1ead", ["ậ"] * 3),  # in either order
    ("don´t don’t don't", ["don", "t"] * 3),
    ("ڪتاب ﻛﺘﺎﺏ", ["ڪتاب", "كتاب"]),  # presentation forms are the letters; another letter is another letter
    ("plain ASCII", ["plain", "ascii"]),
]


@pytest.mark.parametrize(("text", "terms"), SPELLINGS)
def test_all_spellings_of_a_word_are_one_term(text: str, terms: list[str]) -> None:
    assert analyzer("plain_folded").terms_of()(text) == terms


def test_folding_comes_before_the_stem() -> None:
    assert analyzer("english_folded").terms_of()("ＦＩＬＥＳ ﬁling naïve nai\u0308ve") == [
        "file",
        "file",
        "naïv",
        "naïv",
    ]


def test_what_is_folded_stays_as_it_is() -> None:
    prepared = analyzer("plain_folded").prepared
    everything = " ".join(chr(n) for n in range(0x20, 0x30000) if not 0xD800 <= n < 0xE000)
    assert prepared(prepared(everything)) == prepared(everything)


def test_the_table_is_what_unicode_says() -> None:
    # Unicode never changes these forms of a character that it has assigned, so any version will do.
    table = mappings.render("analysis/folding")
    assert {one: folded(one) for one in table["characters"]} == table["characters"]
    assert {one: folded(one) for one in table["sequences"]} == table["sequences"]
    assert len(table["characters"]) > 5_500
    assert len(table["sequences"]) > 800


def test_analyzers_of_indexes_made_before_are_as_they_were() -> None:
    assert analyzer("english").terms_of()("ﬁle cafe\u0301 ΟΔΟΣ") == ["ﬁle", "cafe", "οδοσ"]
    assert IndexSettings().analyzer == "english_folded"


def test_plain_keeps_the_endings() -> None:
    assert analyzer("plain").terms_of()("Foxes RUNNING") == ["foxes", "running"]


def test_opensearch_gets_the_same_chain() -> None:
    # The tokenizer and the stemmer that opensearch ranks with like tantivy's simple tokenizer and english stemmer.
    assert analyzer("english").for_opensearch() == {
        "tokenizer": {"letters_and_digits": {"type": "pattern", "pattern": "[^\\p{IsAlphabetic}\\p{N}]+"}},
        "filter": {"english_stemmer": {"type": "stemmer", "language": "porter2"}},
        "analyzer": {
            "english": {
                "type": "custom",
                "tokenizer": "letters_and_digits",
                "filter": ["lowercase", "english_stemmer"],
            }
        },
    }
    assert analyzer("plain").for_opensearch()["analyzer"]["plain"]["filter"] == ["lowercase"]
    folding = analyzer("english_folded").for_opensearch()
    assert folding["analyzer"]["english_folded"] == {
        "type": "custom",
        "char_filter": ["fold_characters", "fold_sequences"],
        "tokenizer": "letters_and_digits",
        "filter": ["lowercase", "english_folded_stemmer"],
    }
    rules = folding["char_filter"]["fold_characters"]["mappings"]
    assert {"ﬁ=>fi", "\u00ad=>", "Σ=>σ", "´=>\\u0020\u0301"} <= set(rules)
    assert "e\u0301=>é" in folding["char_filter"]["fold_sequences"]["mappings"]


def test_an_unknown_analyzer_is_named() -> None:
    with pytest.raises(ConfigError, match="analyzer is 'klingon'; it must be one of english, english_folded, plain"):
        analyzer("klingon")
    assert sorted(ANALYZERS) == ["english", "english_folded", "plain", "plain_folded"]
