"""The notes in an index's mapping, changed by several processes at the same moment: none overwrites another's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from conftest import ROOT
from node.faulty import Fault, FaultyServer, at_random
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index import meta
from hybrid_search.engines.opensearch.index.aliases import live_index, note_live, swap
from hybrid_search.engines.opensearch.index.deployment import read_record
from hybrid_search.engines.opensearch.index.meta import Mark, change_mark, mark_of
from hybrid_search.engines.opensearch.index.template import read_settings
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.location import Address
from hybrid_search.settings.index import IndexSettings

pytestmark = pytest.mark.opensearch

NAME, ALIAS = "notes-000001", "notes"


@pytest.fixture
def location(opensearch_server: Server) -> Iterator[str]:
    location = f"{opensearch_server.location}/{NAME}"
    OpenSearchEngine.drop(location)
    OpenSearchEngine.create(location, IndexSettings()).close()
    yield location
    with closing(Client(Address.parse(location))) as client:
        meta.update(client, NAME, "deployment", lambda _: None)
    OpenSearchEngine.drop(location)


@pytest.fixture
def client(location: str) -> Iterator[Client]:
    with closing(Client(Address.parse(location))) as client:
        yield client


def process(location: str, body: str) -> subprocess.Popen[str]:
    """Start a process of its own that works on the index."""
    code = (
        "from contextlib import closing\n"
        "from hybrid_search.engines.opensearch.index import meta\n"
        "from hybrid_search.location import Address\n"
        "from hybrid_search.engines.opensearch.transport.client import Client\n"
        f"with closing(Client(Address.parse({location!r}))) as client:\n"
        "    for number in range(1, 11):\n"
    ) + "".join(f"        {line}\n" for line in body.splitlines())
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/tmp"}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)


def ended_well(*processes: subprocess.Popen[str]) -> None:
    told = [one.communicate(timeout=120)[1] for one in processes]
    assert [one.returncode for one in processes] == [0] * len(processes), told


def test_two_processes_that_count_in_the_same_notes_miss_none(location: str, client: Client) -> None:
    counting = f'for key in ("shared", "%s"):\n    meta.update(client, "{NAME}", key, lambda count: (count or 0) + 1)'
    ended_well(*(process(location, counting % own) for own in ("one", "two")))
    notes = meta.read(client, NAME)
    assert (notes["shared"], notes["one"], notes["two"]) == (20, 10, 10)
    assert read_settings(client, Address.parse(location)) == IndexSettings()


def test_deploying_loading_and_moving_an_alias_at_once_keep_one_anothers_notes(location: str, client: Client) -> None:
    deploying = process(
        location,
        "from hybrid_search.engines.opensearch.index.deployment import Deployment, remember\n"
        f'remember(client, Deployment(index="{NAME}", family="{ALIAS}", fingerprint="f", query_model=str(number)))',
    )
    loading = process(
        location,
        "from hybrid_search.engines.opensearch import OpenSearchEngine\n"
        "from hybrid_search.types import Document\n"
        f"with OpenSearchEngine.open({location!r}, writable=True) as engine:\n"
        "    engine.writer.hold()\n"
        '    engine.add([Document(f"d{number}", "the sea")], None)\n'
        "    engine.commit()",
    )
    change_mark(client, NAME, lambda _: Mark(alias=ALIAS))
    change_mark(client, NAME, lambda held: held.after(None, ["notes-000000"]))
    swap(client, ALIAS, live_index(client, ALIAS), NAME)
    note_live(client, NAME)
    for _ in range(10):
        change_mark(client, NAME, lambda held: held.after(None, [*held.history, "earlier"]))
    ended_well(deploying, loading)

    mark, record = mark_of(client, NAME), read_record(client, NAME)
    assert (mark.alias, mark.state, bool(mark.went_live)) == (ALIAS, "ready", True)
    assert mark.history == ("notes-000000", *["earlier"] * 10)
    assert record is not None
    assert (record.family, record.query_model) == (ALIAS, "10")
    assert (
        "index.refresh_interval" not in client.call("GET", f"/{NAME}/_settings", flat_settings="true")[NAME]["settings"]
    )
    with OpenSearchEngine.open(location) as engine:
        assert engine.count() == 10


def test_a_note_is_changed_once_although_requests_go_wrong_at_random(
    location: str, client: Client, opensearch_server: Server
) -> None:
    with FaultyServer(opensearch_server.url, meant=lambda method, path: True) as proxy:
        proxy.follow(at_random(3, dict.fromkeys((Fault.DROP_AFTER, Fault.CUT, Fault.UNAVAILABLE), 0.08)))
        with closing(Client(Address.parse(f"{proxy.location}/{NAME}"))) as bumpy:
            meta.update(bumpy, NAME, "words", lambda words: [*(words or ()), "once"])
    words = meta.read(client, NAME)["words"]
    # A change whose answer was lost may be begun again, and finds its own work; it is never made half.
    assert set(words) == {"once"}
