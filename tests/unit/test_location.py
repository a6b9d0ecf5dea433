"""What a server's location says, and what it must not hold."""

from __future__ import annotations

import pytest

from hybrid_search.errors import UsageError
from hybrid_search.location import Address


def test_a_location_is_taken_apart() -> None:
    assert Address.parse("opensearch://localhost:9201/passages") == Address("localhost", 9201, "passages")
    assert Address.parse("opensearchs://an%40n@search.example/p-000001") == Address(
        "search.example", 9200, "p-000001", tls=True, user="an@n"
    )
    assert Address.parse("opensearch://[::1]:9200/a").server == "http://[::1]:9200"
    assert Address.parse("opensearchs://host/a").server == "https://host:9200"


@pytest.mark.parametrize(
    "location", ["opensearch://localhost:9200/a", "opensearchs://me@host:9300/b.c-1", "opensearch://a%40b@host:9200/a"]
)
def test_an_address_prints_as_it_was_given(location: str) -> None:
    assert str(Address.parse(location)) == location


def test_a_password_in_a_location_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="OPENSEARCH_PASSWORD") as caught:
        Address.parse("opensearchs://me:s3cret@host/a")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "location",
    [
        "opensearch://host",
        "opensearch://host/Upper",
        "opensearch://host/a/b",
        "opensearch://host/_all",
        "opensearch://host/a*",
        "opensearch://host/a,b",
        "opensearch:///a",
        "opensearch://host:port/a",
        "opensearch://host:99999/a",
        "opensearch://host/a?b=c",
        "http://host/a",
        f"opensearch://host/{'a' * 201}",
    ],
)
def test_a_location_that_names_no_index_is_refused(location: str) -> None:
    with pytest.raises(UsageError, match=r"location|index"):
        Address.parse(location)


def test_a_server_alone_is_an_address_without_an_index() -> None:
    server = Address.parse_server("opensearchs://me@host:9300/")
    assert server == Address("host", 9300, "", tls=True, user="me")
    assert str(server) == "opensearchs://me@host:9300"
    assert str(server.at("passages")) == "opensearchs://me@host:9300/passages"
    assert Address.parse_server("opensearch://host/passages").index == "passages"


def test_a_bad_name_is_refused_on_a_known_server_too() -> None:
    with pytest.raises(UsageError, match="'Upper' can't be an index's name"):
        Address.parse_server("opensearch://host").at("Upper")
    with pytest.raises(UsageError, match="'Upper' can't be an index's name"):
        Address.parse_server("opensearch://host/Upper")


def test_a_byte_that_is_no_unicode_is_in_no_indexs_name() -> None:
    with pytest.raises(UsageError, match="no valid Unicode"):
        Address.parse("opensearch://host:9200/a\udcb8")


@pytest.mark.parametrize("location", ["opensearch://\udc93me@host:9200/a", "opensearch://ho\udc91st/a"])
def test_a_byte_that_is_no_unicode_is_in_no_location(location: str) -> None:
    with pytest.raises(UsageError, match="no valid Unicode") as raised:
        Address.parse_server(location)
    assert str(raised.value).encode()
