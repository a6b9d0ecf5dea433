"""The service in processes of its own: many clients, slow ones, signals, another index, the documentation's lines."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from services import NOTES, Running, asked, running, write_index

from hybrid_search.api import open as open_index
from hybrid_search.types import Document

ROOT = Path(__file__).parents[2]
CLIENTS = 16


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("service") / "index", NOTES)


@pytest.fixture
def own(index: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(index, tmp_path / "index"))


def test_the_lines_of_the_documentation_run_as_they_are_printed(own: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the lines are for curl, which is not installed")
    page = (ROOT / "docs" / "service.md").read_text()
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
        for line in block.replace("\\\n", "").splitlines()
        if line.startswith("curl ")
    ]
    assert len(lines) >= 10
    with running(own, "--writable", "--judgements", tmp_path / "judged") as service:
        (tmp_path / ".curlrc").write_text(
            f'connect-to = "localhost:8000:127.0.0.1:{service.port}"\nsilent\nshow-error\nfail-with-body\n'
        )
        for line in lines:
            done = subprocess.run(
                ["/bin/sh", "-c", line], env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, capture_output=True,
                text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            if "/docs" not in line and "/metrics" not in line:
                json.loads(done.stdout)


def test_sixteen_clients_that_add_delete_and_search_at_once_lose_nothing(own: Path) -> None:
    """Two workers, one of which writes: the other one passes changes on, and sees them at the next search."""
    with running(own, "--writable", "--workers", 2) as service:
        with ThreadPoolExecutor(CLIENTS) as clients:
            kept = list(clients.map(lambda number: _changes(service, number), range(CLIENTS)))
        status, stats = service.ask("GET", "/stats")
        assert (status, stats["documents"]) == (200, len(NOTES) + sum(map(len, kept)))
        assert "hybrid_search_requests_total" in service.ask("GET", "/metrics")[1]
        assert service.ends() == 0
    with open_index(own) as retriever:
        assert retriever.engine.verify() == []  # type: ignore[attr-defined]
        assert all(retriever.get([id for ids in kept for id in ids]))


def _changes(service: Running, number: int) -> list[str]:
    """Add documents, find each at once, and delete every third; return the ids of those that stay."""
    kept = []
    with service.connect() as connection:
        for turn in range(3):
            id = f"c{number}-{turn}"
            body = {"documents": [{"id": id, "text": f"word{number}x{turn} rotate the key"}]}
            assert asked(connection, "POST", "/documents", body) == (200, {"added": 1, "rejected": []})
            query = {"query": f"word{number}x{turn}", "mode": "bm25", "k": 1}
            status, found = service.ask("POST", "/search", query)  # by whichever worker takes a new connection
            assert (status, [hit["id"] for hit in found["hits"]]) == (200, [id])
            if turn % 3 == 0:
                assert asked(connection, "DELETE", f"/documents/{id}") == (200, {"deleted": 1})
                assert service.ask("POST", "/search", query)[1]["hits"] == []
            else:
                kept.append(id)
    return kept


@pytest.mark.parametrize("workers", [1, 3])
def test_sigterm_under_load_loses_no_request_and_the_process_ends_with_nought(
    own: Path, workers: int, tmp_path: Path
) -> None:
    with running(own, "--writable", "--workers", workers, log=tmp_path / "log") as service:
        acknowledged: list[str] = []
        broken: list[BaseException] = []
        cut: list[str] = []

        def load(number: int) -> None:
            turn = 0
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
            while True:
                try:
                    connection.connect()
                except OSError:
                    return  # nobody listens any more: no request was sent
                try:
                    while connection.sock is not None:
                        id = f"t{number}-{turn}"
                        body = {"documents": [{"id": id, "text": "under load"}]}
                        status, answer = asked(connection, "POST", "/documents", body)
                        assert (status, answer) == (200, {"added": 1, "rejected": []})
                        acknowledged.append(id)
                        turn += 1
                except ConnectionError:  # by a worker that is gone: then it must not have taken the request
                    cut.append(id)
                    return
                except (OSError, http.client.HTTPException, AssertionError) as error:
                    broken.append(error)
                    return

        threads = [threading.Thread(target=load, args=(number,)) for number in range(CLIENTS)]
        for one in threads:
            one.start()
        time.sleep(1.5)
        code = service.ends()
        for one in threads:
            one.join()
        assert (code, broken) == (0, [])
    assert '"level":"error"' not in (log := (tmp_path / "log").read_text())
    assert "Fatal" not in log
    with open_index(own) as retriever:
        assert len(acknowledged) > CLIENTS
        assert all(retriever.get(acknowledged))
        assert not any(retriever.get(cut))


def test_a_thousand_slow_clients_keep_nobody_from_being_served(index: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4_000:
        pytest.skip(f"a process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4_000), hard))
    with running(index, "--time-limit", 6) as service:
        slow = [socket.create_connection(("127.0.0.1", service.port), timeout=60) for _ in range(1_000)]
        try:
            for number, one in enumerate(slow):
                started = b"POST /search HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                # Half of them never end their headers, the others never end their body.
                one.sendall(started if number % 2 else started + b'content-length: 100\r\n\r\n{"query"')
            for _ in range(20):
                status, found = service.ask("POST", "/search", {"query": "rotate the key", "k": 1})
                assert (status, found["hits"][0]["id"]) == (200, "keys")
            assert slow[0].recv(100).startswith(b"HTTP/1.1 408")
        finally:
            for one in slow:
                one.close()
        assert service.ask("GET", "/health/ready")[0] == 200
        assert service.ends() == 0


def test_another_index_with_another_model_takes_over_without_a_request_lost(index: Path, tmp_path: Path) -> None:
    other = write_index(tmp_path / "other", [Document("new", "Rotate the key.")], seed=2)
    live = tmp_path / "live"
    live.symlink_to(index)
    with running(live) as service:
        stop = threading.Event()

        def ask() -> list[str]:
            seen = []
            with service.connect() as connection:
                while not stop.is_set():
                    status, found = asked(connection, "POST", "/search", {"query": "rotate the key", "k": 1})
                    assert status == 200
                    seen.append(found["hits"][0]["id"])
            return seen

        with ThreadPoolExecutor(4) as clients:
            asking = [clients.submit(ask) for _ in range(4)]
            time.sleep(0.5)
            beside = tmp_path / "beside"
            beside.symlink_to(other)
            beside.replace(live)
            service.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 20
            while service.ask("GET", "/stats")[1]["documents"] != 1 and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(0.2)
            stop.set()
            seen = [one.result() for one in asking]
        for ids in seen:
            assert ids == sorted(ids, key=["keys", "new"].index)  # first the one, then the other
            assert {ids[0], ids[-1]} == {"keys", "new"}


def test_a_worker_that_is_killed_is_replaced(own: Path) -> None:
    with running(own, "--workers", 2) as service:
        time.sleep(5.5)  # one that dies sooner after its start is taken for one that can't start
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(service.process.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        os.kill(int(random.choice(children)), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            now = subprocess.run(
                ["ps", "-o", "pid=", "--ppid", str(service.process.pid)], capture_output=True, text=True, check=True
            ).stdout.split()
            if len(now) == 2 and set(now) != set(children):
                break
            time.sleep(0.1)
        assert len(now) == 2
        assert service.ask("POST", "/search", {"query": "key"})[0] == 200
        assert service.ends() == 0


@pytest.fixture(autouse=True)
def no_more_files_than_before() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
