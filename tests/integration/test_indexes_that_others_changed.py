"""Indexes that templates, other programs or somebody's hand have changed: said when opened, and ending nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from corpus import made_documents
from made_models import make_model
from node.server import Server

from hybrid_search.doctor.diagnosis import diagnose
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.tower_files import companion_of
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import CorruptIndex, FilterError, ModelNotFound, SearchIndexError
from hybrid_search.evaluation.protocol import EvaluationSettings, evaluate
from hybrid_search.filters.parser import parse_filter
from hybrid_search.loading.load import LoadOptions, load
from hybrid_search.loading.reindex import reindex
from hybrid_search.loading.sources import Corpus
from hybrid_search.location import Address
from hybrid_search.models import inspect_index
from hybrid_search.opening import open_retriever
from hybrid_search.retrieval.retriever import modes_of
from hybrid_search.search import MODES
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document, Judgement, Query

pytestmark = pytest.mark.opensearch

DOCUMENTS = made_documents(30)
NAME = "changed"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model", [one.searchable_text for one in DOCUMENTS], seed=1)


@pytest.fixture
def address(opensearch_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    address = Address.parse(f"{opensearch_server.location}/{NAME}")
    _clear(address)
    yield address
    _clear(address)


def _clear(address: Address) -> None:
    with closing(Client(address)) as client:
        client.call("DELETE", f"/_index_template/{NAME}", ignore=404)
        client.call("DELETE", f"/{NAME}", ignore_unavailable="true")


@pytest.fixture
def client(address: Address) -> Iterator[Client]:
    with closing(Client(address)) as client:
        yield client


@pytest.fixture
def index(address: Address, model: Path) -> str:
    load(Corpus("made", lambda: iter(DOCUMENTS)), str(address), model=model)
    return str(address)


STRANGE: list[tuple[str, dict[str, Any], Document]] = [
    ("nulls", {"id": "nulls", "text": None, "title": "strange", "metadata": None}, Document("nulls", "", "strange")),
    ("list", {"id": "list", "text": "strange", "metadata": []}, Document("list", "strange")),
    (
        "objects",
        {"id": "objects", "text": ["strange", None, "words"], "metadata": [{"tag": "a"}, {"tag": "b"}]},
        Document("objects", "strange words", metadata={"tag": ("a", "b")}),
    ),
    ("number", {"id": "number", "text": 5, "title": "strange"}, Document("number", "5", "strange")),
]


def test_a_strange_document_ends_no_search_that_would_show_it(index: str, client: Client) -> None:
    client.call("PUT", f"/{NAME}/_mapping", {"properties": {"metadata": {"properties": {"tag": {"type": "keyword"}}}}})
    for id, source, _ in STRANGE:
        client.call("PUT", f"/{NAME}/_doc/{id}", source)
    client.call("PUT", f"/{NAME}/_doc/without-id", {"text": "strange strange strange"})
    client.call("PUT", f"/{NAME}/_doc/same-id?refresh=true", {"id": "list", "text": "strange strange"})
    right = {id: document for id, _, document in STRANGE}
    with open_retriever(index) as retriever:
        assert retriever.get(list(right)) == list(right.values())
        for mode in MODES:
            hits = retriever.search("strange", 5, mode=mode)
            assert len(hits) == 5 if mode != "bm25" else {hit.id for hit in hits} == set(right)
            for hit in hits:
                if hit.id in right:
                    document = right[hit.id]
                    assert (hit.text, hit.title, hit.metadata) == (document.text, document.title, document.metadata)
        # What has no id is found nowhere, and takes nobody's place.
        assert len(retriever.search("strange", 3, mode="bm25")) == 3
        assert {document.id for document in retriever.engine.documents()} >= right.keys() | {"without-id"}


OTHER_TYPES = {
    "when": {"type": "date", "format": "dd/MM/yyyy"}, "words": {"type": "text"}, "small": {"type": "integer"},
    "half": {"type": "float"}, "net": {"type": "ip"}, "place": {"type": "geo_point"},
    "inside": {"properties": {"deep": {"type": "keyword"}}}, "lower": {"type": "keyword", "normalizer": "lowercase"},
    "kept": {"type": "keyword", "index": False}, "brief": {"type": "keyword", "ignore_above": 5},
    "flat": {"type": "long", "doc_values": False},
}  # fmt: skip


def test_fields_of_other_types_are_left_out_of_filters_and_that_is_said(index: str, client: Client) -> None:
    client.call("PUT", f"/{NAME}/_mapping", {"properties": {"metadata": {"properties": OTHER_TYPES}}})
    source = {"id": "one", "text": "dated", "metadata": {"when": "02/01/2026", "inside": {"deep": "x"}, "small": 3}}
    client.call("PUT", f"/{NAME}/_doc/one?refresh=true", source)
    with open_retriever(index, writable=True) as retriever:
        [hit] = retriever.search("dated", 1, mode="bm25")
        assert hit.metadata == {"when": "02/01/2026", "inside": '{"deep":"x"}', "small": 3}
        assert not retriever.engine.settings.fields.keys() & OTHER_TYPES.keys()
        with pytest.raises(FilterError, match=r"no field 'when'.*declared by somebody else: .*when \(date\)"):
            retriever.search("dated", filter="when > 2000")
        assert retriever.add([Document("two", "dated too")]).added == 1
    assert inspect_index(index)["not_filtered_by"].keys() == OTHER_TYPES.keys()
    others = {"small": 3, "brief": "longer than that", "flat": 7, "own": "x"}
    with open_retriever(index, writable=True) as retriever:
        assert retriever.add([Document("three", "in their fields", metadata=others)]).added == 1
        assert [hit.id for hit in retriever.search("their fields", filter='own = "x"', mode="bm25")] == ["three"]
        with pytest.raises(FilterError, match=r"brief \(keyword with ignore_above\).*flat \(long with doc_values\)"):
            retriever.search("their fields", filter='brief = "longer than that"')
    mapping = client.call("GET", f"/{NAME}/_mapping")[NAME]["mappings"]["properties"]["metadata"]["properties"]
    assert {name: mapping[name] for name in ("small", "brief", "flat")} == {
        name: OTHER_TYPES[name] for name in ("small", "brief", "flat")
    }, "a mapping of somebody else's stays as it is"
    [note] = [finding for finding in diagnose(index).findings if finding.check == "fields"]
    assert (note.severity, "half (float), inside (object), kept (keyword with index)" in note.fault) == ("note", True)


DATES = {
    "when": {"type": "date"}, "own": {"type": "date", "format": "dd/MM/yyyy"},
    "seconds": {"type": "date", "format": "epoch_second"},
}  # fmt: skip
WRITTEN = {
    "year": {"when": 2024, "own": "01/05/2024", "seconds": 1714559400},
    "moment": {"when": 1714559400000, "own": "02/05/2024", "seconds": 1714559401},
    "hour": {"when": "2024-05-01T12+02:00", "own": "03/05/2024", "seconds": 1714559402},
    "several": {"when": ["2024-04", "1714559400001"]},
}


def test_dates_that_others_declared_are_compared_in_the_usual_format_and_nothing_is_lost_in_another(
    index: str, model: Path, client: Client, tmp_path: Path
) -> None:
    client.call("PUT", f"/{NAME}/_mapping", {"properties": {"metadata": {"properties": DATES}}})
    for id, metadata in WRITTEN.items():
        client.call("PUT", f"/{NAME}/_doc/{id}?refresh=true", {"id": id, "text": "dated", "metadata": metadata})
    found = {
        "when = 2024-05-01": {"moment", "hour", "several"},
        "when <= 2024-01-01": {"year"},
        "when > 2024-05-01T10:00:00Z": {"moment", "several"},
    }
    texts = {"2024-01-01T00:00:00.000Z", "2024-05-01T10:00:00.000Z", "2024-05-01T10:30:00.000Z"}
    with open_retriever(index) as retriever:
        assert {name: kind for name, kind in retriever.engine.settings.fields.items() if name in DATES} == {
            "when": "date"
        }
        for filter, ids in found.items():
            hits = retriever.search("dated", 5, filter=filter, mode="bm25")
            assert {hit.id for hit in hits} == ids
            assert all(hit.metadata == as_read(WRITTEN[hit.id]) for hit in hits)
        facets = retriever.matches("dated", facets=["when"], mode="bm25").facets["when"]
        assert set(facets) == texts | {"2024-04-01T00:00:00.000Z", "2024-05-01T10:30:00.001Z"}
    assert reindex(index, tmp_path / "copy", model).rejected == 0
    with open_retriever(tmp_path / "copy") as retriever:
        for filter, ids in found.items():
            assert {hit.id for hit in retriever.search("dated", 5, filter=filter, mode="bm25")} == ids
        assert retriever.matches("dated", facets=["when"], mode="bm25").facets["when"] == facets
        [hour] = retriever.get(["hour"])
        assert hour is not None
        assert hour.metadata == {"when": "2024-05-01T10:00:00.000Z", "own": "03/05/2024", "seconds": 1714559402}


def as_read(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in metadata.items()}


UNFIT: list[Any] = [
    pytest.param({"mappings": {"_source": {"enabled": False}}}, "_source is off", id="no source"),
    pytest.param({"mappings": {"_source": {"excludes": ["te*"]}}}, "_source is kept without text,", id="thinned"),
    pytest.param({"mappings": {"_source": {"includes": ["text"]}}}, "without added, id, metadata, title", id="part"),
    pytest.param({"mappings": {"_routing": {"required": True}}}, "_routing is required", id="routing"),
    pytest.param({"settings": {"index.max_result_window": 100}}, "max_result_window is 100", id="window"),
]


@pytest.mark.parametrize(("template", "told"), UNFIT)
def test_what_a_template_spoils_is_found_when_the_index_is_made_and_when_it_is_opened(
    address: Address, client: Client, template: dict[str, Any], told: str
) -> None:
    client.call("PUT", f"/_index_template/{NAME}", {"index_patterns": [NAME], "template": template})
    with pytest.raises(SearchIndexError, match=told):
        load(Corpus("made", lambda: iter(DOCUMENTS)), str(address), options=LoadOptions(lexical_only=True))
    assert not OpenSearchEngine.exists(str(address))  # nothing is left behind that could not be used
    client.call("DELETE", f"/_index_template/{NAME}")
    load(Corpus("made", lambda: iter(DOCUMENTS)), str(address), options=LoadOptions(lexical_only=True))
    if "settings" in template:  # a mapping can't be changed like this later
        client.call("PUT", f"/{NAME}/_settings", template["settings"])
        with pytest.raises(SearchIndexError, match=f"{told}.*PUT /INDEX/_settings"):
            open_retriever(str(address))
        [fault] = [finding for finding in diagnose(str(address)).findings if finding.check == "fitness"]
        assert (fault.severity, told in fault.fault) == ("error", True)


@pytest.mark.parametrize("setting", ["index.default_pipeline", "index.final_pipeline"])
def test_a_missing_ingest_pipeline_is_found_before_the_first_document(
    address: Address, client: Client, setting: str
) -> None:
    template = {"settings": {setting: "gone"}}
    client.call("PUT", f"/_index_template/{NAME}", {"index_patterns": [NAME], "template": template})
    with pytest.raises(SearchIndexError, match=f"the ingest pipeline 'gone' .{setting}. is not on the server"):
        load(Corpus("made", lambda: iter(DOCUMENTS)), str(address), options=LoadOptions(lexical_only=True))
    client.call("DELETE", f"/_index_template/{NAME}")
    load(Corpus("made", lambda: iter(DOCUMENTS)), str(address), options=LoadOptions(lexical_only=True))
    client.call("PUT", f"/{NAME}/_settings", {setting: "gone"})
    with open_retriever(str(address)) as retriever:  # which can be read all the same
        assert retriever.search(DOCUMENTS[0].text, 1, mode="bm25")
    with pytest.raises(SearchIndexError, match="every document would be refused"):
        load(Corpus("made", lambda: iter(DOCUMENTS)), str(address), options=LoadOptions())
    [fault] = [finding for finding in diagnose(str(address)).findings if finding.check == "ingest_pipeline"]
    assert (fault.severity, "'gone'" in fault.fault) == ("error", True)


def test_towers_that_are_gone_are_said_and_bm25_takes_their_place_only_when_it_is_asked_for(
    index: str, client: Client
) -> None:
    assert "verified" in inspect_index(index, verify=True)
    with OpenSearchEngine.open(index) as engine:
        fingerprint = engine.settings.fingerprint
    client.call("DELETE", f"/{companion_of(fingerprint)}")
    with pytest.raises(CorruptIndex, match="the towers that made its vectors are not on the server"):
        inspect_index(index, verify=True)
    queries, judgements = [Query("q", DOCUMENTS[0].text)], [Judgement("q", DOCUMENTS[0].id, 1)]
    with open_retriever(index) as retriever:
        with pytest.raises(ModelNotFound, match="not the towers that made them, so only BM25 could answer"):
            modes_of(retriever)
        with pytest.raises(ModelNotFound):
            evaluate(retriever, queries, judgements)
        asked = evaluate(retriever, queries, judgements, settings=EvaluationSettings(systems=("bm25",)))
        assert asked.values.keys() == {"bm25"}
        assert retriever.search(DOCUMENTS[0].text, 1, mode="bm25")
    [finding] = [finding for finding in diagnose(index).findings if finding.check == "towers"]
    assert "are not on the server" in finding.fault


def test_an_index_without_vectors_is_searched_by_bm25_as_it_was_made(address: Address) -> None:
    OpenSearchEngine.create(str(address), IndexSettings()).close()
    with open_retriever(str(address)) as retriever:
        assert modes_of(retriever) == ("bm25",)
        assert retriever.search("nothing", mode="bm25", filter=None) == []
        with pytest.raises(FilterError):
            retriever.search("nothing", mode="bm25", filter=parse_filter("year > 1"))
