"""An answer that is not what a server gives is an error of ours; an error of ours stays what it is."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.engines.opensearch.transport.plan import Request, carried_out
from hybrid_search.errors import IndexNotFound, SearchIndexError


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (lambda answer: answer["hits"]["total"], "KeyError: \"'hits'\""),
        (lambda answer: answer["took"]["value"], "TypeError"),
        (lambda answer: answer["took"].get("value"), "AttributeError"),
        (lambda answer: int(answer["name"]), "ValueError"),
        (lambda answer: answer["shards"][3], "IndexError"),
    ],
)
def test_what_is_missing_in_an_answer_or_of_another_type_is_named(read, told: str) -> None:
    with pytest.raises(SearchIndexError, match="answer about shards is not what") as error, taken_apart("shards"):
        read({"took": 5, "name": "node", "shards": []})
    assert told in str(error.value)


def test_an_error_of_ours_passes_as_it_is() -> None:
    with pytest.raises(IndexNotFound), taken_apart("shards"):
        raise IndexNotFound("there is no index passages")


def test_a_plan_that_cannot_read_an_answer_ends_with_an_error_that_names_the_request() -> None:
    def plan() -> Generator[Request, bytes, int]:
        answer = yield Request("GET", "/passages/_count")
        return int(answer)

    assert carried_out(plan(), lambda request: b"12") == 12
    with pytest.raises(SearchIndexError, match="GET /passages/_count"):
        carried_out(plan(), lambda request: b"<html>")
