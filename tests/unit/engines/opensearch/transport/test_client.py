"""The client against servers of the test's own: what is sent, what is repeated, what is said when TLS fails."""

from __future__ import annotations

import base64
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from loopback import DROP, Asked, Loopback, loopback

from hybrid_search.engines.opensearch.transport import plan as retrying
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.errors import (
    AccessDenied,
    ConfigError,
    MissingExtra,
    Overloaded,
    SearchIndexError,
    Unreachable,
    UsageError,
)
from hybrid_search.location import Address

FULL = (429, {"error": {"type": "rejected_execution_exception", "reason": "queue is full"}})
STARTING = (503, "OpenSearch Security not initialized.")
BLOCKED = (429, {"error": {"type": "cluster_block_exception", "reason": "index [a] blocked by: [read-only]"}})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_PAUSE", 0.001)


def call(server: Loopback, method: str = "GET", path: str = "/", **given: Any) -> Any:
    with closing(Client(server.address, Connection(**given))) as client:
        return client.call(method, path)


@pytest.mark.parametrize("first", [FULL, STARTING, (DROP, None)])
def test_a_read_is_repeated_until_it_succeeds(first: tuple[int, Any]) -> None:
    with loopback(first, first, (200, {"ok": True})) as server:
        assert call(server, "POST", "/a/_search") == {"ok": True}
        assert len(server.asked) == 3


def test_repeating_ends_with_the_retries_and_the_last_reason() -> None:
    with loopback(always=FULL) as server:
        with pytest.raises(Overloaded, match="queue is full; the server is overloaded") as refused:
            call(server, retries=2)
        assert (refused.value.status, refused.value.retryable) == (429, True)
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/a/_bulk"), ("PUT", "/a"), ("DELETE", "/a"), ("POST", "/_aliases")]
)
def test_a_write_that_is_not_the_same_twice_is_sent_once(method: str, path: str) -> None:
    with loopback(always=(DROP, None)) as server:
        with pytest.raises(Unreachable, match="closed the connection without an answer") as lost:
            call(server, method, path)
        assert lost.value.retryable
        assert len(server.asked) == 1


def test_a_write_that_is_the_same_twice_is_repeated() -> None:
    with loopback((DROP, None), (200, {"acknowledged": True})) as server:
        assert call(server, "PUT", "/a/_settings")["acknowledged"]
        assert len(server.asked) == 2


def test_a_block_is_not_waited_for_though_it_is_a_429() -> None:
    with loopback(always=BLOCKED) as server:
        with pytest.raises(SearchIndexError, match=r"index.blocks") as refused:
            call(server)
        assert not refused.value.retryable
        assert len(server.asked) == 1


def test_a_wrong_password_is_not_tried_again() -> None:
    with loopback(always=(401, "Unauthorized")) as server:
        with pytest.raises(AccessDenied, match="does not take") as refused:
            call(server, user="me", password="sesame")
        assert "sesame" not in str(refused.value)
        assert len(server.asked) == 1


def test_a_server_that_is_slow_is_given_up_after_the_read_timeout() -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = Address("127.0.0.1", silent.getsockname()[1], "")
        with (
            closing(Client(address, Connection(read_timeout=0.1, retries=0))) as client,
            pytest.raises(Unreachable, match=r"did not answer in time .*read_timeout=SECONDS"),
        ):
            client.call("GET", "/")


def test_without_a_server_the_address_is_named() -> None:
    with (
        closing(Client(Address("127.0.0.1", 1, ""), Connection(retries=1))) as client,
        pytest.raises(
            Unreachable, match=r"nothing answers at http://127.0.0.1:1 \(Connection refused\); check the address"
        ),
    ):
        client.call("GET", "/")


def test_further_hosts_are_asked_when_the_first_is_gone() -> None:
    with loopback(always=(200, {"I": "am here"})) as server:
        others = (f"127.0.0.1:{server.address.port}",)
        with closing(Client(Address("127.0.0.1", 1, ""), Connection(hosts=others))) as client:
            assert [client.call("GET", "/")["I"] for _ in range(3)] == ["am here"] * 3


def test_one_connection_serves_one_thread_and_no_more_are_made_than_are_used_at_once() -> None:
    with loopback() as server:
        with closing(Client(server.address, Connection())) as client:
            for _ in range(50):
                client.call("GET", "/")
        assert server.connections == 1
    with loopback() as server:
        with closing(Client(server.address, Connection(max_connections=4))) as client, ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: client.call("GET", "/"), range(200)))
        assert server.connections <= 4


def test_any_password_can_be_sent() -> None:
    with loopback() as server:
        call(server, user="me", password="söß☃:x")
        kind, _, sent = server.asked[0].headers["authorization"].partition(" ")
        assert (kind, base64.b64decode(sent).decode()) == ("Basic", "me:söß☃:x")


@pytest.mark.parametrize(
    ("token", "sent"), [("abc.def", "Bearer abc.def"), ("os_3f9c", "ApiKey os_3f9c"), ("OS_3f9c", "Bearer OS_3f9c")]
)
def test_a_token_is_sent_as_a_bearer_and_the_server_s_own_api_keys_as_such(token: str, sent: str) -> None:
    with loopback() as server:
        call(server, token=token)
        assert server.asked[0].headers["authorization"] == sent


