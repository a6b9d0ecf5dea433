"""A name with inner capitals is found whole and by its parts, with the same scores on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from time import monotonic

import pytest
from asked import by_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node.server import Server

from hybrid_search.analysis import Analyzer, analyzer, asked_terms
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.location import Address
from hybrid_search.protocols import Engine
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

DOCUMENTS = [
    Document("whole", "parseHTTPResponse"),
    Document("apart", "parse the http response"),
    Document("snake", "parse_http_response"),
    Document("video", "A YouTube channel about the iPhone, with HTTP2Server and cafe\u0301Latte"),
    Document("other", "Parsed responses: XMLHttpRequest", "sha256Sum"),
]
ASKED = {
    "http response": {"whole", "apart", "snake", "other"},
    "parsehttpresponse": {"whole"},
    "parseHTTPResponse": {"whole", "apart", "snake", "other"},
    "youtube": {"video"},
    "YouTube": {"video"},
    "iphone": {"video"},
    "phone": {"video"},
    "http2": {"video"},
    "latte": {"video"},
    "caféLatte": {"video"},
    "request": {"other"},
    "sha256": {"other"},
    "sum": {"other"},
}

PLAIN = Analyzer("plain_parts", folds=True, parts=True)
NAMES = st.lists(
    st.sampled_from(
        ["parse", "HTTP", "Response", "i", "A", "2", "x64", "É", "größe", "ß", "東京", "SHA256", "s", "\U00020000"]
    ),
    min_size=1,
    max_size=12,
).map("".join)
BETWEEN = st.sampled_from([" ", "_", "-", ".", "\ue000", "\u00ad", "e\u0301", "E\u0301", "²", "\U0001f642", "Ａ", "٣"])
TEXTS = st.lists(st.one_of(NAMES, BETWEEN), max_size=25).map("".join)


def test_a_name_is_found_whole_and_by_its_parts(make_engine) -> None:
    engine = make_engine(IndexSettings())
    engine.add(DOCUMENTS, None)
    engine.commit()
    found = by_text(engine, list(ASKED), 10)
    assert {query: set(ranking.ids) for query, ranking in zip(ASKED, found, strict=True)} == ASKED


def test_a_whole_name_comes_first(make_engine) -> None:
    engine = make_engine(IndexSettings())
    engine.add(DOCUMENTS, None)
    engine.commit()
    assert by_text(engine, ["parseHTTPResponse"], 10)[0].ids[0] == "whole"


@pytest.mark.opensearch
def test_both_engines_give_the_same_scores(make_embedded, make_opensearch) -> None:
    engines: list[Engine] = [make_embedded(IndexSettings()), make_opensearch(IndexSettings())]
    rankings = []
    for engine in engines:
        engine.add(DOCUMENTS, None)
        engine.commit()
        rankings.append(by_text(engine, [*ASKED, "aBa " * 400, "parseHTTPResponse " * 500], 10))
    for ours, theirs in zip(*rankings, strict=True):
        assert ours.ids == theirs.ids
        assert ours.scores == pytest.approx(theirs.scores, rel=1e-6)


@pytest.fixture(scope="module")
def server_with_names(opensearch_server: Server) -> Iterator[Client]:
    with closing(Client(Address.parse(f"{opensearch_server.location}/names-in-code"))) as client:
        client.call("DELETE", "/names-in-code", ignore_unavailable="true")
        fields = {"properties": {"t": {"type": "text", "analyzer": "plain_parts"}}}
        client.call("PUT", "/names-in-code", {"settings": {"analysis": PLAIN.for_opensearch()}, "mappings": fields})
        yield client
        client.call("DELETE", "/names-in-code")


@pytest.mark.opensearch
def test_a_server_makes_the_same_terms_of_any_name(server_with_names: Client) -> None:
    @given(TEXTS)
    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(text: str) -> None:
        request = {"analyzer": "plain_parts", "text": text or " "}
        found = server_with_names.call("POST", "/names-in-code/_analyze", request)["tokens"]
        assert [one["token"] for one in found] == PLAIN.terms_of()(text)
        positions = [one["position"] for one in found]
        assert positions == list(range(len(found)))  # each counts in a document's length
        starts = [one["start_offset"] for one in found]
        assert starts == sorted(starts)  # else a server refuses the document

    holds()


@pytest.mark.opensearch
@pytest.mark.parametrize("text", ["aB" * 8_000, "aB" * 50, "\ue000aB" * 8_000, "aBC" * 33])
def test_a_server_is_not_held_up_by_a_text_of_capitals(server_with_names: Client, text: str) -> None:
    started = monotonic()
    server_with_names.call("PUT", "/names-in-code/_doc/1", {"t": " ".join([text] * (1_000_000 // len(text)))})
    assert monotonic() - started < 30


def test_the_default_analyzer_has_parts() -> None:
    assert analyzer(IndexSettings().analyzer).parts
    assert asked_terms(analyzer(IndexSettings().analyzer))("getURL") == ["geturl", "url"]
