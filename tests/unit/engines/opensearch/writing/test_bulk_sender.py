"""Sending until each document is taken or refused, against a server that says what the test wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from hybrid_search.engines.opensearch.index.document_json import item_of
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.failures import failure
from hybrid_search.engines.opensearch.writing import bulk
from hybrid_search.engines.opensearch.writing.bulk import BulkSender, Refused
from hybrid_search.errors import Overloaded, SearchIndexError, Unreachable
from hybrid_search.types import Document

TAKEN = {"status": 201}
FULL = {"status": 429, "error": {"type": "rejected_execution_exception", "reason": "queue is full"}}
BLOCKED = {"status": 429, "error": {"type": "cluster_block_exception", "reason": "index read-only"}}
BAD = {
    "status": 400,
    "error": {
        "type": "mapper_parsing_exception",
        "reason": "failed to parse field [metadata.a%2Eb] of type [long]",
        "caused_by": {"type": "illegal_argument_exception", "reason": 'For input string: "x"'},
    },
}


class Scripted:
    """Answers each request as the next function says, and keeps what was sent."""

    connection = Connection()

    def __init__(self, *answers: Callable[[list[str]], Sequence[Mapping[str, Any]]]) -> None:
        self.requests: list[tuple[str, list[str]]] = []
        self.sources: list[Any] = []
        self._answers = list(answers)

    def lines(self, path: str, lines: Sequence[bytes], **parameters: Any) -> Any:
        actions = [msgspec.json.decode(line) for line in lines[::2]]
        self.sources += [msgspec.json.decode(line) for line in lines[1::2]]
        ((kind, _),) = actions[0].items()
        ids = [action[kind]["_id"] for action in actions]
        self.requests.append((kind, ids))
        answer = self._answers.pop(0) if self._answers else all_taken
        return {"items": [{kind: one} for one in answer(ids)]}

    def call(self, method: str, path: str, body: Mapping[str, Any], **parameters: Any) -> Any:
        return {"docs": [{"_id": id, "found": True, "_source": {"added": 7}} for id in body["ids"]]}


def all_taken(ids: list[str]) -> list[Mapping[str, Any]]:
    return [TAKEN] * len(ids)


def each(**told: Mapping[str, Any]) -> Callable[[list[str]], list[Mapping[str, Any]]]:
    return lambda ids: [told.get(id, TAKEN) for id in ids]


def raises(error: Exception) -> Callable[[list[str]], list[Mapping[str, Any]]]:
    def answer(ids: list[str]) -> list[Mapping[str, Any]]:
        raise error

    return answer


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "pauses", lambda retries: iter([0.0] * retries))


def put(client: Scripted, ids: str, **options: Any) -> dict[str, Refused]:
    sender = BulkSender(client, "a", **options)  # type: ignore[arg-type]
    return sender.put([item_of(Document(id, f"text of {id}"), None, 1) for id in ids])


def test_only_the_documents_that_were_put_off_are_sent_again() -> None:
    client = Scripted(each(b=FULL, d=FULL), each(d=FULL))
    assert put(client, "abcd") == {}
    assert client.requests == [("create", ["a", "b", "c", "d"]), ("create", ["b", "d"]), ("create", ["d"])]


@pytest.mark.parametrize("error", [Overloaded("503", status=503), Unreachable("reset")])
def test_a_request_that_got_no_answer_is_sent_again(error: Exception) -> None:
    client = Scripted(raises(error))
    assert put(client, "ab") == {}
    assert client.requests == [("create", ["a", "b"])] * 2


def test_what_is_there_already_takes_its_place_again() -> None:
    client = Scripted(each(b={"status": 409, "error": {"type": "version_conflict_engine_exception"}}))
    assert put(client, "abc") == {}
    assert client.requests == [("create", ["a", "b", "c"]), ("index", ["b"])]
    assert client.sources[-1] == {"added": 7, "id": "b", "text": "text of b"}


def test_a_refused_document_comes_back_with_field_and_reason() -> None:
    refused = put(Scripted(each(b=BAD)), "abc")
    assert refused == {
        "b": Refused(
            "a.b",
            'the server refused it: failed to parse field [metadata.a%2Eb] of type [long]: For input string: "x"',
        )
    }


def test_a_block_is_an_error_at_once() -> None:
    client = Scripted(each(a=BLOCKED))
    with pytest.raises(SearchIndexError, match="the index is blocked"):
        put(client, "ab")
    assert len(client.requests) == 1


def test_tries_without_progress_are_limited_and_progress_starts_the_count_again() -> None:
    client = Scripted(*[each(b=FULL)] * 2, each(b=FULL), *[each(b=FULL)] * 10)
    with pytest.raises(Overloaded, match=r"queue is full.*given up after 3 tries in which no document got through"):
        put(client, "ab", retries=2)
    # The first took a, so that two more tries without progress followed, and the last.
    assert client.requests == [("create", ["a", "b"])] + [("create", ["b"])] * 2


def test_a_request_that_is_too_large_is_halved_and_a_document_that_is_comes_back() -> None:
    def at_most_one(ids: list[str]) -> list[Mapping[str, Any]]:
        if len(ids) > 1 or ids == ["c"]:
            raise failure(413, "Request Entity Too Large", "server")
        return all_taken(ids)

    client = Scripted(*[at_most_one] * 20)
    refused = put(client, "abcd")
    assert list(refused) == ["c"]
    assert "Too Large" in refused["c"].reason
    assert [ids for _, ids in client.requests] == [
        ["a", "b", "c", "d"], ["a", "b"], ["a"], ["b"], ["c", "d"], ["c"], ["d"],
    ]  # fmt: skip


def test_one_that_was_stopped_sends_nothing_more() -> None:
    client = Scripted(each(a=FULL))
    sender = BulkSender(client, "a")  # type: ignore[arg-type]
    sender.stop()
    with pytest.raises(bulk.Interrupted):
        sender.put([item_of(Document("a", "x"), None, 1)])
    assert client.requests == []
