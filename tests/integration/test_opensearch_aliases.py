"""Blue/green on a real server: load behind an alias, check, swap, roll back, drop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aliased import ANY_SIZE, DOCUMENTS, clear, loaded
from made_models import make_model
from node.server import Server

from hybrid_search.analysis import language_of
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.aliases import list_indexes, live_index, swap
from hybrid_search.engines.opensearch.index.meta import mark_of
from hybrid_search.engines.opensearch.index.tower_files import companion_of
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import IndexExists, IndexNotFound, SearchIndexError, UsageError
from hybrid_search.indexes import drop, indexes_on, roll_back, to_be_dropped
from hybrid_search.loading import blue_green as behind_alias
from hybrid_search.loading.blue_green import begin, load_behind_alias
from hybrid_search.loading.checks import Expected, check_index
from hybrid_search.loading.load import LoadOptions, load
from hybrid_search.loading.sources import Corpus
from hybrid_search.loading.target import settings_of_new
from hybrid_search.location import Address
from hybrid_search.opening import open_retriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import Bm25
from hybrid_search.settings.server import ServerOptions
from hybrid_search.towers.model_card import SERVING_FILES
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

ALIAS = "blue-green"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    texts = [document.searchable_text for document in DOCUMENTS]
    return [make_model(folder / f"model-{seed}", texts, seed=seed) for seed in (1, 2)]


@pytest.fixture
def address(opensearch_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    address = Address.parse(f"{opensearch_server.location}/{ALIAS}")
    clear(address)
    yield address
    clear(address)


@pytest.fixture
def client(address: Address) -> Iterator[Client]:
    with closing(Client(address)) as client:
        yield client


def ids_found(address: Address) -> list[str]:
    with open_retriever(str(address)) as retriever:
        return [hit.id for hit in retriever.search(DOCUMENTS[7].text, 3)]


def test_the_first_load_makes_index_and_alias_and_says_what_was_checked(
    address: Address, client: Client, models: list[Path]
) -> None:
    done = loaded(address, models[0])
    assert (done.index, done.replaced, done.load.documents) == (f"{ALIAS}-000001", "", 120)
    assert [check.name for check in done.checks] == [
        "shards", "documents", "rejected", "texts and metadata", "fingerprint", "vectors", "graph", "query",
    ]  # fmt: skip
    assert all(check.passed for check in done.checks)
    assert "64 of 64" in done.checks[5].told
    assert live_index(client, ALIAS) == done.index
    assert ids_found(address)[0] == DOCUMENTS[7].id
    (listed,) = indexes_on(str(address))
    assert (listed.name, listed.aliases, listed.documents) == (done.index, (ALIAS,), 120)
    assert listed.fingerprint == OnnxEncoder.load(models[0]).fingerprint
    assert listed.mark is not None
    assert (listed.mark.state, listed.mark.history, listed.mark.went_live[:2]) == ("ready", (), "20")


def test_documents_that_were_refused_before_a_load_was_resumed_are_not_missed(address: Address) -> None:
    sample = [*DOCUMENTS[:3], Document("refused", "before the kill")]
    done = loaded(address, None)
    with OpenSearchEngine.open(str(address.at(done.index))) as engine:
        for refused_before, told in ((1, "3 of 3"), (0, "3 of 4 sampled as they were loaded; not refused")):
            expected = Expected(documents=120, rejected=1, sample=sample, refused_before=refused_before)
            (texts,) = (check for check in check_index(engine, expected) if check.name == "texts and metadata")
            assert (texts.passed, told in texts.told) == (bool(refused_before), True)


def test_rollbacks_go_back_through_the_history_and_forward_by_name(
    address: Address, client: Client, models: list[Path]
) -> None:
    names = [loaded(address, models[n % 2], DOCUMENTS[: 120 - n]).index for n in range(3)]
    assert names == [f"{ALIAS}-00000{n}" for n in (1, 2, 3)]
    assert mark_of(client, names[2]).history == (names[1], names[0])
    back = roll_back(address)
    assert (back.index, back.replaced, back.documents) == (names[1], names[2], 119)
    assert ids_found(address)[0] == DOCUMENTS[7].id
    assert roll_back(address).index == names[0]
    with pytest.raises(SearchIndexError, match=f"nothing to roll back to: {names[0]} is the first"):
        roll_back(address)
    assert roll_back(address, names[2]).replaced == names[0]
    drop(str(address.at(names[1])))
    assert roll_back(address).index == names[0]
    with pytest.raises(IndexNotFound, match=names[1]):
        roll_back(address, names[1])
    with pytest.raises(UsageError, match="live already"):
        roll_back(address, names[0])
    after = loaded(address, models[1], DOCUMENTS[:100])
    assert (after.index, after.replaced) == (f"{ALIAS}-000004", names[0])
    assert mark_of(client, after.index).history == (names[0],)


def test_a_killed_load_goes_on_in_its_own_index_and_recreate_begins_again(
    address: Address, client: Client, models: list[Path]
) -> None:
    def cut_off() -> Iterator[Document]:
        yield from DOCUMENTS[:50]
        raise KeyboardInterrupt

    for model in models:
        with pytest.raises(KeyboardInterrupt):
            loaded(address, model, stream=cut_off)
    assert live_index(client, ALIAS) is None
    assert [one.mark.state for one in indexes_on(str(address)) if one.mark] == ["loading"] * 2
    with pytest.raises(IndexNotFound, match="no such alias"):
        roll_back(address)
    uuid = client.call("GET", f"/{ALIAS}-000002/_settings", flat_settings="true")
    assert loaded(address, models[1]).index == f"{ALIAS}-000002"
    assert client.call("GET", f"/{ALIAS}-000002/_settings", flat_settings="true").keys() == uuid.keys()
    with pytest.raises(SearchIndexError, match="is unfinished, so it can't go live"):
        roll_back(address, f"{ALIAS}-000001")
    done = loaded(address, models[0], recreate=True)
    assert (done.index, done.load.unchanged) == (f"{ALIAS}-000003", 0)
    assert [one.name for one in indexes_on(str(address))] == [f"{ALIAS}-000002", f"{ALIAS}-000003"]


def test_a_load_killed_at_any_step_of_the_swap_goes_on_and_what_was_live_is_not_gone_on_with(
    address: Address, client: Client, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    loaded(address, None, DOCUMENTS[:50])
    for step in ("swap", "note_live"):
        with monkeypatch.context() as patched:
            patched.setattr(behind_alias, step, killed)
            with pytest.raises(KeyboardInterrupt):
                loaded(address, models[0])
    assert live_index(client, ALIAS) == f"{ALIAS}-000002"
    assert mark_of(client, f"{ALIAS}-000002").went_live == ""
    assert roll_back(address).index == f"{ALIAS}-000001"
    done = loaded(address, models[0])
    assert (done.index, done.replaced) == (f"{ALIAS}-000003", f"{ALIAS}-000001")


def test_without_a_model_the_towers_of_the_live_index_are_taken(address: Address, models: list[Path]) -> None:
    loaded(address, models[0])
    loaded(address, None, DOCUMENTS[:50])
    fingerprint = OnnxEncoder.load(models[0]).fingerprint
    assert [one.fingerprint for one in indexes_on(str(address))] == [fingerprint] * 2


def test_another_loader_of_the_same_data_that_was_faster_is_no_fault(
    address: Address, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken() -> Iterator[Document]:
        yield from DOCUMENTS[:50]
        with monkeypatch.context() as patched:
            patched.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "of another machine"))
            loaded(address, None)
        yield from DOCUMENTS[50:]

    loaded(address, None, DOCUMENTS[:10])
    done = loaded(address, None, stream=overtaken)
    assert (done.index, done.replaced, done.load.documents) == (f"{ALIAS}-000002", f"{ALIAS}-000001", 120)
    assert mark_of(client, done.index).history == (f"{ALIAS}-000001",)


def test_an_index_that_fails_its_checks_does_not_go_live_and_stays_to_be_looked_at(
    address: Address, client: Client, models: list[Path]
) -> None:
    loaded(address, models[0])
    name = begin(client, ALIAS, settings_of_new(models[1], LoadOptions()), "made", anew=False)
    with OpenSearchEngine.open(str(address.at(name)), writable=True) as engine:
        engine.store_model([models[1] / file for file in SERVING_FILES])
        stranger = Document("stranger", "from an earlier state of the data")
        wrong = np.eye(16, dtype=np.float32)[[3] * 121]
        engine.add([stranger, *DOCUMENTS], wrong)
        engine.commit()
    with pytest.raises(SearchIndexError, match="not fit to go live") as caught:
        loaded(address, models[1])
    told = str(caught.value)
    assert "documents: 121 in the index, 120 acknowledged" in told
    assert "vectors: 0 of 64 sampled" in told
    assert f"{ALIAS} still stands for {ALIAS}-000001" in told
    assert f"hybrid-search drop {address.at(name)} --yes" in told
    assert live_index(client, ALIAS) == f"{ALIAS}-000001"
    with pytest.raises(SearchIndexError, match="failed its checks"):
        roll_back(address, name)
    assert loaded(address, models[1]).index == f"{ALIAS}-000003"
    assert mark_of(client, f"{ALIAS}-000003").history == (f"{ALIAS}-000001",)


def test_a_load_of_which_too_much_was_rejected_or_that_is_empty_does_not_go_live(
    address: Address, client: Client
) -> None:
    bad = [Document(f"bad-{number}", " ") for number in range(20)]
    with pytest.raises(SearchIndexError, match=r"rejected: 20 \(14\.3%, at most 10%\)"):
        loaded(address, None, [*bad, *DOCUMENTS])
    with pytest.raises(SearchIndexError, match="documents: 0 in the index, 0 acknowledged"):
        loaded(address, None, [])
    assert live_index(client, ALIAS) is None
    done = loaded(address, None, [*bad[:5], *DOCUMENTS])
    assert (done.load.rejected, done.load.documents) == (5, 120)


def test_the_next_index_and_one_built_anew_have_what_the_live_one_was_declared_with(address: Address) -> None:
    def one(year: object) -> Corpus:
        return Corpus("tz", lambda: iter([Document("a", "die Flut", metadata={"at": "2024-05-01", "year": year})]))

    given = LoadOptions(lexical_only=True, language="de", fields={"at": "date"}, bm25=Bm25(k1=0.9))
    load_behind_alias(one(1), address, options=replace(given, layout=ServerOptions(shards=2)), gate=ANY_SIZE)
    told = ("field at date", "language de", "BM25 k1 0.9 b 0.75")
    plain = LoadOptions(lexical_only=True)
    done = load_behind_alias(one("none"), address, options=plain, gate=ANY_SIZE)
    assert (done.load.taken_over, done.load.rejected, done.index) == (told, 0, f"{ALIAS}-000002")
    at = str(address.at(done.index))
    again = load(one(2), at, options=replace(plain, recreate=True))
    assert again.taken_over == (*told, "shards 2", "replicas 0-1")
    with OpenSearchEngine.open(at) as engine:
        assert engine.settings.fields == {"at": "date", "year": "long"}
        assert (engine.settings.bm25.k1, language_of(engine.settings.analyzer)) == (0.9, "de")
    with pytest.raises(IndexExists, match="the metadata field at is date in the index, asked for keyword"):
        load(one(2), at, options=replace(plain, fields={"at": "keyword"}))
    assert load(one(2), at, options=replace(plain, fields={"seen": "date"})).absent == ["seen"]
    with OpenSearchEngine.open(at) as engine:
        assert engine.settings.declared_fields == {"at": "date", "seen": "date"}
        assert "fields.seen" in engine.settings.declared


def test_the_first_texts_tell_the_language_of_an_index_behind_an_alias(address: Address) -> None:
    japanese = [Document(f"d{n}", f"東京都の天気は晴れです。京都の猫は{n}匹います。") for n in range(9)]
    assert loaded(address, None, japanese).load.language == "cjk"
    assert loaded(address, None, japanese).load.unchanged == 0
    assert loaded(address, None).load.language == "en"


def test_texts_alone_go_behind_an_alias_too(address: Address) -> None:
    done = loaded(address, None)
    assert [check.name for check in done.checks] == [
        "shards", "documents", "rejected", "texts and metadata", "fingerprint", "query",
    ]  # fmt: skip


def test_the_name_of_an_index_is_no_alias_and_other_peoples_aliases_are_left_alone(
    address: Address, client: Client
) -> None:
    with OpenSearchEngine.create(str(address.at(f"{ALIAS}s")), settings_of_new(None, LoadOptions())):
        pass
    with pytest.raises(IndexExists, match="is an index, so it can't be an alias too"):
        loaded(address.at(f"{ALIAS}s"), None)
    client.call("PUT", f"/{ALIAS}-theirs", {"aliases": {ALIAS: {}}})
    with pytest.raises(UsageError, match=f"stands for {ALIAS}-theirs, which hybrid-search did not make"):
        loaded(address, None)
    client.call("PUT", f"/{ALIAS}-more", {"aliases": {ALIAS: {}}})
    with pytest.raises(UsageError, match="one is wanted"):
        loaded(address, None)
    with pytest.raises(UsageError, match="stands for 2 indexes"):
        OpenSearchEngine.open(str(address))


def test_an_alias_that_somebody_else_moved_is_left_alone(address: Address, client: Client) -> None:
    first, second = (loaded(address, None, DOCUMENTS[:count]).index for count in (50, 60))
    with pytest.raises(SearchIndexError, match=f"no longer stands for {first}, somebody else moved it"):
        swap(client, ALIAS, first, first)
    assert live_index(client, ALIAS) == second
    swap(client, ALIAS, first, second)  # as when an answer was lost and the request sent again


def test_dropping_spares_what_is_live_and_towers_that_are_shared(
    address: Address, client: Client, models: list[Path]
) -> None:
    first, second = (loaded(address, models[0], DOCUMENTS[:count]).index for count in (50, 60))
    towers = companion_of(OnnxEncoder.load(models[0]).fingerprint)
    with pytest.raises(SearchIndexError, match=f"{second} is live as {ALIAS}; roll back first"):
        to_be_dropped(str(address.at(second)))
    with pytest.raises(UsageError, match=f"{ALIAS} is an alias of {second}"):
        to_be_dropped(str(address))
    with pytest.raises(UsageError, match="is an alias of"):
        drop(str(address))
    assert to_be_dropped(str(address.at(first))).endswith(f"{first} with 50 documents")
    drop(str(address.at(first)))
    assert client.call("HEAD", f"/{towers}")
    assert f"60 documents and the alias {ALIAS}" in to_be_dropped(str(address.at(second)), also_live=True)
    drop(str(address.at(second)))
    assert not client.call("HEAD", f"/{towers}")
    assert live_index(client, ALIAS) is None
    with pytest.raises(IndexNotFound, match="no such index"):
        to_be_dropped(str(address.at(second)))
    assert ALIAS not in {alias for one in list_indexes(client) for alias in one.aliases}


def test_an_engine_that_was_opened_by_an_alias_stays_with_its_index_and_knows_when_it_moved(
    address: Address, models: list[Path]
) -> None:
    loaded(address, models[0])
    with OpenSearchEngine.open(str(address)) as engine:
        retriever = Retriever(OnnxEncoder.load(models[0]), engine)
        assert not engine.moved()
        loaded(address, models[1], DOCUMENTS[:100])
        assert engine.moved()
        assert engine.count() == 120
        assert retriever.search(DOCUMENTS[110].text, 1)[0].id == DOCUMENTS[110].id