class TestSignedRequests:
    """SigV4, checked by Amazon's own signer over what arrived."""

    @pytest.fixture(autouse=True)
    def credentials(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))

    @pytest.mark.parametrize("service", ["es", "aoss"])
    def test_the_signature_is_the_one_that_amazon_computes(self, service: str) -> None:
        with loopback() as server:
            with closing(Client(server.address, Connection(aws_region="eu-west-1", aws_service=service))) as client:  # type: ignore[arg-type]
                client.call("GET", "/")
                client.call("GET", "/a/_settings", flat_settings="true", expand_wildcards="all,-hidden")
                client.call("POST", "/a-*,b.c/_search", {"query": {"match_all": {}}})
                client.lines("/a/_bulk", [{"index": {"_id": "ä"}}, {"x": 1}], filter_path="-**._index")
            for asked in server.asked:
                assert asked.headers["authorization"] == self.expected(asked, server, service), asked

    def expected(self, asked: Asked, server: Loopback, service: str) -> str:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        signed = asked.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        headers = {name: asked.headers[name] for name in signed if name not in ("x-amz-date",)}
        headers["x-amz-date"] = asked.headers["x-amz-date"]
        request = AWSRequest(asked.method, f"{server.address.server}{asked.path}", headers, asked.body)
        request.context["timestamp"] = asked.headers["x-amz-date"]
        signer = SigV4Auth(Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI"), service, "eu-west-1")
        canonical = signer.canonical_request(request)
        signature = signer.signature(signer.string_to_sign(request, canonical), request)
        scope = signer.scope(request)
        return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"

    def test_without_boto3_it_says_which_extra_has_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "boto3", None)
        with pytest.raises(MissingExtra, match=r"boto3 is not installed; .*hybrid-search-towers\[aws\]"):
            Client(Address("127.0.0.1", 1, ""), Connection(aws_region="eu-west-1"))

    def test_without_credentials_it_says_where_to_put_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(UsageError, match="AWS_ACCESS_KEY_ID"):
            Client(Address("127.0.0.1", 1, ""), Connection(aws_region="eu-west-1"))


class TestCertificates:
    """Servers whose certificates are good, too old, of somebody else, or for another name."""

    @pytest.fixture
    def ca(self) -> trustme.CA:
        return trustme.CA(key_type=trustme.KeyType.ECDSA)

    @pytest.fixture
    def ca_certs(self, ca: trustme.CA, tmp_path: Path) -> str:
        file = tmp_path / "ca.pem"
        ca.cert_pem.write_to_path(str(file))
        return str(file)

    def served(self, certificate: trustme.LeafCert) -> Any:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return loopback(tls=context)

    def test_one_of_our_own_authority_is_taken(self, ca: trustme.CA, ca_certs: str) -> None:
        with self.served(ca.issue_cert("127.0.0.1")) as server:
            assert call(server, ca_certs=ca_certs) == {}

    def test_one_that_has_expired_is_refused(self, ca: trustme.CA, ca_certs: str) -> None:
        old = ca.issue_cert(
            "127.0.0.1", not_before=datetime(2024, 1, 1, tzinfo=UTC), not_after=datetime(2024, 2, 1, tzinfo=UTC)
        )
        with self.served(old) as server:
            with pytest.raises(
                SearchIndexError, match=r"certificate has expired: renew it on the server \(certificate has"
            ) as refused:
                call(server, ca_certs=ca_certs)
            assert not refused.value.retryable

    def test_one_for_another_name_is_refused(self, ca: trustme.CA, ca_certs: str) -> None:
        with (
            self.served(ca.issue_cert("search.example.org")) as server,
            pytest.raises(
                SearchIndexError, match=r"is for another name: use the name that it has, .*not valid for '127.0.0.1'"
            ),
        ):
            call(server, ca_certs=ca_certs)

    def test_one_of_an_authority_that_is_not_known_is_refused(self, ca: trustme.CA) -> None:
        with (
            self.served(ca.issue_cert("127.0.0.1")) as server,
            pytest.raises(
                SearchIndexError, match="authority that is not known here: name its certificate with ca_certs=FILE"
            ),
        ):
            call(server)

    def test_tls_to_a_server_without_it_is_pointed_to_plain_http(self) -> None:
        with loopback(always=(400, "bad request")) as server:
            address = Address("127.0.0.1", server.address.port, "", tls=True)
            with (
                closing(Client(address, Connection())) as client,
                pytest.raises(SearchIndexError, match="does not speak TLS here: use opensearch://"),
            ):
                client.call("GET", "/")

    def test_a_file_that_is_no_certificate_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "empty.pem").write_text("")
        for name in ("empty.pem", "missing.pem"):
            with pytest.raises(ConfigError, match=rf"ca_certs is '.*{name}', which can't be read as a PEM file"):
                Client(Address("localhost", 1, "", tls=True), Connection(ca_certs=str(tmp_path / name)))


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/passages/_mapping"), ("POST", "/_bulk")])
def test_a_server_of_another_kind_is_told_as_that(method: str, path: str, tmp_path: Path) -> None:
    files = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), files) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address = Address("127.0.0.1", other.server_port, "")
        with (
            closing(Client(address, Connection())) as client,
            pytest.raises(SearchIndexError, match="does not look like an OpenSearch server; check the address and the"),
        ):
            client.call(method, path)
        other.shutdown()


def test_pauses_double_and_end() -> None:
    waits = list(retrying.pauses(4))
    assert len(waits) == 4
    for number, wait in enumerate(waits):
        assert 0.5 * 0.001 * 2**number <= wait <= 0.001 * 2**number


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENSEARCH_USER", "OPENSEARCH_PASSWORD", "OPENSEARCH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
