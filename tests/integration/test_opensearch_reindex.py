"""Reindexing to another model on a real server, with queries and changes going on meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from corpus import assert_holds, made_documents
from made_models import make_model
from node.server import Server

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.aliases import delete_index, list_indexes, live_index
from hybrid_search.engines.opensearch.index.document_json import Item
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.writing.bulk import BulkSender, Refused
from hybrid_search.errors import HybridSearchError, SearchIndexError, UsageError
from hybrid_search.indexes import drop, roll_back
from hybrid_search.loading.blue_green import load_behind_alias
from hybrid_search.loading.gate import Gate
from hybrid_search.loading.load import load
from hybrid_search.loading.reindex import reindex, reindex_behind_alias
from hybrid_search.loading.sources import Corpus
from hybrid_search.location import Address
from hybrid_search.opening import open_retriever
from hybrid_search.retrieval.alias_retriever import AliasFollower
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.types import Document, Rejection

pytestmark = pytest.mark.opensearch

ALIAS = "reindexing"
DOCUMENTS = made_documents(200)
QUERIES = [document.text.rsplit(" ", 1)[0] for document in DOCUMENTS[:40]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    texts = [document.searchable_text for document in DOCUMENTS]
    return [make_model(folder / f"model-{seed}", texts, seed=seed) for seed in (1, 2)]


@pytest.fixture
def address(
    opensearch_server: Server, models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Address]:
    """An alias with one index of the first model."""
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    address = Address.parse(f"{opensearch_server.location}/{ALIAS}")
    with closing(Client(address)) as client:
        clear(client)
        load_behind_alias(Corpus("made", lambda: iter(DOCUMENTS)), address, model=models[0])
        yield address
        clear(client)


def clear(client: Client) -> None:
    for one in list_indexes(client):
        if one.name.startswith(ALIAS):
            delete_index(client, one.name)


Answer = tuple[tuple[str, float], ...]


class Users:
    """Threads that ask one query after the other, and note every answer and every failure."""

    def __init__(self, retriever: Retriever, count: int = 3) -> None:
        self.answers: list[list[tuple[int, Answer]]] = [[] for _ in range(count)]
        self.failures: list[BaseException] = []
        self._retriever = retriever
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(answers,)) for answers in self.answers]

    def _ask(self, answers: list[tuple[int, Answer]]) -> None:
        number = 0
        while not self._stop.is_set():
            number = (number + 7) % len(QUERIES)
            try:
                answers.append((number, answer(self._retriever, number)))
            except BaseException as error:
                self.failures.append(error)

    def __enter__(self) -> Users:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for_answers(self) -> None:
        """Let every thread ask a few more."""
        wanted = [len(answers) + 12 for answers in self.answers]
        while not self.failures and any(len(a) < n for a, n in zip(self.answers, wanted, strict=True)):
            self._stop.wait(0.01)


def answer(retriever: Retriever, number: int) -> Answer:
    return tuple((hit.id, round(hit.score, 4)) for hit in retriever.search(QUERIES[number], 10))


def answers_of(location: Address) -> list[Answer]:
    with open_retriever(str(location)) as retriever:
        return [answer(retriever, number) for number in range(len(QUERIES))]  # type: ignore[arg-type]


def look_every(retriever: Retriever, seconds: float) -> None:
    assert isinstance(retriever.source, AliasFollower)
    retriever.source.check_every = seconds


def following(address: Address) -> Retriever:
    retriever = open_retriever(str(address), follow=True)
    look_every(retriever, 0.05)
    retriever.refresh()
    return retriever


def test_no_query_fails_and_none_mixes_two_models_while_the_index_changes_and_changes_back(
    address: Address, models: list[Path]
) -> None:
    with following(address) as retriever, Users(retriever) as users:
        users.wait_for_answers()
        done = reindex_behind_alias(address, models[1])
        users.wait_for_answers()
        reindexed = [len(answers) for answers in users.answers]
        back = roll_back(address)
        users.wait_for_answers()
        drop(str(address.at(done.index)))
        users.wait_for_answers()
        asked_again = roll_forward_is_refused(address, done.index)
        assert_holds(str(address), DOCUMENTS, OnnxEncoder.load(models[0]))
        old = answers_of(address.at(back.index))
        new_index = reindex_behind_alias(address, models[1]).index
        new = answers_of(address.at(new_index))
        users.wait_for_answers()
    assert users.failures == []
    assert asked_again
    assert all(ours != theirs for ours, theirs in zip(old, new, strict=True))
    for answers, until in zip(users.answers, reindexed, strict=True):
        models_used = [found_by(given, old[number], new[number]) for number, given in answers]
        assert "neither" not in models_used
        # To the new model once, back once, and to it again.
        assert len(turns(models_used[:until])) == 2
        assert turns(models_used) == ["old", "new", "old", "new"]


def roll_forward_is_refused(address: Address, dropped: str) -> bool:
    with pytest.raises(HybridSearchError, match="no such index"):
        roll_back(address, dropped)
    return True


def found_by(given: Answer, old: Answer, new: Answer) -> str:
    return "old" if given == old else "new" if given == new else "neither"


def turns(used: Sequence[str]) -> list[str]:
    return [one for before, one in zip(["", *used], used, strict=False) if one != before]


def test_an_old_index_that_is_dropped_at_once_costs_no_query(address: Address, models: list[Path]) -> None:
    with following(address) as retriever, Users(retriever) as users:
        look_every(retriever, 3_600)
        retriever.refresh()
        for model in models:
            users.wait_for_answers()
            done = load_behind_alias(Corpus("made", lambda: iter(DOCUMENTS)), address, model=model)
            drop(str(address.at(done.replaced)))
        users.wait_for_answers()
    assert users.failures == []


def test_what_changes_while_documents_are_encoded_is_taken_over(
    address: Address, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = replace(DOCUMENTS[3], text="changed meanwhile n00003")
    added = Document("added", "added meanwhile n99999", metadata={"late": True})
    encode = OnnxEncoder.encode_documents
    meanwhile = threading.Event()

    def encode_slowly(self: OnnxEncoder, texts: Sequence[str]) -> np.ndarray:
        if not meanwhile.is_set():
            meanwhile.set()
            with open_retriever(str(address), writable=True) as retriever:
                retriever.add([changed, added])
                retriever.delete([DOCUMENTS[5].id, DOCUMENTS[6].id])
        return encode(self, texts)

    monkeypatch.setattr(OnnxEncoder, "encode_documents", encode_slowly)
    done = reindex_behind_alias(address, models[1])
    monkeypatch.undo()
    wanted = [changed if document.id == changed.id else document for document in DOCUMENTS]
    del wanted[5:7]
    assert_holds(str(address.at(done.index)), [*wanted, added], OnnxEncoder.load(models[1]))
    assert [check.told for check in done.checks if check.name == "documents"] == ["199 in the index, 199 acknowledged"]
    with OpenSearchEngine.open(str(address)) as engine:
        assert engine.settings.fields == {"topic": "keyword", "year": "long", "late": "boolean"}
        assert [one.id for one in engine.documents()][-1] == "added"


def test_a_folder_is_reindexed_into_another_and_onto_a_server(
    address: Address, models: list[Path], tmp_path: Path
) -> None:
    load(Corpus("made", lambda: iter(DOCUMENTS[:50])), tmp_path / "one", model=models[0])
    reindex(tmp_path / "one", tmp_path / "two", models[1])
    with EmbeddedEngine.open(tmp_path / "two") as engine:
        assert list(engine.documents()) == DOCUMENTS[:50]
        assert engine.settings.fields == {"topic": "keyword", "year": "long"}
        assert engine.settings.fingerprint == OnnxEncoder.load(models[1]).fingerprint
    done = reindex_behind_alias(address, models[1], source=tmp_path / "one", gate=Gate(may_be_smaller=True))
    assert_holds(str(address.at(done.index)), DOCUMENTS[:50], OnnxEncoder.load(models[1]))
    with pytest.raises(UsageError, match="can't be read and built anew at the same time"):
        reindex(tmp_path / "one", tmp_path / "one", models[1])


def test_the_asynchronous_retriever_follows_too(address: Address, models: list[Path]) -> None:
    async def ask() -> tuple[str, str]:
        async with AsyncRetriever(following(address)) as retriever:
            await retriever.search(QUERIES[0])
            before = retriever.retriever.engine.settings.fingerprint
            await asyncio.to_thread(reindex_behind_alias, address, models[1])
            await asyncio.sleep(0.06)
            await retriever.search(QUERIES[0])
            assert await retriever.get([DOCUMENTS[0].id]) == [DOCUMENTS[0]]
            return before, retriever.retriever.engine.settings.fingerprint

    assert asyncio.run(ask()) == tuple(OnnxEncoder.load(model).fingerprint for model in models)


def test_an_index_opened_by_its_own_name_is_not_followed(address: Address) -> None:
    with closing(Client(address)) as client:
        live = live_index(client, ALIAS)
    assert live
    with open_retriever(str(address.at(live)), follow=True) as retriever:
        assert not isinstance(retriever.source, AliasFollower)


PLAIN = {
    "text-number": {"text": "the sea", "metadata": {"year": "2001"}},
    "null": {"text": "the sea", "metadata": {"year": None}},
    "number-keyword": {"text": "the sea", "metadata": {"topic": 7}},
    "several": {"text": "the sea", "metadata": {"year": [2001, 2002]}},
    "whole": {"text": "the sea", "metadata": {"year": 2001.0}},
    "with-null": {"text": "the sea", "metadata": {"topic": ["g1", None]}},
    "no-title": {"text": "the sea", "title": None},
    "no-text": {"text": None, "title": "the sea"},
    "nothing": {"text": None, "title": None, "metadata": {"topic": "g1"}},
    "no-metadata": {"text": "the sea", "metadata": None},
    "path": {"text": "the sea", "metadata.year": 2001},
}
"""What somebody may put into the index with curl, and what the server takes."""
IN_2001 = {"text-number", "several", "whole", "path"}


def put_plain(client: Client, documents: dict[str, dict[str, object]]) -> None:
    for number, (id, source) in enumerate(documents.items()):
        client.call("PUT", f"/{ALIAS}/_doc/{id}", {"id": id, "added": number, **source})
    client.call("POST", f"/{ALIAS}/_refresh")


def ids_found(client: Client, query: dict[str, object]) -> set[str]:
    body = {"query": query, "size": 1_000, "_source": False}
    return {hit["_id"] for hit in client.call("POST", f"/{ALIAS}/_search", body)["hits"]["hits"]}


def test_all_that_the_live_index_holds_arrives_and_is_found_as_before(address: Address, models: list[Path]) -> None:
    queries = [
        {"range": {"metadata.year": {"gte": 2001, "lte": 2001}}},
        {"term": {"metadata.year": 2002}},
        {"term": {"metadata.topic": "g1"}},
        {"term": {"metadata.topic": "7"}},
        {"match": {"searchable": "sea"}},
        {"match_all": {}},
    ]
    with closing(Client(address)) as client:
        put_plain(client, PLAIN)
        before = [ids_found(client, query) for query in queries]
        assert before[0] >= IN_2001
        swapped = reindex_behind_alias(address, models[1])
        assert live_index(client, ALIAS) == swapped.index != swapped.replaced
        client.call("POST", f"/{ALIAS}/_refresh")
        assert [ids_found(client, query) for query in queries] == before
    assert (swapped.load.rejected, swapped.load.documents) == (0, 211)


def test_a_document_that_cannot_arrive_keeps_the_alias_where_it_is(
    address: Address, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused_one(self: BulkSender, items: Sequence[Item]) -> dict[str, Refused]:
        rest = [item for item in items if item.id != "doc-00007"]
        put(self, rest)
        return {item.id: Refused("", "the server refused it") for item in items if item not in rest}

    put = BulkSender.put
    with closing(Client(address)) as client:
        live = live_index(client, ALIAS)
        monkeypatch.setattr(BulkSender, "put", refused_one)
        with pytest.raises(SearchIndexError, match=r"not fit to go live: .*rejected: 1 \(0\.5%, at most 0%\)"):
            reindex_behind_alias(address, models[1])
        assert live_index(client, ALIAS) == live


def test_reindexing_into_a_folder_carries_what_a_folder_can_hold_and_names_the_rest(
    address: Address, models: list[Path], tmp_path: Path
) -> None:
    rejected: list[Rejection] = []
    with closing(Client(address)) as client:
        put_plain(client, PLAIN)
    report = reindex(str(address), tmp_path / "index", models[1], reject=rejected.append)
    refused = {json.loads(one.record)["id"]: one.field for one in rejected}
    assert refused == {"several": "year", "nothing": "text"}
    assert report.documents == 209
    with EmbeddedEngine.open(tmp_path / "index") as engine:
        wanted = Document("text-number", "the sea", metadata={"year": 2001})
        assert engine.get(["text-number", "with-null", "no-text"]) == [
            wanted,
            Document("with-null", "the sea", metadata={"topic": ("g1",)}),
            Document("no-text", "", "the sea"),
        ]


def test_one_deleted_while_another_is_added_is_not_brought_back(
    address: Address, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hybrid_search.loading import reindex as reindexing

    loaded = reindexing.load
    with OpenSearchEngine.open(str(address), writable=True) as live:

        def then_change(*given, **named):
            report = loaded(*given, **named)
            if report.added == 200:  # the first pass
                live.delete(["doc-00007"])
                live.commit()
            return report

        def passing(*given, **named):  # the second pass has looked for changes when one more comes
            found = then_change(*given, **named)
            if found.added == 0:
                live.add([Document("late", "the sea")], live.vectors(["doc-00001"])["doc-00001"][None])
                live.commit()
            return found

        monkeypatch.setattr(reindexing, "load", passing)
        reindex_behind_alias(address, models[1])
    with OpenSearchEngine.open(str(address)) as engine:
        assert engine.get(["doc-00007"]) == [None]
