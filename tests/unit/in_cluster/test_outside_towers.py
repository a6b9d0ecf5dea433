"""Towers at an address, asked from here before a connector to them is made."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hybrid_search.errors import AccessDenied, ModelMismatch
from hybrid_search.in_cluster.connectors import check_outside

OURS, OTHERS = "a" * 64, "b" * 64


class Towers(BaseHTTPRequestHandler):
    """Names its model to everybody, and wants a token for vectors; below /gone there is nothing."""

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/" else 404, {"fingerprint": OURS, "dimension": 4})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200 if self.headers["Authorization"] == "Bearer sesame" else 401, [[1.0]])

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Towers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_indexs_own_towers_with_their_token_are_taken(url: str) -> None:
    check_outside(url, "sesame", OURS)


def test_another_model_is_refused_and_both_are_named(url: str) -> None:
    with pytest.raises(ModelMismatch, match=f"the towers at {url} are model {OURS}, and .* built with {OTHERS}"):
        check_outside(url, "sesame", OTHERS)


@pytest.mark.parametrize(("token", "message"), [("", "want a token"), ("secret", "want another token")])
def test_a_wrong_token_is_told_apart_and_not_shown(url: str, token: str, message: str) -> None:
    with pytest.raises(AccessDenied, match=rf"{message}: .*HYBRID_SEARCH_TOWERS_TOKEN") as refused:
        check_outside(url, token, OURS)
    assert "secret" not in str(refused.value)


def test_what_this_machine_does_not_reach_is_left_to_the_cluster(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    check_outside("http://127.0.0.1:1", "secret", OURS)
    check_outside(f"{url}/gone", "secret", OURS)
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]
    assert "can't be asked from this machine" in caplog.text
    assert "answer 404" in caplog.text
    assert "secret" not in caplog.text
