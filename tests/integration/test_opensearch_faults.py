"""Loads into a server that is overloaded, loses answers, is read-only: a proxy stands before a real node."""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain, islice, repeat
from pathlib import Path

import pytest
from conftest import Home
from corpus import assert_holds, made_documents, write_corpus
from killing import Loader
from node.faulty import Fault, FaultyServer, at_random, bulk_of, every
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.transport import plan as retrying
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import RecordsRejected, SearchIndexError
from hybrid_search.indexes import count_documents
from hybrid_search.loading.load import LoadOptions, LoadReport, load
from hybrid_search.loading.sources import Corpus
from hybrid_search.location import Address
from hybrid_search.protocols import Encoder
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

INDEX = "faults"
DOCUMENTS = made_documents(3_000)


@pytest.fixture(scope="module")
def encoder(home: Home) -> Encoder:
    return OnnxEncoder.load(home.model)


@pytest.fixture
def location(opensearch_server: Server) -> Iterator[str]:
    """The index without the proxy, to look at."""
    location = f"{opensearch_server.location}/{INDEX}"
    OpenSearchEngine.drop(location)
    yield location
    OpenSearchEngine.drop(location)


@pytest.fixture
def client(location: str) -> Iterator[Client]:
    with closing(Client(Address.parse(location))) as client:
        yield client


