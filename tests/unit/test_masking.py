"""What is shown of a location that may hold a password."""

from __future__ import annotations

import pytest

from hybrid_search.location import without_password


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("opensearch://localhost:9200/passages", "opensearch://localhost:9200/passages"),
        ("opensearch://me@localhost:9200/passages", "opensearch://me@localhost:9200/passages"),
        ("http://me:PW@host:9200", "http://me:***@host:9200"),
        ("opensearh://me:P:W@host/x", "opensearh://me:***@host/x"),
        ("opensearch://me:P/W@host/x", "opensearch://me:***@host/x"),
        ("opensearch:/me:PW@host/x", "opensearch:***@host/x"),
        ("me:PW@host:9200", "me:***@host:9200"),
        ("opensearch://host/x?password=PW&a=1", "opensearch://host/x?password=***&a=1"),
        ("./indexes/passages", "./indexes/passages"),
    ],
)
def test_what_may_be_a_password_is_left_out(given: str, shown: str) -> None:
    assert without_password(given) == shown
