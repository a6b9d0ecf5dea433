"""The towers behind an HTTP address: what is answered, what is refused."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from hybrid_search.cli.deploy import serve_towers_command as command
from hybrid_search.errors import ModelNotFound, UsageError
from hybrid_search.in_cluster.tower_server import TowerServer
from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.onnx.encoder import OnnxEncoder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hybrid_search.towers.checkpoint import save_checkpoint
    from hybrid_search.towers.model_card import ServingDefaults
    from hybrid_search.towers.networks.two_tower import seeded_towers
    from hybrid_search.towers.tokenizer import train_tokenizer
    from hybrid_search.towers.word_vectors import WordVectors

    tokenizer = train_tokenizer(["the moon pulls the sea"] * 3, vocabulary=60, min_frequency=1)
    config = TowerConfig(hidden=4, dimension=4, embedding_dimension=4, towers="separate")
    zeros = np.zeros((tokenizer.vocabulary_size, 4), np.float32)
    folder = tmp_path_factory.mktemp("served") / "model"
    save_checkpoint(
        folder,
        seeded_towers(config, tokenizer.vocabulary_size, seed=0),
        tokenizer,
        untrained=WordVectors(zeros, np.ones(tokenizer.vocabulary_size, np.int64)),
        training={},
        defaults=ServingDefaults(),
    )
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[TowerServer]:
    with TowerServer(model, ("127.0.0.1", 0), "sesame") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: TowerServer, path: str, body: bytes | None = None, token: str = "sesame") -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url + path, body, headers), timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_each_tower_answers_with_a_vector_for_each_text(server: TowerServer, model: Path) -> None:
    texts = ["the moon", "漢字", "the sea"]
    body = json.dumps({"texts": texts}).encode()
    encoder = OnnxEncoder.load(model, threads=1)
    for path, encode in (("/query", encoder.encode_queries), ("/document", encoder.encode_documents)):
        status, vectors = ask(server, path, body)
        assert status == 200
        np.testing.assert_allclose(vectors, encode(texts), atol=1e-6)
        assert vectors[1] == [0.0] * 4
    assert ask(server, "/") == (200, {"fingerprint": encoder.fingerprint, "dimension": 4})


@pytest.mark.parametrize(
    ("path", "body", "token", "status", "reason"),
    [
        ("/query", b'{"texts": ["a"]}', "wrong", 401, "Bearer TOKEN"),
        ("/other", b'{"texts": ["a"]}', "sesame", 404, "POST /query or /document"),
        ("/query", b"texts", "sesame", 400, "malformed"),
        ("/query", b'{"texts": ["\xff\xfe"]}', "sesame", 400, 'send {"texts": ["..."]}'),
        ("/query", b'{"text": ["a"]}', "sesame", 400, "unknown field `text`"),
        ("/query", b'{"texts": []}', "sesame", 400, "0 texts; send 1 to 1000"),
        ("/query", b'{"texts": [7]}', "sesame", 400, "Expected `str`"),
        ("/nothing", None, "sesame", 404, "GET /"),
    ],
)
def test_what_is_wrong_is_said(
    path: str, body: bytes | None, token: str, status: int, reason: str, server: TowerServer
) -> None:
    found, told = ask(server, path, body, token)
    assert (found, reason in told["error"]) == (status, True), told


def test_a_body_that_is_too_long_is_not_read(server: TowerServer) -> None:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=20)
    connection.putrequest("POST", "/query")
    connection.putheader("Authorization", "Bearer sesame")
    connection.putheader("Content-Length", str(17 << 20))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)) == (413, {"error": "send a Content-Length of at most 16777216"})
    connection.close()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"])
def test_another_method_is_refused_in_json(method: str, server: TowerServer) -> None:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=20)
    connection.request(method, "/query", b"{}", {"Authorization": "Bearer sesame"})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Content-Type")) == (501, "application/json")
    told = answer.read()
    assert method == "HEAD" or f"Unsupported method ('{method}')" in json.loads(told)["error"]
    connection.close()


@pytest.mark.parametrize(
    "request_line", [b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"GET /" + b"a" * 70_000 + b"\r\n\r\n"]
)
def test_what_is_no_request_is_refused_in_json(request_line: bytes, server: TowerServer) -> None:
    with socket.create_connection(server.server_address[:2], timeout=20) as connection:
        connection.sendall(request_line)
        told = b"".join(iter(lambda: connection.recv(4_096), b""))
    assert b'{"error":' in told
    assert b"<" not in told


def test_a_client_that_goes_away_leaves_a_line_in_the_log_and_no_traceback(
    server: TowerServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    body = json.dumps({"texts": ["the moon"] * 1_000}).encode()
    head = b"POST /query HTTP/1.1\r\nAuthorization: Bearer sesame\r\nContent-Length: %d\r\n\r\n" % len(body)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            with socket.create_connection(server.server_address[:2], timeout=20) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(head + body)
        deadline = time.monotonic() + 10
        while "went away" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "went away" in caplog.text
    assert "Traceback" not in caplog.text + capfd.readouterr().err
    assert ask(server, "/")[0] == 200


def test_being_open_to_other_machines_without_a_token_is_known(model: Path) -> None:
    for host, token, is_open in (("127.0.0.1", "", False), ("0.0.0.0", "", True), ("0.0.0.0", "sesame", False)):
        with TowerServer(model, (host, 0), token) as server:
            assert server.is_open_to_others is is_open


def test_without_a_model_or_on_a_port_that_is_taken_it_does_not_start(
    server: TowerServer, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelNotFound, match="no model at"):
        TowerServer(tmp_path, ("127.0.0.1", 0))
    with pytest.raises(UsageError, match=r"can't listen on 127\.0\.0\.1:.*give another host or port"):
        TowerServer(model, ("127.0.0.1", int(server.server_address[1])))
    with pytest.raises(UsageError, match=r"can't listen on 127\.0\.0\.1:99999 \(a port is 0 to 65535\)"):
        TowerServer(model, ("127.0.0.1", 99_999))


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_a_port_that_is_none_is_a_usage_error(port: str, tmp_path: Path) -> None:
    told = CliRunner().invoke(command, [str(tmp_path), "--port", port])
    assert told.exit_code == 2
    assert f"Invalid value for '--port': '{port}'" in told.output or f"{port} is not in the range" in told.output
