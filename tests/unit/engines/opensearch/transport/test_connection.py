"""How a connection is put together, and that its secrets stay inside."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.connection_settings import connected, resolved
from hybrid_search.engines.opensearch.transport.curl import Commands
from hybrid_search.errors import ConfigError, UsageError
from hybrid_search.location import Address

HERE = Address("search.example.org", 9200, "a", tls=True)
SECTION = '["search.example.org:9200"]\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment whose user has no connections file yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def write(home: Mapping[str, str], text: str, mode: int = 0o600) -> Path:
    folder = Path(home["XDG_CONFIG_HOME"]) / "hybrid-search"
    folder.mkdir(exist_ok=True)
    file = folder / "connections.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_nothing_said_is_a_checked_connection_of_nobody(home: dict[str, str]) -> None:
    assert resolved(HERE, home) == Connection()
    assert Connection().verify


def test_options_come_before_the_environment_and_that_before_the_file(home: dict[str, str]) -> None:
    write(home, f'{SECTION}ca_certs = "/file.pem"\nread_timeout = 5\nretries = 1\nhosts = ["b:9200"]\n')
    environment = {**home, "OPENSEARCH_CA_CERTS": "/environment.pem", "OPENSEARCH_RETRIES": "2"}
    with connected({"ca_certs": "/option.pem", "user": None, "hosts": ()}):
        found = resolved(HERE, environment)
    assert found == Connection(ca_certs="/option.pem", retries=2, read_timeout=5.0, hosts=("b:9200",))


def test_the_environment_is_text_and_is_read_as_what_it_means(home: dict[str, str]) -> None:
    said = {"VERIFY": "false", "HOSTS": "b:9200, c:9200,", "CONNECT_TIMEOUT": "1.5", "MAX_CONNECTIONS": "4"}
    found = resolved(HERE, {**home, **{f"OPENSEARCH_{name}": value for name, value in said.items()}})
    assert found == Connection(verify=False, hosts=("b:9200", "c:9200"), connect_timeout=1.5, max_connections=4)


def test_the_user_may_stand_in_the_location_and_the_password_in_the_file(home: dict[str, str]) -> None:
    write(home, f'{SECTION}user = "other"\npassword = "sesame"\n')
    found = resolved(Address("search.example.org", 9200, "a", tls=True, user="me"), home)
    assert (found.user, found.password) == ("me", "sesame")


def test_a_password_may_be_in_a_file_beside_or_in_the_environment(home: dict[str, str]) -> None:
    file = write(home, f'{SECTION}user = "me"\npassword_file = "secret"\n')
    (file.parent / "secret").write_text("sesame\n")
    assert resolved(HERE, home).password == "sesame"
    write(home, f'{SECTION}user = "me"\npassword_env = "MY_PASSWORD"\n')
    assert resolved(HERE, {**home, "MY_PASSWORD": "open"}).password == "open"
    with pytest.raises(UsageError, match="password_env names MY_PASSWORD, which is not in the environment"):
        resolved(HERE, home)


def test_a_file_option_for_a_secret_comes_before_the_secret_in_the_environment(
    home: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("from-file")
    with connected({"user": "me", "password_file": str(tmp_path / "secret")}):
        assert resolved(HERE, {**home, "OPENSEARCH_PASSWORD": "from-environment"}).password == "from-file"


def test_the_first_kind_of_credentials_that_is_named_is_the_one(home: dict[str, str]) -> None:
    write(home, f'{SECTION}token_env = "TOKEN"\n')
    environment = {**home, "OPENSEARCH_PASSWORD": "of-another-server", "TOKEN": "abc"}
    assert resolved(HERE, environment) == Connection(token="abc")
    assert resolved(HERE, {**environment, "OPENSEARCH_USER": "me"}).token == ""
    with connected({"aws_region": "eu-west-1", "aws_service": "aoss"}):
        assert resolved(HERE, environment) == Connection(aws_region="eu-west-1", aws_service="aoss")
    with pytest.raises(ConfigError, match="two kinds are given in one place"):
        resolved(HERE, {**environment, "OPENSEARCH_USER": "me", "OPENSEARCH_TOKEN": "abc"})


def test_a_whole_connection_is_used_as_it_is(home: dict[str, str]) -> None:
    write(home, f"{SECTION}retries = 9\n")
    with connected(Connection(user="me", password="x")):
        assert resolved(HERE, {**home, "OPENSEARCH_RETRIES": "5"}) == Connection(user="me", password="x")
        with connected(None):
            assert resolved(HERE, home).user == "me"
    assert resolved(HERE, home).retries == 9


def test_another_server_s_section_says_nothing(home: dict[str, str]) -> None:
    write(home, f"{SECTION}retries = 9\n")
    assert resolved(Address("search.example.org", 9201, "a"), home) == Connection()


def test_a_named_file_must_be_there(home: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: there is no such connections file"):
        resolved(HERE, {**home, "HYBRID_SEARCH_CONFIG": str(tmp_path / "no.toml")})
    other = tmp_path / "yes.toml"
    other.write_text(f"{SECTION}retries = 0\n")
    with connected({"connections": str(other)}):
        assert resolved(HERE, {**home, "HYBRID_SEARCH_CONFIG": str(tmp_path / "no.toml")}).retries == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f'{SECTION}pasword = "sesame"\n', r"has 'pasword', which is not known; there are aws_profile, "),
        ('user = "sesame"\n', r"'user' is not a section for a server; write \[\"host:port\"\]"),
        ("[somewhere]\nretries = 1\n", "'somewhere' is not a section"),
        (f"{SECTION}password = sesame\n", "not TOML"),
        (f'{SECTION}retries = "sesame"\n', r"connection's settings: Expected `int`"),
        (f"{SECTION}retries = 99\n", "retries is 99; it must be from 0 to 20"),
        (f"{SECTION}ca_certs = 1\n", "ca_certs that is not a text"),
        (f"{SECTION}token_env = [false]\n", "token_env that is not a text; write the name of a variable"),
        (f"{SECTION}password = ['sesame']\n", "password that is not a text; write it in quotes"),
        (f'{SECTION}user = "me"\n', "no password for user 'me'; put it into OPENSEARCH_PASSWORD"),
        (f'{SECTION}client_key = "k.pem"\n', "client_key is given without client_cert"),
        (f'{SECTION}hosts = ["b"]\n', "hosts has 'b'; write host:port"),
        (f"{SECTION}read_timeout = 0\n", "read_timeout is 0.0; it must be from 0 to 3600 seconds, and not 0"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_and_no_secret_told(text: str, told: str, home: dict[str, str]) -> None:
    write(home, text)
    with pytest.raises(UsageError, match=told) as refused:
        resolved(HERE, home)
    assert "sesame" not in str(refused.value)


def test_a_file_with_passwords_that_others_may_read_is_warned_of(
    home: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    said = f'{SECTION}user = "me"\npassword = "sesame"\n'
    write(home, said)
    resolved(HERE, home)
    assert caplog.text == ""
    write(home, said, mode=0o644)
    resolved(HERE, home)
    assert "others may read the passwords in it: chmod 600" in caplog.text
    assert "sesame" not in caplog.text


def test_secrets_are_in_no_repr() -> None:
    shown = repr(Connection(user="me", password="sesame")) + repr(Connection(token="sesame"))
    assert "me" in shown
    assert "sesame" not in shown


def test_a_password_that_travels_unencrypted_is_warned_of_but_not_on_this_machine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = Connection(user="me", password="sesame")
    with caplog.at_level(logging.WARNING):
        for host in ("localhost", "127.0.0.1", "::1"):
            secret.arguments(Address(host, 9200, "a"))
        assert caplog.text == ""
        secret.arguments(Address("db.example.org", 9200, "a"))
    assert "http://db.example.org:9200: user and password or token travel unencrypted" in caplog.text
    assert "sesame" not in caplog.text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "curl -X GET https://search.example.org:9200/a"),
        (
            {"user": "me too", "password": "sesame", "ca_certs": "/my ca.pem"},
            "curl -X GET --user 'me too' --cacert '/my ca.pem' https://search.example.org:9200/a",
        ),
        (
            {"token": "os_sesame"},
            'curl -X GET -H "authorization: ApiKey $OPENSEARCH_TOKEN" https://search.example.org:9200/a',
        ),
        (
            {"token": "sesame", "verify": False},
            'curl -X GET -H "authorization: Bearer $OPENSEARCH_TOKEN" --insecure https://search.example.org:9200/a',
        ),
        (
            {"aws_region": "eu-west-1", "client_cert": "/c.pem"},
            'curl -X GET --aws-sigv4 aws:amz:eu-west-1:es --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" '
            "--cert /c.pem https://search.example.org:9200/a",
        ),
    ],
)
def test_a_command_has_what_the_connection_has_but_no_secret(given: dict[str, Any], told: str) -> None:
    assert Commands(HERE, Connection(**given)).curl("GET", "/a") == told


def test_a_body_is_quoted_for_the_shell() -> None:
    told = Commands(Address("h", 1, ""), Connection()).curl("PUT", "/a?b=1&c", {"it's": 1})
    assert told == ("curl -X PUT 'http://h:1/a?b=1&c' -H 'content-type: application/json' -d '{\"it'\"'\"'s\":1}'")
