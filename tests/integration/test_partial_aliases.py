"""An alias that shows a part of an index only: nothing that it hides is shown, by any way into the index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from corpus import made_documents
from made_models import make_model
from node.server import Server

import hybrid_search
from hybrid_search.dashboards.exports import pack_of
from hybrid_search.dashboards.measure import measure_documents
from hybrid_search.doctor.diagnosis import diagnose
from hybrid_search.engines.opensearch.index.aliases import create_marked, delete_index, list_indexes, swap
from hybrid_search.engines.opensearch.index.meta import Mark
from hybrid_search.engines.opensearch.index.template import ServerOptions
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import PartialAlias
from hybrid_search.evaluation.evaluate import evaluate_index
from hybrid_search.in_cluster.deploy import undeploy
from hybrid_search.indexes import roll_back
from hybrid_search.loading.blue_green import load_behind_alias
from hybrid_search.loading.load import LoadOptions, load
from hybrid_search.loading.reindex import reindex, reindex_behind_alias
from hybrid_search.loading.sources import Corpus
from hybrid_search.loading.target import settings_of_new
from hybrid_search.location import Address
from hybrid_search.models import inspect_index
from hybrid_search.opening import open_engine
from hybrid_search.retrieval.alias_retriever import AliasFollower
from hybrid_search.training.mine import mine
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

DOCUMENTS = [
    *(
        Document(f"acme-{n}", f"acme salaries {one.text}", metadata={"tenant": "acme"})
        for n, one in enumerate(made_documents(20))
    ),
    *(
        Document(f"globex-{n}", f"globex salaries {one.text}", metadata={"tenant": "globex"})
        for n, one in enumerate(made_documents(20))
    ),
]
GLOBEX = {"term": {"metadata.tenant": "globex"}}
PARTS: list[Any] = [
    pytest.param({"filter": GLOBEX}, "by the filter.*globex", id="filter"),
    pytest.param({"routing": "7"}, "by index_routing '7', search_routing '7'", id="routing"),
    pytest.param({"search_routing": "7"}, "by search_routing '7'", id="search routing"),
    pytest.param({"filter": {"match_all": {}}, "is_hidden": True}, "by the filter", id="hidden"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model", [one.text for one in DOCUMENTS], seed=1)


@pytest.fixture
def address(
    opensearch_server: Server, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Address]:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    address = Address.parse(f"{opensearch_server.location}/staff")
    _clear(address)
    load_behind_alias(Corpus("made", lambda: iter(DOCUMENTS)), address, model=model, options=LoadOptions())
    yield address
    _clear(address)


def _clear(address: Address) -> None:
    with closing(Client(address)) as client:
        for one in list_indexes(client):
            if one.name.startswith("staff-"):
                delete_index(client, one.name)


def make_alias(address: Address, index: str = "staff-000001", alias: str = "staff", **part: Any) -> None:
    with closing(Client(address)) as client:
        client.call("POST", "/_aliases", {"actions": [{"add": {"index": index, "alias": alias, **part}}]})


def dataset() -> Corpus:
    return Corpus("made", lambda: iter(DOCUMENTS))


WAYS: dict[str, Callable[[str, Path, Path], object]] = {
    "open": lambda location, model, folder: hybrid_search.open(location),
    "open to stay": lambda location, model, folder: hybrid_search.open(location, follow=False),
    "open to write": lambda location, model, folder: hybrid_search.open(location, writable=True),
    "open the engine": lambda location, model, folder: open_engine(location),
    "info": lambda location, model, folder: inspect_index(location),
    "evaluate": lambda location, model, folder: evaluate_index(_Judged(), location),
    "mine": lambda location, model, folder: mine(_Judged(), location, folder / "negatives.jsonl"),
    "documents": lambda location, model, folder: measure_documents(location),
    "dashboards": lambda location, model, folder: pack_of(location),
    "undeploy": lambda location, model, folder: undeploy(location),
    "load": lambda location, model, folder: load(dataset(), location, model=model),
    "reindex from": lambda location, model, folder: reindex(location, folder / "copy", model),
    "reindex": lambda location, model, folder: reindex_behind_alias(Address.parse(location), model),
    "load behind": lambda location, model, folder: load_behind_alias(dataset(), Address.parse(location), model=model),
    "rollback": lambda location, model, folder: roll_back(Address.parse(location)),
}  # fmt: skip


class _Judged(Corpus):
    """The documents as a data set with queries; no way gets as far as asking for them."""

    def __init__(self) -> None:
        super().__init__("made", lambda: iter(DOCUMENTS))

    def splits(self) -> tuple[str, ...]:
        return ("train", "test")


@pytest.mark.parametrize(("part", "told"), PARTS)
def test_no_way_into_an_index_leads_through_an_alias_that_hides_a_part_of_it(
    address: Address, model: Path, tmp_path: Path, part: dict[str, Any], told: str
) -> None:
    make_alias(address, **part)
    for name, way in WAYS.items():
        with pytest.raises(PartialAlias, match=f"staff: this alias shows only a part of staff-000001, {told}"):
            pytest.fail(f"{name}: {way(str(address), model, tmp_path)!r}")
    # Under its own name it is whole, for whoever may ask for that.
    with open_engine(str(address.at("staff-000001"))) as engine:
        assert engine.count() == 40


def test_the_doctor_says_what_an_alias_hides(address: Address) -> None:
    make_alias(address, filter=GLOBEX)
    [found] = [finding for finding in diagnose(str(address)).findings if finding.check == "name"]
    assert found.severity == "error"
    assert "shows only a part of staff-000001" in found.fault
    assert found.mend == (f"hybrid-search query TEXT --from {address.at('staff-000001')} --filter EXPR",)


def test_of_several_indexes_one_that_is_hidden_in_part_is_said_first(address: Address, model: Path) -> None:
    with closing(Client(address)) as client:
        create_marked(
            client, "staff-000002", settings_of_new(model, LoadOptions()), ServerOptions(), Mark(alias="staff")
        )
    make_alias(address, "staff-000002", filter=GLOBEX)
    with pytest.raises(PartialAlias, match="a part of staff-000002"):
        open_engine(str(address))


def test_a_retriever_that_follows_an_alias_answers_nothing_once_the_alias_hides_something(address: Address) -> None:
    retriever = hybrid_search.open(str(address))
    follower = retriever.source
    assert isinstance(follower, AliasFollower)
    follower.check_every = 0.0
    with retriever:
        for mode in ("hybrid", "bm25", "knn"):
            assert {hit.id[:4] for hit in retriever.search("salaries", 40, mode=mode)} == {"acme", "glob"}
        make_alias(address, filter=GLOBEX)
        follower.check_every = 3_600.0  # what was refused once is asked about again each time, whatever this says
        uses: list[Callable[[], object]] = [
            *(lambda mode=mode: retriever.search("salaries", mode=mode) for mode in ("hybrid", "bm25", "knn")),
            lambda: retriever.rankings(["salaries"], 5),
            lambda: retriever.get(["acme-1"]),
            lambda: retriever.add([DOCUMENTS[0]]),
            lambda: retriever.delete(["acme-1"]),
        ]
        follower._next_look = 0.0
        for use in uses * 2:
            with pytest.raises(PartialAlias):
                use()
        make_alias(address)  # which takes the filter away
        assert retriever.search("salaries", 1)


def test_an_alias_that_is_given_a_filter_during_a_load_is_not_moved(address: Address, model: Path) -> None:
    with closing(Client(address)) as client:
        create_marked(
            client, "staff-000002", settings_of_new(model, LoadOptions()), ServerOptions(), Mark(alias="staff")
        )
        make_alias(address, filter=GLOBEX)
        with pytest.raises(PartialAlias):
            swap(client, "staff", "staff-000001", "staff-000002")
        assert list(client.call("GET", "/_alias/staff")) == ["staff-000001"]
