"""Several writers of one index: the settings that loads hold are by owner and count, and die with their owners."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgspec
import pytest
from conftest import ROOT
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index import holders
from hybrid_search.engines.opensearch.index.holders import Holders
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import CorruptIndex
from hybrid_search.loading.load import LoadOptions, ServerLoad, load
from hybrid_search.loading.sources import Corpus
from hybrid_search.location import Address
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

NAME = "writers"
REFRESH, REPLICAS = "index.refresh_interval", "index.auto_expand_replicas"


@pytest.fixture
def location(opensearch_server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    location = f"{opensearch_server.location}/{NAME}"
    OpenSearchEngine.drop(location)
    OpenSearchEngine.create(location, IndexSettings()).close()
    yield location
    OpenSearchEngine.drop(location)


@pytest.fixture
def client(location: str) -> Iterator[Client]:
    with closing(Client(Address.parse(location))) as client:
        client.call("PUT", f"/{NAME}/_settings", {REFRESH: "7s"})
        yield client


def held(client: Client, name: str = REFRESH) -> str | None:
    settings = client.call("GET", f"/{NAME}/_settings", flat_settings="true")[NAME]["settings"]
    value: str | None = settings.get(name)
    return value


def note(client: Client) -> Holders:
    uuid = client.call("GET", f"/{NAME}/_settings", flat_settings="true")[NAME]["settings"]["index.uuid"]
    return Holders(client, NAME, uuid)


@contextmanager
def another(location: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process of its own that holds the settings until it ends."""
    code = (
        "import time\n"
        "from hybrid_search.engines.opensearch import OpenSearchEngine\n"
        f"with OpenSearchEngine.open({location!r}, writable=True) as engine:\n"
        "    engine.writer.hold(without_replicas=True)\n"
        "    print('holds', flush=True)\n"
        "    input()\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/tmp"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "holds\n"
            yield process
        finally:
            process.kill()


def ends(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_of_two_that_overlap_the_last_one_gives_the_settings_back(
    location: str, client: Client, first_ends_first: bool
) -> None:
    with another(location) as first:
        second = OpenSearchEngine.open(location, writable=True)
        second.writer.hold()
        assert held(client) == "-1"
        for leaves in (True, False) if first_ends_first else (False, True):
            ends(first) if leaves else second.close()
            assert held(client) == ("-1" if leaves == first_ends_first else "7s")
    assert held(client, REPLICAS) == "0-1"


def test_two_loads_at_once_leave_the_settings_as_they_were(location: str, client: Client) -> None:
    code = (
        "import sys\n"
        "from hybrid_search.types import Document\n"
        "from hybrid_search.loading.load import LoadOptions, load\n"
        "from hybrid_search.loading.sources import Corpus\n"
        "documents = [Document(f'{sys.argv[1]}-{number}', 'the sea') for number in range(2_500)]\n"
        f"load(Corpus(sys.argv[1], lambda: iter(documents)), {location!r}, options=LoadOptions(lexical_only=True))\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/tmp"}
    both = [subprocess.Popen([sys.executable, "-c", code, name], env=environment) for name in ("one", "two")]
    assert [process.wait(120) for process in both] == [0, 0]
    assert held(client) == "7s"
    with OpenSearchEngine.open(location) as engine:
        assert engine.count() == 5_000
    found = note(client).read()
    assert found is not None
    assert (found.holding.owners, found.holding.before) == ({}, {})


def test_opening_to_write_gives_back_what_a_dead_one_held_and_leaves_what_a_living_one_holds(
    location: str, client: Client
) -> None:
    with another(location) as living, another(location) as dead:
        dead.kill()
        dead.wait()
        OpenSearchEngine.open(location, writable=True).close()
        assert (held(client), held(client, REPLICAS)) == ("-1", "false")
        found = note(client).read()
        assert found is not None
        assert [owner.process for owner in found.holding.owners.values()] == [living.pid]
        living.kill()
        living.wait()
        OpenSearchEngine.open(location, writable=True).close()
    assert (held(client), held(client, REPLICAS)) == ("7s", "0-1")


def test_one_of_another_machine_is_given_up_when_it_is_silent_for_long(
    location: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "SILENCE", 5.0)
    monkeypatch.setattr(holders, "this_machine", lambda: "another machine")
    with another(location) as process:
        process.send_signal(signal.SIGSTOP)
        OpenSearchEngine.open(location, writable=True).close()
        assert held(client) == "7s"
        process.send_signal(signal.SIGCONT)
        ends(process)  # finds that it holds nothing any more
    assert (held(client), held(client, REPLICAS)) == ("7s", "0-1")


def test_what_others_write_is_found_while_a_retriever_that_has_added_stays_open(location: str, client: Client) -> None:
    client.call("PUT", f"/{NAME}/_settings", {REFRESH: "1s"})
    with Retriever(None, OpenSearchEngine.open(location, writable=True)) as retriever:
        retriever.add([Document("a", "the sea")])
        client.call("PUT", f"/{NAME}/_doc/b", {"id": "b", "text": "the sea"})
        with OpenSearchEngine.open(location, writable=True) as other:
            other.add([Document("c", "the sea")], None)  # and no commit
            until = time.monotonic() + 30
            while set(retriever.rankings(["sea"], 5, mode="bm25")[0].ids) != {"a", "b", "c"}:
                assert time.monotonic() < until
                time.sleep(0.1)
        assert held(client) == "1s"


def test_a_note_of_an_earlier_version_is_followed_as_far_as_it_names_what_loads_hold(
    location: str, client: Client
) -> None:
    meta = client.call("GET", f"/{NAME}/_mapping")[NAME]["mappings"]["_meta"]
    old = {"index.refresh_interval": "3s", "index.blocks.write": "true"}
    client.call("PUT", f"/{NAME}/_mapping", {"_meta": {**meta, "held_settings": old}})
    OpenSearchEngine.open(location, writable=True).close()
    assert (held(client), held(client, "index.blocks.write")) == ("3s", None)
    assert client.call("GET", f"/{NAME}/_mapping")[NAME]["mappings"]["_meta"] == meta


def test_a_note_that_somebody_wrote_sets_nothing_but_what_loads_hold(location: str, client: Client) -> None:
    found = note(client).read_or_make()
    forged = msgspec.structs.replace(found.holding, before={"index.blocks.write": "true", REFRESH: "3s"})
    assert note(client).write(forged, found)
    OpenSearchEngine.open(location, writable=True).close()
    assert (held(client), held(client, "index.blocks.write")) == ("3s", None)
    path = note(client)._path
    client.call("PUT", path, {"index": NAME, "owners": {"x": "nobody"}})
    with pytest.raises(CorruptIndex, match="is not what was written there"):
        OpenSearchEngine.open(location, writable=True)
    client.call("DELETE", path)


def test_a_note_that_is_deleted_meanwhile_costs_nothing(location: str, client: Client) -> None:
    def documents() -> Iterator[Document]:
        yield Document("a", "the sea")
        client.call("DELETE", f"/{holders.INDEX}")

    load(
        Corpus("test", documents),
        location,
        options=LoadOptions(lexical_only=True, server=ServerLoad(without_replicas=True)),
    )
    assert (held(client), held(client, REPLICAS)) == ("7s", "0-1")
