"""Loading into a server that is overloaded, drops connections or is blocked, and loads that are killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from node.faulty import Fault, FaultyServer, every
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.document_json import item_of
from hybrid_search.engines.opensearch.index.holders import Holders
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.writing import bulk
from hybrid_search.errors import DataError, IndexLocked, Overloaded, SearchIndexError, UsageError
from hybrid_search.loading.journal import Journal
from hybrid_search.loading.load import LoadOptions, ServerLoad, load
from hybrid_search.loading.sources import Corpus
from hybrid_search.location import Address
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document, Rejection

pytestmark = pytest.mark.opensearch

INDEX = "loading-tests"
DOCUMENTS = [Document(f"d{number:05}", f"passage number {number}") for number in range(3_000)]


@pytest.fixture
def proxy(opensearch_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    location = f"{opensearch_server.location}/{INDEX}"
    OpenSearchEngine.drop(location)
    with FaultyServer(opensearch_server.url) as proxy:
        yield proxy
    OpenSearchEngine.drop(location)


@pytest.fixture
def client(opensearch_server: Server) -> Iterator[Client]:
    with closing(Client(Address.parse(f"{opensearch_server.location}/{INDEX}"))) as client:
        yield client


def corpus(documents: list[Document]) -> Corpus:
    return Corpus("test", lambda: iter(documents))


def loaded(proxy: FaultyServer, documents: list[Document] = DOCUMENTS, **options: Any):
    return load(
        corpus(documents),
        f"{proxy.location}/{INDEX}",
        options=LoadOptions(lexical_only=True, server=ServerLoad(**options)),
    )


def stored(proxy: FaultyServer) -> list[Document]:
    with OpenSearchEngine.open(f"{proxy.location}/{INDEX}") as engine:
        return list(engine.documents())


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def settings(client: Client) -> dict[str, str]:
    found: dict[str, str] = client.call("GET", f"/{INDEX}/_settings", flat_settings="true")[INDEX]["settings"]
    return found


def note(client: Client) -> dict[str, str | None] | None:
    """What was before of the settings that are held now."""
    found = Holders(client, INDEX, settings(client)["index.uuid"]).read()
    return (found.holding.before or None) if found else None


def test_every_kind_of_trouble_ends_with_each_document_once_and_in_order(proxy: FaultyServer) -> None:
    troubles = [fault for fault in Fault if fault is not Fault.DELAY]
    proxy.follow(every(2, *troubles))
    report = loaded(proxy, connections=2)
    assert stored(proxy) == DOCUMENTS
    assert (report.documents, report.added, report.rejected) == (3_000, 3_000, 0)
    assert report.server["retries"] >= 2
    assert report.server["sent_again"] > 0


def test_requests_shrink_while_the_server_refuses(proxy: FaultyServer) -> None:
    proxy.follow([Fault.TOO_MANY, Fault.UNAVAILABLE])
    report = loaded(proxy, DOCUMENTS[:1_000], connections=1)
    # 1,000 refused, 500 refused, then 250, 312 and the last 438 but as many as fit into 390.
    assert [report.server[name] for name in ("requests", "retries", "sent_again")] == [6, 2, 1_500]
    assert report.documents == 1_000


def test_a_server_that_never_takes_anything_is_given_up_and_what_it_took_stays(
    proxy: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "RETRIES", 2)
    loaded(proxy, DOCUMENTS[:10])
    proxy.follow(every(1, Fault.TOO_MANY))
    with closing(Client(Address.parse(f"{proxy.location}/{INDEX}"))) as client:
        sender = bulk.BulkSender(client, INDEX, retries=2)
        with pytest.raises(Overloaded, match=r"429.*given up after 3 tries|rejected.*given up after 3 tries"):
            sender.put([item_of(DOCUMENTS[10], None, 1)])
    assert stored(proxy) == DOCUMENTS[:10]


def test_a_block_is_told_at_once(proxy: FaultyServer, client: Client) -> None:
    loaded(proxy, DOCUMENTS[:10])
    client.call("PUT", f"/{INDEX}/_settings", {"index.blocks.read_only_allow_delete": True})
    before, started = proxy.bulks, time.monotonic()
    with pytest.raises(SearchIndexError, match="the index is blocked"):
        loaded(proxy, DOCUMENTS)
    assert proxy.bulks - before <= 4
    assert time.monotonic() - started < 5
    client.call("PUT", f"/{INDEX}/_settings", {"index.blocks.read_only_allow_delete": None})


def test_what_the_server_refuses_is_rejected_and_the_rest_goes_in(proxy: FaultyServer) -> None:
    rejected: list[Rejection] = []
    # A word of more bytes than Lucene takes for a term.
    bad = [Document(f"bad{number}", "x" * 40_000) for number in range(3)]
    documents = [*DOCUMENTS[:1_500], *bad, *DOCUMENTS[1_500:]]
    report = load(
        corpus(documents), f"{proxy.location}/{INDEX}", options=LoadOptions(lexical_only=True), reject=rejected.append
    )
    assert (report.added, report.rejected, report.documents) == (3_000, 3, 3_000)
    assert [json.loads(one.record)["id"] for one in rejected] == ["bad0", "bad1", "bad2"]
    assert all("immense term" in one.reason for one in rejected)


def test_loading_again_sends_only_what_has_changed(proxy: FaultyServer) -> None:
    loaded(proxy)
    changed = [*DOCUMENTS[:-1], Document(DOCUMENTS[-1].id, "another text")]
    report = loaded(proxy, changed)
    assert (report.added, report.unchanged, report.server["requests"]) == (1, 2_999, 2)  # as new, then in its place
    assert stored(proxy) == changed


def test_settings_are_changed_for_the_load_and_come_back(proxy: FaultyServer, client: Client) -> None:
    loaded(proxy, DOCUMENTS[:10])
    client.call("PUT", f"/{INDEX}/_settings", {"index.refresh_interval": "7s"})
    before = settings(client)
    seen: list[tuple[dict[str, str], Any]] = []

    def documents() -> Iterator[Document]:
        yield from DOCUMENTS
        seen.append((settings(client), note(client)))

    options = LoadOptions(lexical_only=True, server=ServerLoad(without_replicas=True, force_merge=1, warm_up=True))
    report = load(Corpus("test", documents), f"{proxy.location}/{INDEX}", options=options)
    ((during, noted),) = seen
    assert (during["index.refresh_interval"], during["index.auto_expand_replicas"]) == ("-1", "false")
    assert noted == {
        "index.refresh_interval": "7s", "index.number_of_replicas": before["index.number_of_replicas"],
        "index.auto_expand_replicas": "0-1",
    }  # fmt: skip
    assert settings(client) == before
    assert note(client) is None
    assert report.documents == 3_000
    segments = client.call("GET", f"/{INDEX}/_stats/segments")["_all"]["primaries"]["segments"]["count"]
    assert segments == 1


def test_settings_come_back_when_a_load_fails_and_the_journal_tells_how_far_it_came(
    proxy: FaultyServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks() -> Iterator[Document]:
        yield from DOCUMENTS[:2_500]
        wait_for(lambda: proxy.bulks == 2)
        raise KeyboardInterrupt

    location = f"{proxy.location}/{INDEX}"
    with pytest.raises(KeyboardInterrupt):
        load(Corpus("test", breaks), location, options=LoadOptions(lexical_only=True))
    assert "index.refresh_interval" not in settings(client)
    entry = Journal(location, "test").read()
    assert entry is not None
    assert entry.documents == 2_000
    assert f"{entry.documents:,} documents are acknowledged; loading with resume=True goes on" in caplog.text
    report = loaded(proxy, resume=True)
    assert report.server["resumed"] == entry.documents
    assert (report.added, report.documents) == (3_000, 3_000)
    assert stored(proxy) == DOCUMENTS


@pytest.fixture
def killed(proxy: FaultyServer, tmp_path: Path) -> Path:
    """Kill a load in a process of its own after some documents; the data set's file."""
    data = tmp_path / "documents.jsonl"
    data.write_text("".join(json.dumps({"id": one.id, "text": one.text}) + "\n" for one in DOCUMENTS))
    # Slow enough for the journal to be written, and then never done, so that the kill can't come too late.
    proxy.follow(chain([Fault.DELAY, Fault.DELAY], repeat(Fault.TOO_MANY)))
    location = f"{proxy.location}/{INDEX}"
    process = subprocess.Popen(
        [sys.executable, "-m", "hybrid_search", "load", "jsonl", "--path", data, "--to", location,
         "--lexical-only", "--parallel", "1"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    journal = Journal(location, f"jsonl {data.resolve()}")
    try:
        wait_for(lambda: process.poll() is not None or ((entry := journal.read()) is not None and entry.documents > 0))
    finally:
        process.send_signal(signal.SIGKILL)
        _, told = process.communicate()
    assert process.returncode == -signal.SIGKILL, told
    proxy.follow(())
    return data


def test_after_a_kill_resume_sends_only_the_rest_and_mends_the_settings(
    proxy: FaultyServer, client: Client, killed: Path, tmp_path: Path
) -> None:
    from hybrid_search.loaders.registry import open_dataset

    location = f"{proxy.location}/{INDEX}"
    journal = Journal(location, f"jsonl {killed.resolve()}")
    entry = journal.read()
    assert entry is not None
    assert 0 < entry.documents < len(DOCUMENTS)
    assert settings(client)["index.refresh_interval"] == "-1"
    assert note(client) == {"index.refresh_interval": None}

    before = proxy.bulks
    dataset = open_dataset("jsonl", killed, reject=lambda rejection: None)
    options = LoadOptions(server=ServerLoad(source=str(killed.resolve()), resume=True))
    report = load(dataset, location, options=options)
    rest = len(DOCUMENTS) - entry.documents
    # What was under way at the kill may be there already: it is then refused as new and sent once more.
    assert rest / 1_000 <= proxy.bulks - before <= 2 * rest / 1_000
    assert (report.server["resumed"], report.added, report.documents) == (entry.documents, 3_000, 3_000)
    # What was under way at the kill may have come after what the resumed load sent.
    assert sorted(stored(proxy), key=lambda document: document.id) == DOCUMENTS
    assert "index.refresh_interval" not in settings(client)
    assert note(client) is None
    assert journal.read() is None


def test_opening_to_write_mends_what_a_killed_load_left(proxy: FaultyServer, client: Client, killed: Path) -> None:
    with OpenSearchEngine.open(f"{proxy.location}/{INDEX}", writable=True) as engine:
        assert engine.count() >= 1_000
        assert "index.refresh_interval" not in settings(client)
        assert note(client) is None


def test_resume_refuses_another_data_set_or_index(proxy: FaultyServer) -> None:
    location = f"{proxy.location}/{INDEX}"

    def breaks() -> Iterator[Document]:
        yield from DOCUMENTS[:2_500]
        wait_for(lambda: proxy.bulks == 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(Corpus("test", breaks), location, options=LoadOptions(lexical_only=True))
    with pytest.raises(DataError, match="are not those that were loaded"):
        loaded(proxy, [Document("new", "x"), *DOCUMENTS], resume=True)
    OpenSearchEngine.drop(location)
    with pytest.raises(UsageError, match=r"of an index .* that is gone"):
        loaded(proxy, resume=True)
    with pytest.raises(UsageError, match="contradict"):
        load(corpus(DOCUMENTS), location, options=LoadOptions(recreate=True, server=ServerLoad(resume=True)))
    with Journal(location, "test").locked(), pytest.raises(IndexLocked, match="another process is loading"):
        loaded(proxy)


def test_a_folder_takes_none_of_a_servers_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="are for an index on a server"):
        load(corpus(DOCUMENTS), tmp_path / "index", options=LoadOptions(server=ServerLoad(resume=True)))


def test_vectors_arrive_as_they_were(proxy: FaultyServer) -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    location = f"{proxy.location}/{INDEX}"
    with OpenSearchEngine.create(location, IndexSettings(dimension=8, fingerprint="f")) as engine:
        engine.add(DOCUMENTS[:50], vectors)
        engine.commit()
        found = engine.vectors([document.id for document in DOCUMENTS[:50]])
    assert np.array_equal(np.array([found[document.id] for document in DOCUMENTS[:50]]), vectors)
