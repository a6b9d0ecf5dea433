"""Searching a server: for asyncio, through kept pipelines, with shards missing."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from asked import by_both, by_text
from node.server import Server
from spans import recorded

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.search.shown import ShownRequest
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.curl import curl_arguments
from hybrid_search.engines.opensearch.transport.plan import Request
from hybrid_search.errors import (
    ConfigError,
    IndexNotFound,
    MissingExtra,
    SearchIndexError,
    UnsupportedCapability,
    UsageError,
)
from hybrid_search.location import Address
from hybrid_search.protocols import Vectors
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MODES, Mode, Search
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.settings.server import SearchOptions, ServerOptions
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

SETTINGS = IndexSettings(dimension=3, fingerprint="letters", fusion=Fusion(weights=(0.3, 0.7), window=50))
WORDS = ("tide", "bread", "bee", "clock", "glacier", "violin", "tea", "ebb")
DOCUMENTS = [
    Document(f"d{n:02}", f"{WORDS[n % 8]} and {WORDS[n % 5]} {n}", title=WORDS[n % 3], metadata={"n": n})
    for n in range(40)
]
QUERIES = ["tide", "bread and tea", "zzz", "clock 13"]


class Letters:
    """Vectors of how often t, b and e stand in a text."""

    fingerprint, dimension, similarity = "letters", 3, "cosine"

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def encode_queries(self, texts: list[str]) -> Vectors:
        self.threads.add(threading.get_ident())
        rows = np.array([[text.count(letter) for letter in "tbe"] for text in texts], np.float32).reshape(-1, 3)
        return rows + np.linspace(0.01, 0.03, 3, dtype=np.float32) * rows.any(axis=1, keepdims=True)

    encode_documents = encode_queries


@pytest.fixture(scope="module")
def location(opensearch_server: Server) -> Iterator[str]:
    location = f"{opensearch_server.location}/searching"
    OpenSearchEngine.drop(location)
    with OpenSearchEngine.create(location, SETTINGS) as engine:
        Retriever(Letters(), engine).add(DOCUMENTS)
    yield location
    OpenSearchEngine.drop(location)


@pytest.fixture
def engine(location: str) -> Iterator[OpenSearchEngine]:
    with OpenSearchEngine.open(location, writable=True) as engine:
        yield engine


@pytest.fixture
def client(location: str) -> Iterator[Client]:
    with closing(Client(Address.parse(location))) as client:
        yield client
        client.call("PUT", "/searching/_settings", {"index.search.default_pipeline": None})
        for name in ("searching-one", "searching-theirs"):
            client.call("DELETE", f"/_search/pipeline/{name}", ignore=404)


def test_a_search_of_a_server_has_spans_for_encoding_and_each_request_awaited_or_not(engine: OpenSearchEngine) -> None:
    retriever = Retriever(Letters(), engine)

    async def awaited() -> None:
        twin = AsyncRetriever(retriever)
        await twin.search("tide", 3)
        await twin._awaited.engine.close()

    for search in (lambda: retriever.search("tide", 3), lambda: asyncio.run(awaited())):
        with recorded() as seen:
            search()
        assert seen.under("retrieval") == ["embeddings letters", "msearch searching", "mget searching"]
        ranked = seen.named("msearch searching").attributes or {}
        assert (ranked["db.system.name"], ranked["db.operation.batch.size"]) == ("opensearch", 3)
        assert "tide" not in seen.texts()


def test_awaiting_gives_the_same_hits_and_blocks_no_loop(engine: OpenSearchEngine) -> None:
    encoder = Letters()
    retriever = Retriever(encoder, engine)
    expected = {mode: retriever.search_many(QUERIES, 5, mode=mode, offset=2) for mode in ("hybrid", "bm25", "knn")}
    alone = [retriever.search(query, 3) for query in QUERIES] * 10
    encoder.threads.clear()

    async def session() -> dict[str, object]:
        twin = AsyncRetriever(retriever)
        asked = {mode: twin.search_many(QUERIES, 5, mode=mode, offset=2) for mode in expected}
        answers = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
        assert await asyncio.gather(*(twin.search(query, 3) for query in QUERIES * 10)) == alone
        assert await twin.get(["d01", "nowhere"]) == [DOCUMENTS[1], None]
        await twin._awaited.engine.close()
        return answers

    assert asyncio.run(session()) == expected
    assert threading.get_ident() not in encoder.threads


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_takes_two_requests_however_many_queries_it_has(
    engine: OpenSearchEngine, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for the searches and one for the texts of all hits; ranking alone takes one."""
    retriever, paths, send = Retriever(Letters(), engine), list[str](), Client.send

    def counted(client: Client, request: Request) -> bytes:
        paths.append(request.path)
        return send(client, request)

    one_by_one = [retriever.search(query, 7, mode=mode, offset=1) for query in QUERIES * 6]
    monkeypatch.setattr(Client, "send", counted)
    assert retriever.search_many(QUERIES * 6, 7, mode=mode, offset=1) == one_by_one
    assert paths == ["/searching/_msearch", "/searching/_mget"]
    paths.clear()
    rankings = retriever.rankings(QUERIES * 6, 8, mode=mode)
    assert paths == ["/searching/_msearch"]
    assert [ranking.ids[1:] for ranking in rankings] == [tuple(hit.id for hit in hits) for hits in one_by_one]


