from __future__ import annotations

import pytest

from hybrid_search import mappings
from hybrid_search.analysis import ANALYZERS, Asked, analyzer, asked, asked_terms
from hybrid_search.errors import ConfigError
from hybrid_search.mappings.folding import folded
from hybrid_search.settings.index import IndexSettings


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
    assert analyzer("english_folded").terms_of()("parseHTTPResponse ΟΔΟΣ") == ["parsehttprespons", "οδοσ"]
    assert IndexSettings().analyzer == "english_parts"


def test_plain_keeps_the_endings() -> None:
    assert analyzer("plain").terms_of()("Foxes RUNNING") == ["foxes", "running"]


def test_opensearch_gets_the_same_chain() -> None:
    # The tokenizer and the stemmer that opensearch ranks with like tantivy's simple tokenizer and english stemmer.
    assert analyzer("english").for_opensearch() == {
        "tokenizer": {"letters_and_digits": {"type": "pattern", "pattern": "[^\\p{IsAlphabetic}\\p{N}]+"}},
        "filter": {
            "english_stemmer": {"type": "stemmer", "language": "porter2"},
            "english_function_words": {"type": "stop", "stopwords": FUNCTION_WORDS},
        },
        "analyzer": {
            "english": {
                "type": "custom",
                "tokenizer": "letters_and_digits",
                "filter": ["lowercase", "english_stemmer"],
            },
            "english_asked": {
                "type": "custom",
                "tokenizer": "letters_and_digits",
                "filter": ["lowercase", "english_function_words", "english_stemmer"],
            },
        },
    }
    assert analyzer("plain").for_opensearch()["analyzer"]["plain"]["filter"] == ["lowercase"]
    assert list(analyzer("plain").for_opensearch()["analyzer"]) == [analyzer("plain").for_queries] == ["plain"]
    folding = analyzer("english_folded").for_opensearch()
    assert analyzer("english_folded").for_queries == "english_folded_asked"
    assert folding["analyzer"]["english_folded"] == {
        "type": "custom",
        "char_filter": ["fold_characters", "fold_sequences"],
        "tokenizer": "letters_and_digits",
        "filter": ["lowercase", "english_folded_stemmer"],
    }
    rules = folding["char_filter"]["fold_characters"]["mappings"]
    assert {"ﬁ=>fi", "\u00ad=>", "Σ=>σ", "´=>\\u0020\u0301"} <= set(rules)
    assert "e\u0301=>é" in folding["char_filter"]["fold_sequences"]["mappings"]
    parts = analyzer("english_parts").for_opensearch()
    assert parts["analyzer"]["english_parts_asked"] == {
        "type": "custom",
        "char_filter": ["fold_cased_characters", "fold_cased_sequences", "identifiers_whole", "identifiers_parts"],
        "tokenizer": "letters_and_digits",
        "filter": ["lowercase", "english_function_words", "english_parts_stemmer"],
    }
    rules = parts["char_filter"]["fold_cased_characters"]["mappings"]
    assert "É=>é" in rules
    assert "A=>a" not in rules
    assert "\ue000=>\\u0020" in rules
    assert {"e\u0301=>é", "E\u0301=>é"} <= set(parts["char_filter"]["fold_cased_sequences"]["mappings"])


FUNCTION_WORDS = mappings.render("analysis/function_words")["english"]

ASKED = [
    ("How do I cure scurvy?", ["cure", "scurvi"]),
    ("what should I know about my CATARACT", ["cataract"]),
    ("cure scurvy scurvy", ["cure", "scurvi", "scurvi"]),
    ("Ｈｏｗ do bees fly", ["bee", "fli"]),  # in full width
    ("how does vitamin a help", ["vitamin", "a"]),  # "a" and single letters name things
    ("to be or not to be", ["to", "be", "or", "not", "to", "be"]),  # there is nothing else to look for
    ("Who is it?", ["who", "is", "it"]),
    ("the", ["the"]),
    ("?!", []),
    ("", []),
]


@pytest.mark.parametrize(("query", "terms"), ASKED)
def test_a_query_loses_its_function_words_unless_it_has_no_others(query: str, terms: list[str]) -> None:
    assert asked_terms(analyzer("english_folded"))(query) == terms


def test_a_query_without_function_words_is_sent_as_it_is() -> None:
    assert asked("Scurvy,  (cured) ", analyzer("english")) == Asked("Scurvy,  (cured) ")
    assert asked("is Scurvy (cured)?", analyzer("english")) == Asked("scurvy cured")
    assert asked("who is it?", analyzer("english")) == Asked("who is it?", has_subject=False)


def test_a_long_query_counts_its_words_without_function_words() -> None:
    assert asked("the scurvy is " * 900, analyzer("english")) == Asked({"scurvy": 900})
    assert asked("the " * 1_700, analyzer("english")) == Asked({"the": 1_700}, has_subject=False)


def test_plain_text_of_any_language_loses_no_word() -> None:
    assert asked_terms(analyzer("plain_folded"))("how do I die Katze") == ["how", "do", "i", "die", "katze"]
    assert analyzer("english_folded").terms_of()("how do I") == ["how", "do", "i"]  # of a document


def test_function_words_are_as_a_text_is_split_and_listed_once() -> None:
    assert [word for text in FUNCTION_WORDS for word in analyzer("plain_folded").words(text)] == FUNCTION_WORDS
    assert sorted(set(FUNCTION_WORDS)) == FUNCTION_WORDS


def test_an_unknown_analyzer_is_named() -> None:
    with pytest.raises(ConfigError, match="analyzer is 'klingon'; it must be one of any, arabic, cjk, danish"):
        analyzer("klingon")
    assert {"english", "english_folded", "english_parts", "plain", "plain_folded"} <= ANALYZERS.keys()
