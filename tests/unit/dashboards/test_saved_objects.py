"""Importing into Dashboards: its answers as its API gives them, from a server of the test's own."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from pathlib import Path

import pytest
import trustme
from loopback import DROP, loopback

from hybrid_search.dashboards.import_objects import DashboardsAddress, import_objects
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.connection_settings import connected
from hybrid_search.errors import AccessDenied, SearchIndexError, Unreachable, UnsupportedCapability, UsageError

LINES = b"".join(
    json.dumps({"type": kind, "id": id, "attributes": {}, "references": []}).encode() + b"\n"
    for kind, id in (("index-pattern", "p"), ("visualization", "v"), ("dashboard", "d"))
)
TAKEN = [
    {"type": "index-pattern", "id": "p", "meta": {"title": "passages"}, "overwrite": True},
    {"type": "visualization", "id": "v", "meta": {"title": "count"}},
    {"type": "dashboard", "id": "d", "meta": {"title": "all"}},
]
SUCCESS = (200, {"successCount": 3, "success": True, "successResults": TAKEN})
MISSING = {
    "type": "visualization",
    "id": "v",
    "title": "count",
    "meta": {"title": "count"},
    "error": {"type": "missing_references", "references": [{"type": "index-pattern", "id": "gone"}]},
}
WRONG_PASSWORD = (401, {"statusCode": 401, "error": "Unauthorized", "message": "Authentication required"})


def test_the_file_is_sent_as_dashboards_wants_it() -> None:
    with loopback(SUCCESS) as server:
        done = import_objects(f"{server.address.server}/base/app/home#/", LINES, tenant="global")
    assert (done.taken, done.replaced) == (3, 1)
    [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/base/api/saved_objects/_import?overwrite=true")
    assert asked.headers["osd-xsrf"] == "true"
    assert asked.headers["securitytenant"] == "global"
    assert "authorization" not in asked.headers
    assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="file"; filename="hybrid-search.ndjson"' in asked.body
    assert LINES in asked.body


WHO = (
    200,
    {"user_name": "me", "user_requested_tenant": "team", "tenants": {"team": True, "theirs": False, "me": True}},
)


def test_a_tenant_of_the_user_is_looked_up_and_taken() -> None:
    with loopback(WHO, SUCCESS) as server:
        assert import_objects(server.address.server, LINES, tenant="team").taken == 3
    who, imported = server.asked
    assert (who.method, who.path, who.headers["securitytenant"]) == ("GET", "/api/v1/auth/authinfo", "team")
    assert imported.headers["securitytenant"] == "team"


@pytest.mark.parametrize(
    ("tenant", "answer", "error", "told"),
    [
        ("temas", WHO, UsageError, "does not have for this user; there are global, me, private, team, theirs"),
        ("theirs", WHO, AccessDenied, "may read the tenant 'theirs', not write to it"),
        ("team", (404, {"statusCode": 404, "error": "Not Found"}), UsageError, "has no tenants"),
        ("team", WRONG_PASSWORD, AccessDenied, "does not take this user and password"),
    ],
)  # fmt: skip
def test_nothing_is_imported_into_another_tenant_than_the_one_named(
    tenant: str, answer: tuple[int, object], error: type[Exception], told: str
) -> None:
    with loopback(answer, SUCCESS) as server, pytest.raises(error, match=told):
        import_objects(server.address.server, LINES, tenant=tenant)
    assert len(server.asked) == 1


def test_an_object_that_was_refused_is_named_with_the_reason() -> None:
    answer = {"successCount": 2, "success": False, "successResults": [TAKEN[0], TAKEN[2]], "errors": [MISSING]}
    with (
        loopback((200, answer)) as server,
        pytest.raises(SearchIndexError, match=r"1 of 3 .*visualization:v \(missing references index-pattern:gone\)"),
    ):
        import_objects(server.address.server, LINES)


def test_what_was_dropped_while_success_was_said_is_found() -> None:
    answer = {"successCount": 2, "success": True, "successResults": TAKEN[:2]}
    with (
        loopback((200, answer)) as server,
        pytest.raises(SearchIndexError, match=r"1 of 3 objects were not taken: dashboard:d \(no reason given\)"),
    ):
        import_objects(server.address.server, LINES)


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (WRONG_PASSWORD, AccessDenied, r"does not take this user and password \(401\)"),
        ((302, ""), AccessDenied, r"does not take this user and password \(302\)"),
        (
            (403, {"statusCode": 403, "error": "Forbidden", "message": "no permissions for [indices:data/write/bulk]"}),
            AccessDenied,
            r"no permissions for \[indices:data/write/bulk\]; give the user the rights",
        ),
        ((404, {"statusCode": 404, "error": "Not Found"}), UnsupportedCapability, "no OpenSearch Dashboards"),
        (
            (400, {"error": "no handler found for uri [/x]"}),
            UnsupportedCapability,
            "no OpenSearch Dashboards .* port 5601",
        ),
        ((200, "<html>hello</html>"), UnsupportedCapability, "no OpenSearch Dashboards"),
        ((200, {"hello": "world"}), UnsupportedCapability, "not that of an import"),
        (
            (400, {"statusCode": 400, "error": "Bad Request", "message": "Invalid file extension .json"}),
            SearchIndexError,
            "Invalid file extension",
        ),
        (
            (413, {"statusCode": 413, "error": "x", "message": "Payload too large"}),
            SearchIndexError,
            "Payload too large",
        ),
        ((503, "OpenSearch Dashboards server is not ready yet"), Unreachable, r"not ready \(503"),
        ((DROP, None), Unreachable, "nothing answers at .* check the address"),
    ],
)
def test_each_other_answer_is_told_apart(answer, error, told) -> None:
    with loopback(answer) as server, pytest.raises(error, match=told):
        import_objects(server.address.server, LINES)


def test_nobody_there_is_said_with_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unreachable, match=rf"nothing answers at http://127\.0\.0\.1:{port} .*refused"):
        import_objects(f"http://127.0.0.1:{port}", LINES)


def test_user_and_password_are_sent_and_never_told() -> None:
    secret = Connection(user="me", password="sesame-ö:1")
    with loopback(WRONG_PASSWORD) as server, connected(secret), pytest.raises(AccessDenied) as refused:
        import_objects(server.address.server, LINES)
    assert server.asked[0].headers["authorization"] == f"Basic {base64.b64encode('me:sesame-ö:1'.encode()).decode()}"
    assert "sesame" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_tls_is_checked_as_with_a_server(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with loopback(SUCCESS, tls=context) as server, connected(Connection(ca_certs=str(tmp_path / "ca.pem"))):
        assert import_objects(server.address.server, LINES).taken == 3
    with (
        loopback(SUCCESS, tls=context) as server,
        connected(Connection()),
        pytest.raises(SearchIndexError, match=r"local issuer certificate.* ca_certs=FILE"),
    ):
        import_objects(server.address.server, LINES)


def test_amazon_s_dashboards_are_left_to_the_browser() -> None:
    with (
        connected(Connection(aws_region="eu-west-1")),
        pytest.raises(UnsupportedCapability, match="import it in the br"),
    ):
        import_objects("https://search.example.org/_dashboards", LINES)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://localhost:5601", "http://localhost:5601"),
        ("http://localhost", "http://localhost:5601"),
        ("https://search.example.org/_dashboards/app/home", "https://search.example.org:443/_dashboards"),
    ],
)
def test_an_address_out_of_the_browser_will_do(url: str, where: str) -> None:
    assert str(DashboardsAddress.parse(url)) == where


@pytest.mark.parametrize("url", ["localhost:5601", "opensearch://localhost:9200", "http://", "http://a:b"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="such as http://localhost:5601"):
        DashboardsAddress.parse(url)


def test_a_password_in_the_address_is_refused_without_showing_it() -> None:
    with pytest.raises(UsageError, match="OPENSEARCH_PASSWORD") as refused:
        DashboardsAddress.parse("http://me:sesame@localhost:5601")
    assert "sesame" not in str(refused.value)