def test_nothing_is_sent_for_queries_that_ask_nothing(
    engine: OpenSearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Client, "send", lambda *_: pytest.fail("a request was sent"))
    retriever = Retriever(Letters(), engine)
    assert retriever.search_many([" ", "zzz"], mode="knn") == [[], []]
    assert retriever.search_many(["", "\t"], mode="bm25") == retriever.search_many(["", "\t"]) == [[], []]


def test_hits_need_not_be_explained(engine: OpenSearchEngine, location: str) -> None:
    expected = Retriever(Letters(), engine).search("tide and tea", 5)
    assert all(hit.legs for hit in expected)
    with OpenSearchEngine.open(location, options=SearchOptions(explain=False)) as plain:
        found = Retriever(Letters(), plain).search("tide and tea", 5)
    assert [(hit.id, hit.rank, hit.score, hit.text) for hit in found] == [
        (hit.id, hit.rank, hit.score, hit.text) for hit in expected
    ]
    assert not any(hit.legs for hit in found)


def test_awaiting_raises_the_same_errors(engine: OpenSearchEngine, opensearch_server: Server) -> None:
    gone = f"{opensearch_server.location}/searching-gone"
    OpenSearchEngine.create(gone, SETTINGS).close()
    left = OpenSearchEngine.open(gone)
    OpenSearchEngine.drop(gone)

    async def session() -> None:
        async with AsyncRetriever(Retriever(Letters(), left)) as twin:
            with pytest.raises(IndexNotFound, match=r"no such index \[searching-gone\]"):
                await twin.search("tide")
            with pytest.raises(UsageError, match="k is 0"):
                await twin.search("tide", 0)

    asyncio.run(session())


def test_asyncio_without_its_extra_names_it(engine: OpenSearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingExtra, match=r"aiohttp is not installed.*hybrid-search-towers\[async\]"):
        AsyncRetriever(Retriever(Letters(), engine))


@pytest.mark.parametrize("as_default", [False, True])
def test_a_stored_pipeline_gives_the_same_hits_as_one_in_the_request(
    engine: OpenSearchEngine, client: Client, location: str, as_default: bool
) -> None:
    expected = Retriever(Letters(), engine).search_many(QUERIES, 10)
    engine.store_pipeline("searching-one", as_default=as_default)
    engine.store_pipeline("searching-one", as_default=as_default)
    options = SearchOptions(pipeline="_default" if as_default else "searching-one")
    with OpenSearchEngine.open(location, options=options) as through:
        assert Retriever(Letters(), through).search_many(QUERIES, 10) == expected


def test_a_pipeline_that_is_missing_or_computes_something_else_is_never_used(
    engine: OpenSearchEngine, client: Client, location: str
) -> None:
    engine.store_pipeline("searching-one")
    vector = np.ones((1, 3), np.float32)

    def asked(pipeline: str, fusion: Fusion | None = None) -> None:
        with OpenSearchEngine.open(location, options=SearchOptions(pipeline=pipeline)) as through:
            by_both(through, ["tide"], vector, 3, fusion=fusion)

    with pytest.raises(ConfigError, match=r"no search pipeline 'nope'.*load --pipeline nope"):
        asked("nope")
    with pytest.raises(ConfigError, match="the index has no default search pipeline"):
        asked("_default")
    with pytest.raises(ConfigError, match=r"is not the fusion asked for \(.*rrf.*it is hybrid-search: min_max, arith"):
        asked("searching-one", Fusion(method="rrf"))
    with pytest.raises(UnsupportedCapability, match=r"3\.6\.0 does not fuse inside a query; from 3\.10"):
        asked("_fusion")
    asked("searching-one", SETTINGS.fusion.replace(window=20))  # the window is the query's, not the pipeline's


def test_a_pipeline_that_something_else_made_is_not_overwritten(engine: OpenSearchEngine, client: Client) -> None:
    theirs = {"response_processors": [{"rename_field": {"field": "a", "target_field": "b"}}]}
    client.call("PUT", "/_search/pipeline/searching-theirs", theirs)
    with pytest.raises(ConfigError, match="that hybrid-search did not make"):
        engine.store_pipeline("searching-theirs")


