"""Metadata fields that an index can't declare: the documents that bring them are refused, and nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import run
from node.server import Server

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import DataError
from hybrid_search.loading.load import LoadOptions, load
from hybrid_search.loading.sources import Corpus
from hybrid_search.location import Address
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

# The server's limit of 1,000 less id, added, title, text, searchable and metadata itself.
ROOM = 994
MANY = Document("many", "the sea", metadata={f"field {number}": number for number in range(1_200)})
PLAIN = [Document(f"plain-{number}", "the sea", metadata={"topic": "tides"}) for number in range(3)]


@pytest.fixture
def location(opensearch_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    location = f"{opensearch_server.location}/fields"
    OpenSearchEngine.drop(location)
    yield location
    OpenSearchEngine.drop(location)


def test_one_document_with_too_many_names_is_refused_alone(location: str) -> None:
    refused = []
    report = load(
        Corpus("test", lambda: iter([PLAIN[0], MANY, *PLAIN[1:]])),
        location,
        options=LoadOptions(lexical_only=True),
        reject=refused.append,
    )
    assert (report.added, report.rejected, report.documents) == (3, 1, 3)
    assert [json.loads(one.record)["id"] for one in refused] == ["many"]
    assert refused[0].reason == (
        "it would declare 1,200 more metadata fields, and the index takes 993 more (index.mapping.total_fields.limit "
        "is 1000); use fewer names, or raise that limit"
    )
    with OpenSearchEngine.open(location) as engine:
        assert list(engine.documents()) == PLAIN
        assert engine.settings.fields == {"topic": "keyword"}


def test_of_many_documents_with_a_name_each_those_that_fit_are_taken_in_order(location: str) -> None:
    documents = [Document(f"d{number:04}", "the sea", metadata={f"name {number}": 1}) for number in range(1_200)]
    documents.append(Document("last", "the sea", metadata={"name 7": 2}))
    refused = []
    report = load(
        Corpus("test", lambda: iter(documents)), location, options=LoadOptions(lexical_only=True), reject=refused.append
    )
    assert (report.added, report.rejected) == (ROOM + 1, 1_200 - ROOM)
    assert [json.loads(one.record)["id"] for one in refused] == [f"d{number:04}" for number in range(ROOM, 1_200)]
    with OpenSearchEngine.open(location) as engine:
        assert engine.get(["d0993", "last"]) == [documents[993], documents[-1]]


def test_a_refused_document_declares_no_type_for_those_after_it(location: str) -> None:
    wide = Document("wide", "the sea", metadata={"year": "long ago", **MANY.metadata})
    after = Document("after", "the sea", metadata={"year": 2001})
    with OpenSearchEngine.create(location, IndexSettings()) as engine:
        assert [one.field for one in engine.add([wide, after], None)] == ["metadata"]
        engine.commit()
        assert engine.get(["wide", "after"]) == [None, after]


def test_without_a_document_that_can_be_taken_no_index_is_left(location: str) -> None:
    with pytest.raises(DataError, match="none of its documents could be indexed"):
        load(Corpus("test", lambda: iter([MANY])), location, options=LoadOptions(lexical_only=True))
    assert not OpenSearchEngine.exists(location)


def test_the_command_line_says_why_and_takes_the_rest(location: str, tmp_path: Path) -> None:
    lines = [{"id": one.id, "text": one.text, "metadata": dict(one.metadata)} for one in [*PLAIN, MANY]]
    (tmp_path / "documents.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = run(
        "load",
        "jsonl",
        "--path",
        "documents.jsonl",
        "--to",
        location,
        "--lexical-only",
        "--format",
        "json",
        cwd=tmp_path,
    )
    assert (told.code, told.json["documents"], told.json["rejected"]) == (3, 3, 1), told.err
    assert "metadata fields" in (tmp_path / "rejected.jsonl").read_text()


def test_a_field_that_another_writer_declares_at_the_same_moment_refuses_the_document_that_differs(
    location: str,
) -> None:
    OpenSearchEngine.create(location, IndexSettings()).close()
    with OpenSearchEngine.open(location, writable=True) as one, OpenSearchEngine.open(location, writable=True) as two:
        assert one.add([Document("number", "the sea", metadata={"year": 2001})], None) == []
        mixed = [Document("word", "the sea", metadata={"year": "long ago"}), PLAIN[0]]
        (refused,) = two.add(mixed, None)
        assert refused.field == "year"
        assert refused.reason.startswith(
            "year is 'long ago', which is keyword; the index has it as long. A field has one"
        )
        two.commit()
        assert [document.id for document in two.documents()] == ["number", "plain-0"]


def test_threads_that_add_documents_with_new_fields_at_once_lose_none(location: str) -> None:
    with (
        OpenSearchEngine.create(location, IndexSettings()) as engine,
        closing(Client(Address.parse(location))) as client,
    ):
        refused = []

        def add(number: int) -> None:
            batch = [Document(f"d{number}-{n}", "the sea", metadata={f"f{number % 3}": n, "n": n}) for n in range(20)]
            refused.extend(engine.add(batch, None))

        threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        engine.commit()
        assert refused == []
        assert engine.count() == 160
        assert engine.settings.fields == {"f0": "long", "f1": "long", "f2": "long", "n": "long"}
        added = [hit["_source"]["added"] for hit in client.call("GET", "/fields/_search", size=200)["hits"]["hits"]]
        assert len(set(added)) == 160
