"""Connections to a server with TLS and users: what is taken, and what is said when it is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import by_text
from conftest import Home, run
from node.secured import PASSWORD, SecuredNode

import hybrid_search
from hybrid_search.doctor.diagnosis import diagnose
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.connection_settings import connected
from hybrid_search.errors import AccessDenied, SearchIndexError, Unreachable
from hybrid_search.location import Address
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

SETTINGS = IndexSettings(dimension=2, fingerprint="abc123")


@pytest.fixture(scope="module")
def ca(secured_node: SecuredNode, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(secured_node.write_ca(tmp_path_factory.mktemp("ca") / "ca.pem"))


@pytest.fixture(scope="module")
def admin(ca: str) -> Connection:
    return Connection(user="admin", password=PASSWORD, ca_certs=ca)


@pytest.fixture(scope="module")
def index(secured_node: SecuredNode, admin: Connection) -> Iterator[str]:
    location = f"{secured_node.location}/secured"
    with connected(admin), OpenSearchEngine.create(location, SETTINGS) as engine:
        engine.add([Document("a", "sealed")], np.ones((1, 2), np.float32))
        engine.commit()
    yield location
    with connected(admin):
        OpenSearchEngine.drop(location)


def name_of(secured_node: SecuredNode, connection: Connection) -> str:
    address = Address("127.0.0.1", secured_node.port, "", tls=True)
    with closing(Client(address, connection)) as client:
        return str(client.call("GET", "/")["version"]["distribution"])


def test_the_right_password_a_token_or_a_certificate_opens(
    secured_node: SecuredNode, ca: str, admin: Connection, tmp_path: Path
) -> None:
    ours = secured_node.ca.issue_cert("certified.test", common_name="certified")
    ours.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "ours.pem"))
    ways = (
        admin,
        Connection(token=secured_node.token("visitor", "admin"), ca_certs=ca),
        Connection(client_cert=str(tmp_path / "ours.pem"), ca_certs=ca),
    )
    assert [name_of(secured_node, way) for way in ways] == ["opensearch"] * 3


NOBODY = {"user": "", "password": ""}


@pytest.mark.parametrize("wrong", [{"password": "guessed"}, {"user": "unknown"}, {**NOBODY, "token": "a.b.c"}, NOBODY])
def test_who_is_not_known_is_told_where_to_say_it(
    wrong: dict[str, Any], secured_node: SecuredNode, admin: Connection
) -> None:
    with pytest.raises(AccessDenied, match="does not take this user and password or token") as refused:
        name_of(secured_node, dataclasses.replace(admin, **wrong))
    assert refused.value.status == 401
    assert "guessed" not in str(refused.value)
    assert "a.b.c" not in str(refused.value)


def test_who_lacks_a_right_is_told_which(secured_node: SecuredNode, admin: Connection, index: str) -> None:
    reader = dataclasses.replace(admin, user="reader")
    with connected(reader):
        with OpenSearchEngine.open(index) as engine:
            assert by_text(engine, ["sealed"], 1)[0].ids == ("a",)
        with pytest.raises(AccessDenied, match=r"no permissions for \[indices:admin/delete\].*name=reader"):
            OpenSearchEngine.drop(index)
    with (
        connected(dataclasses.replace(admin, user="nobody")),
        pytest.raises(AccessDenied, match="no permissions for"),
    ):
        OpenSearchEngine.open(index)


def test_the_library_takes_a_connection_and_keeps_it(admin: Connection, index: str) -> None:
    with hybrid_search.open(index, connection=admin) as retriever:
        assert [hit.id for hit in retriever.search("sealed", 1, mode="bm25")] == ["a"]
    with pytest.raises(SearchIndexError, match="authority that is not known"):
        hybrid_search.open(index)


def test_the_doctor_says_what_it_was_not_told(secured_node: SecuredNode, admin: Connection, index: str) -> None:
    with connected(admin):
        assert not [one for one in diagnose(index).findings if one.check == "unanswered"]
    with connected(dataclasses.replace(admin, user="reader")):
        diagnosis = diagnose(index)
    (unanswered,) = [one for one in diagnosis.findings if one.check == "unanswered"]
    assert "(not allowed)" in unanswered.fault
    assert diagnosis.indexes == ["secured"]


def test_a_server_of_an_authority_that_is_not_known_is_refused(secured_node: SecuredNode, admin: Connection) -> None:
    with pytest.raises(
        SearchIndexError, match="authority that is not known here: name its certificate with ca_certs=FILE"
    ):
        name_of(secured_node, dataclasses.replace(admin, ca_certs=""))


def test_without_verifying_any_certificate_will_do(
    secured_node: SecuredNode, admin: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    assert name_of(secured_node, dataclasses.replace(admin, ca_certs="", verify=False)) == "opensearch"
    assert "its certificate is not checked" in caplog.text


def test_plain_http_to_a_server_with_tls_is_pointed_to_it(secured_node: SecuredNode) -> None:
    address = Address("127.0.0.1", secured_node.port, "")
    with (
        closing(Client(address, Connection(retries=0))) as client,
        pytest.raises(Unreachable, match="use opensearchs:// if it wants TLS"),
    ):
        client.call("GET", "/")


def test_the_command_line_takes_options_before_the_verb_and_shows_no_password(
    secured_node: SecuredNode, ca: str, index: str, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    (tmp_path / "wrong").write_text("guessed-wrong")
    who = ("--ca-certs", ca, "--user", "admin", "--password-file")
    query = ("query", "sealed", "--from", index, "--mode", "bm25", "--format", "json")
    told = run(*who, tmp_path / "password", *query, cwd=tmp_path)
    assert told.code == 0, told.err
    assert [hit["id"] for hit in told.json["hits"]] == ["a"]
    refused = run(*who, tmp_path / "wrong", *query, cwd=tmp_path)
    assert refused.code == 4
    assert "does not take this user and password" in refused.err
    assert "guessed-wrong" not in refused.err + refused.out


def test_loading_and_hybrid_search_work_with_a_connections_file(
    home: Home, secured_node: SecuredNode, ca: str, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    file = tmp_path / "connections.toml"
    file.write_text(
        f'["127.0.0.1:{secured_node.port}"]\nuser = "admin"\npassword_file = "password"\nca_certs = "{ca}"\n'
    )
    place = f"{secured_node.location}/from-file"
    loaded = home.run("--connections", file, "load", "jsonl", "--path", home.data, "--model", home.model, "--to", place)
    assert loaded.code == 0, loaded.err
    found = home.run("--connections", file, "query", "knead the dough", "--from", place, "--format", "json")
    assert found.code == 0, found.err
    assert len(found.json["hits"]) == 5