def lose_a_shard(client: Client, index: str) -> None:
    """Take a shard from its only node, and keep it from coming back."""
    client.call("PUT", f"/{index}/_settings", {"index.routing.allocation.enable": "none"})
    [row, _] = client.call("GET", f"/_cat/shards/{index}", format="json")
    cancel = {"index": index, "shard": int(row["shard"]), "node": row["node"], "allow_primary": True}
    client.call("POST", "/_cluster/reroute", {"commands": [{"cancel": cancel}]})


def test_missing_shards_are_an_error_unless_what_is_there_is_wanted(opensearch_server: Server) -> None:
    location = f"{opensearch_server.location}/searching-shards"
    OpenSearchEngine.drop(location)
    OpenSearchEngine.create(location, SETTINGS, options=ServerOptions(shards=2, replicas="0")).close()
    told: list[str] = []
    with (
        closing(Client(Address.parse(location))) as client,
        OpenSearchEngine.open(location, writable=True) as whole,
        OpenSearchEngine.open(location, options=SearchOptions(partial=told.append)) as partial,
    ):
        whole.add(DOCUMENTS, None)
        whole.commit()
        every = by_text(whole, ["and"], 100)[0].ids
        lose_a_shard(client, "searching-shards")
        with pytest.raises(SearchIndexError, match=r"1 of 2 shards failed \(no node holds them.*`partial`"):
            by_text(whole, ["and"], 100)
        some = by_text(partial, ["and"], 100)[0].ids
    assert 0 < len(some) < len(every) == 40
    assert [line.partition(" (")[0] for line in told] == ["searching-shards: 1 of 2 shards failed"]
    OpenSearchEngine.drop(location)


def ready(retriever: Retriever, query: str, k: int, **more: Any) -> Search:
    return retriever.source.current.ready(Search.of([query], k, **more))


@pytest.mark.parametrize("mode", ["hybrid", "bm25", "knn"])
@pytest.mark.parametrize("offset", [0, 3])
def test_a_shown_request_sent_by_hand_finds_the_same(engine: OpenSearchEngine, mode: Mode, offset: int) -> None:
    retriever = Retriever(Letters(), engine)
    asked: dict[str, Any] = {"mode": mode, "filter": "n >= 5", "offset": offset, "fusion": SETTINGS.fusion}
    expected = retriever.search('the clock\'s "tide" 13', 6, **asked)
    shown = engine.shown(ready(retriever, 'the clock\'s "tide" 13', 6, **asked))
    words = shlex.split(shown.curl)
    url, body = words[words.index("-d") - 1], words[words.index("-d") + 1]
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        hits = json.load(answer)["hits"]["hits"]
    scores = [hit.score for hit in expected]
    assert [hit["_score"] for hit in hits] == pytest.approx(scores, abs=1e-6)
    # A server orders ties of a hybrid search as it likes.
    sure = [rank for rank, score in enumerate(scores) if mode != "hybrid" or scores.count(score) == 1]
    assert sure
    for rank in sure:
        assert (hits[rank]["_id"], hits[rank]["_source"]["text"]) == (expected[rank].id, expected[rank].text)
    assert json.loads(shown.console.partition("\n")[2]) == json.loads(body)


def test_nothing_is_shown_where_nothing_would_be_sent(engine: OpenSearchEngine) -> None:
    retriever = Retriever(Letters(), engine)
    with pytest.raises(UsageError, match="the query is empty"):
        engine.shown(ready(retriever, " ", 5))
    with pytest.raises(UsageError, match="the towers know no word"):
        engine.shown(ready(retriever, "zzz", 5, mode="knn"))


def test_nothing_in_a_query_means_anything_to_the_shell() -> None:
    hostile = "$OPENSEARCH_TOKEN `id` $(id) \"; it's"
    line = ShownRequest("http://h:1", "/i/_search", {"query": hostile}).curl
    told = subprocess.run(["sh", "-c", line.replace("curl", "printf '%s\\n'", 1)], capture_output=True, check=True)
    assert json.loads(told.stdout.splitlines()[-1]) == {"query": hostile}


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (Connection(user="me", password="secret"), "--user me"),
        (Connection(token="secret"), '-H "authorization: Bearer $OPENSEARCH_TOKEN"'),
        (Connection(ca_certs="my ca.pem", verify=False), "--cacert 'my ca.pem' --insecure"),
    ],
)
def test_a_shown_request_says_how_to_get_in_without_a_secret(connection: Connection, expected: str) -> None:
    address = Address("search.example.org", 443, "passages", tls=True)
    shown = ShownRequest(address.server, "/passages/_search", {"size": 1}, curl_arguments(address, connection))
    assert f"curl -s {expected} -H 'Content-Type: application/json' https://search.example.org:443/" in shown.curl
    assert "secret" not in shown.curl
