from __future__ import annotations

import pytest

from hybrid_search.analysis import ANALYZERS, analyzer
from hybrid_search.errors import ConfigError


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


def test_an_unknown_analyzer_is_named() -> None:
    with pytest.raises(ConfigError, match="analyzer is 'klingon'; it must be one of english, plain"):
        analyzer("klingon")
    assert sorted(ANALYZERS) == ["english", "plain"]