@pytest.fixture
def proxy(opensearch_server: Server) -> Iterator[FaultyServer]:
    with FaultyServer(opensearch_server.url, meant=bulk_of(INDEX)) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loader give up after as many tries as always, but soon."""
    monkeypatch.setattr(retrying, "LONGEST_PAUSE", 0.05)


def through(proxy: FaultyServer, home: Home, documents: list[Document] = DOCUMENTS) -> LoadReport:
    dataset = Corpus("made", lambda: iter(documents))
    return load(dataset, f"{proxy.location}/{INDEX}", model=home.model, options=LoadOptions(threads=1))


def stands_as_before(client: Client) -> bool:
    """Whether the index refreshes and keeps copies as one that nobody loads into."""
    settings = client.call("GET", f"/{INDEX}/_settings")[INDEX]["settings"]["index"]
    return "refresh_interval" not in settings and settings["auto_expand_replicas"] == "0-1"


def test_whatever_happens_to_the_requests_each_document_is_in_once(
    home: Home, encoder: Encoder, location: str, client: Client, proxy: FaultyServer
) -> None:
    proxy.follow(Fault)
    report = through(proxy, home)
    assert set(proxy.counts) == {None, *Fault}
    assert (report.added, report.rejected, report.documents) == (3_000, 0, 3_000)
    assert_holds(location, DOCUMENTS, encoder)
    assert stands_as_before(client)


def test_whatever_happens_to_all_other_requests_the_load_goes_on(
    home: Home, encoder: Encoder, location: str, client: Client, opensearch_server: Server
) -> None:
    def meant(method: str, path: str) -> bool:
        makes_an_index = method == "PUT" and path.count("/") == 1
        return not (makes_an_index or path.endswith("/_bulk"))

    with FaultyServer(opensearch_server.url, meant=meant) as proxy:
        proxy.follow(every(2, *(fault for fault in Fault if fault not in (Fault.SOME_ITEMS, Fault.DELAY))))
        through(proxy, home, DOCUMENTS[:500])
        through(proxy, home, DOCUMENTS[:1_000])
    assert stands_as_before(client)
    assert_holds(location, DOCUMENTS[:1_000], encoder)


@pytest.mark.parametrize("seed", [1, 2])
def test_faults_at_random_and_one_document_in_a_hundred_bad(
    home: Home, encoder: Encoder, location: str, proxy: FaultyServer, tmp_path: Path, seed: int
) -> None:
    proxy.follow(at_random(seed, dict.fromkeys(Fault, 0.04)))
    corpus = write_corpus(tmp_path / "documents.jsonl", DOCUMENTS, bad=30)
    dead = tmp_path / "dead.jsonl"
    done = home.run(
        "load", "jsonl", "--path", corpus.file, "--model", home.model, "--to", f"{proxy.location}/{INDEX}",
        "--dead-letter", dead, "--allow-rejected", "29", "--format", "json",
    )  # fmt: skip
    assert done.code == 3, done.err
    assert (done.json["documents"], done.json["rejected"]) == (3_000, 30)
    assert "30 of 3,030 records were rejected" in done.err
    assert sorted(map(number_of, letters(dead))) == list(range(30))
    assert all(letter["reason"] for letter in letters(dead))
    assert_holds(location, corpus.documents, encoder)


def test_answers_that_were_lost_make_no_duplicates_and_keep_the_order(
    home: Home, location: str, client: Client, proxy: FaultyServer
) -> None:
    proxy.follow(islice(every(2, Fault.DROP_AFTER, Fault.CUT), 12))
    through(proxy, home)
    assert proxy.counts[Fault.DROP_AFTER] == proxy.counts[Fault.CUT] == 3
    with OpenSearchEngine.open(location) as engine:
        assert list(engine.documents()) == DOCUMENTS


def test_a_server_that_never_takes_anything_ends_in_an_error_and_what_it_took_before_is_there(
    home: Home, encoder: Encoder, location: str, client: Client, proxy: FaultyServer, impatient: None
) -> None:
    proxy.follow(chain([None], repeat(Fault.TOO_MANY)))
    with pytest.raises(SearchIndexError, match=r"rejected execution.*given up after 17 tries.*resume=True"):
        through(proxy, home)
    with OpenSearchEngine.open(location) as engine:
        taken = list(engine.documents())
    assert 0 < len(taken) < 3_000
    assert stands_as_before(client)
    proxy.follow([])
    report = through(proxy, home)
    assert (report.added, report.unchanged) == (3_000 - len(taken), len(taken))
    assert_holds(location, DOCUMENTS, encoder)


def test_a_read_only_index_is_told_at_once(home: Home, location: str, client: Client, proxy: FaultyServer) -> None:
    through(proxy, home, DOCUMENTS[:100])
    client.call("PUT", f"/{INDEX}/_settings", {"index.blocks.read_only_allow_delete": True})
    before, started = proxy.bulks, time.monotonic()
    try:
        with pytest.raises(SearchIndexError, match=r"read-only.*index\.blocks"):
            through(proxy, home)
    finally:
        client.call("PUT", f"/{INDEX}/_settings", {"index.blocks.read_only_allow_delete": None})
    assert proxy.bulks - before <= 4
    assert time.monotonic() - started < 10


def test_a_load_into_an_index_that_holds_something_outlives_a_restart(
    home: Home, encoder: Encoder, location: str, opensearch_server: Server
) -> None:
    first = FaultyServer(opensearch_server.url)
    through(first, home, DOCUMENTS[:500])
    with ThreadPoolExecutor(1) as other, contextlib.ExitStack() as running:

        def comes_back() -> None:
            time.sleep(4)
            running.enter_context(FaultyServer(opensearch_server.url, port=first.port))

        def documents() -> Iterator[Document]:
            yield from DOCUMENTS[:1_500]
            first.stop()
            other.submit(comes_back)
            yield from DOCUMENTS[1_500:]

        report = load(Corpus("made", documents), f"{first.location}/{INDEX}", model=home.model)
    assert (report.unchanged, report.added) == (500, 2_500)
    assert_holds(location, DOCUMENTS, encoder)


def test_a_server_that_is_gone_in_the_middle_leaves_what_the_next_load_mends(
    home: Home, encoder: Encoder, location: str, client: Client, opensearch_server: Server, impatient: None
) -> None:
    proxy = FaultyServer(opensearch_server.url, meant=bulk_of(INDEX))

    def documents() -> Iterator[Document]:
        yield from DOCUMENTS[:2_000]
        proxy.stop()
        yield from DOCUMENTS[2_000:]

    with pytest.raises(SearchIndexError, match="nothing answers at"):
        load(Corpus("made", documents), f"{proxy.location}/{INDEX}", model=home.model)
    assert not stands_as_before(client)
    load(Corpus("made", lambda: iter(DOCUMENTS)), location, model=home.model)
    assert stands_as_before(client)
    assert_holds(location, DOCUMENTS, encoder)


def test_a_load_whose_server_is_gone_at_its_last_commit_says_how_far_it_came_and_count_that_some_may_be_missing(
    location: str, opensearch_server: Server, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = FaultyServer(opensearch_server.url, meant=bulk_of(INDEX))
    corpus = Corpus("made", lambda: iter(DOCUMENTS[:2_000]))
    options = LoadOptions(lexical_only=True)
    with pytest.MonkeyPatch.context() as patched:
        commit = OpenSearchEngine.commit

        def gone(engine: OpenSearchEngine) -> None:
            proxy.stop()
            commit(engine)

        patched.setattr(OpenSearchEngine, "commit", gone)
        with pytest.raises(SearchIndexError, match="nothing answers at"):
            load(corpus, f"{proxy.location}/{INDEX}", options=options)
    assert "2,000 documents are acknowledged; loading with resume=True goes on from there" in caplog.text
    caplog.clear()
    assert count_documents(location)["documents"] <= 2_000
    assert "documents that it has acknowledged since the last commit are not counted" in caplog.text
    load(corpus, location, options=options)
    caplog.clear()
    assert count_documents(location) == {"documents": 2_000}
    assert caplog.text == ""


def test_kill_9_of_the_loader_at_three_moments_and_resuming(
    home: Home, encoder: Encoder, location: str, client: Client, proxy: FaultyServer, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "documents.jsonl", made_documents(8_000, seed=2), bad=14)
    loader = Loader(home, corpus.file, f"{proxy.location}/{INDEX}", tmp_path)
    drawn = random.Random(5)
    for fault in (Fault.DROP_BEFORE, Fault.DROP_AFTER, None):
        proxy.follow(loader.killed_at(drawn.randrange(2, 4), fault))
        assert loader.run("--resume") == -9, loader.said
        assert not stands_as_before(client)
    proxy.follow([])
    assert loader.run("--resume", "--allow-rejected", "0") == RecordsRejected.exit_code, loader.said
    assert (loader.report["documents"], loader.report["rejected"]) == (8_000, 14)
    assert loader.report["resumed"] > 0
    assert {number_of(letter) for letter in letters(loader.dead)} == set(range(14))
    assert stands_as_before(client)
    assert_holds(location, corpus.documents, encoder)


def letters(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def number_of(letter: dict[str, str]) -> int:
    (number,) = re.findall(r"bad-(\d+)", letter["record"])
    return int(number)
