"""However a word is spelled, BM25 on both engines and the towers take it for the same word."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from asked import by_text
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from node.server import Server

from hybrid_search.analysis import ANALYZERS, analyzer
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.location import Address
from hybrid_search.protocols import Engine
from hybrid_search.settings.index import IndexSettings
from hybrid_search.towers.tokenizer import train_tokenizer
from hybrid_search.types import Document

SPELLINGS = {
    "composed": ("Café", "cafe\u0301"),
    "ligature": ("ﬁle", "file"),
    "width": ("ＡＰＩ ｋｅｙ", "api KEY"),
    "final sigma": ("οδος", "ΟΔΟΣ"),
    "soft hyphen": ("co\u00adoperate", "cooperate"),
    "dotted i": ("İstanbul", "istanbul"),
    "lower dotted i": ("i\u0307stanbul", "İSTANBUL"),
    "sharp s": ("Straße", "STRASSE"),
    "half width": ("ｶﾞｽ", "ガス"),
}

HANGUL = [chr(number) for number in (*range(0x1100, 0x1200), *range(0xAC00, 0xD7A4))]
LETTERS = st.characters(exclude_categories=("Cs", "Cn", "Co"), exclude_characters=HANGUL)
MARKS = st.sampled_from([*map(chr, (0x300, 0x301, 0x302, 0x307, 0x308, 0x323, 0x345, 0x3099, 0xAD, 0x200D))])
TEXTS = st.text(st.one_of(LETTERS, MARKS, st.sampled_from("aeiouAEIOU sßςΣİıﬁ")), max_size=60)
FORMS = st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"])


@pytest.mark.parametrize("kind", SPELLINGS)
def test_a_text_is_found_by_another_spelling_of_its_words(engine: Engine, kind: str) -> None:
    there, asked = SPELLINGS[kind]
    engine.add([Document("there", there), Document("other", "something else")], None)
    engine.commit()
    assert by_text(engine, [asked, there], 5)[0].ids == ("there",)
    assert len({ranking.scores for ranking in by_text(engine, [asked, there], 5)}) == 1


def test_an_index_made_with_the_analyzer_before_is_searched_and_filled_as_it_was(make_engine) -> None:
    engine = make_engine(IndexSettings(analyzer="english"))
    engine.add([Document("cafe", "Café files"), Document("ligature", "ﬁle")], None)
    engine.commit()
    found = by_text(engine, ["café", "file", "ﬁle"], 5)
    assert [ranking.ids for ranking in found] == [("cafe",), ("cafe",), ("ligature",)]
    assert engine.settings.analyzer == "english"


@pytest.fixture(scope="module")
def asked_server(opensearch_server: Server) -> Iterator[Client]:
    address = Address.parse(f"{opensearch_server.location}/spellings")
    with closing(Client(address)) as client:
        client.call("DELETE", "/spellings", ignore_unavailable="true")
        whole: dict[str, dict[str, object]] = {}
        for one in ANALYZERS.values():
            for part, entries in one.for_opensearch().items():
                whole.setdefault(part, {}).update(entries)
        client.call("PUT", "/spellings", {"settings": {"analysis": whole}})
        yield client
        client.call("DELETE", "/spellings")


def terms_on(client: Client, name: str, text: str) -> list[str]:
    found = client.call("POST", "/spellings/_analyze", {"analyzer": name, "text": text or " "})["tokens"]
    return [one["token"] for one in found]


# The stemmers are of different versions (architecture.md), so words are compared as they are before their stems.
@pytest.mark.opensearch
def test_a_server_makes_the_same_terms_of_any_text(asked_server: Client) -> None:
    @given(TEXTS, FORMS)
    @example("e\u0301\u0323 \u1e9b\u0323 \u1100\u1161", "NFD")
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(text: str, form: str) -> None:
        text = unicodedata.normalize(form, text)  # type: ignore[arg-type]
        assert terms_on(asked_server, "plain_folded", text) == analyzer("plain_folded").terms_of()(text)

    holds()


@pytest.mark.opensearch
def test_a_server_makes_the_same_term_of_every_character_there_is(asked_server: Client) -> None:
    everything = [chr(n) for n in range(0x20, 0x110000) if unicodedata.category(chr(n)) not in ("Cs", "Cn", "Co")]
    terms_of = analyzer("plain_folded").terms_of()
    for start in range(0, len(everything), 5_000):
        text = " ".join(f"q{character}q" for character in everything[start : start + 5_000])
        assert terms_on(asked_server, "plain_folded", text) == terms_of(text)


def words_of_towers(texts: Sequence[str]) -> list[list[str]]:
    tokenizer = train_tokenizer(texts, vocabulary=100_000, min_frequency=1)
    names = tokenizer.tokens()
    return [[names[id] for id in ids] for ids in tokenizer.encode(texts, 100_000)]


def test_the_towers_know_the_same_words() -> None:
    everything = [chr(n) for n in range(0x20, 0x30000) if unicodedata.category(chr(n)) not in ("Cs", "Cn", "Co")]
    terms_of = analyzer("plain_folded").terms_of()
    texts = [text for pair in SPELLINGS.values() for text in pair]
    texts += [" ".join(f"q{one}q" for one in everything[start : start + 500]) for start in range(0, 30_000, 500)]
    assert words_of_towers(texts) == [terms_of(text) for text in texts]


def test_the_towers_know_the_same_words_of_any_text() -> None:
    terms_of = analyzer("plain_folded").terms_of()

    @given(st.lists(st.tuples(TEXTS, FORMS), min_size=1, max_size=5))
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(spelled: list[tuple[str, str]]) -> None:
        texts = [unicodedata.normalize(form, text) for text, form in spelled]  # type: ignore[arg-type]
        assert words_of_towers(texts) == [terms_of(text) for text in texts]

    holds()
