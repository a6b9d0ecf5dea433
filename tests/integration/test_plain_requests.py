"""Searching by text with the towers in the cluster: by this package, and by anybody with nothing but HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from in_cluster import assert_same_ranking, console_requests, plain
from made_models import make_model
from node.server import Server

import hybrid_search
from hybrid_search.async_retriever import AsyncRetriever
from hybrid_search.cli import cli
from hybrid_search.config import Fusion, IndexSettings
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.address import Address
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.serving.deployment import Deployment, forget, remember
from hybrid_search.engines.opensearch.serving.snippets import Served, example_of, snippets
from hybrid_search.errors import ModelMismatch, ModelNotFound, UnsupportedCapability, UsageError
from hybrid_search.evaluation.protocol import EvaluationSettings
from hybrid_search.retriever import Mode, Retriever
from hybrid_search.server_options import INDEX_DEFAULT, SearchOptions
from hybrid_search.towers.model_card import SERVING_FILES
from hybrid_search.towers.onnx_encoder import OnnxEncoder
from hybrid_search.types import Document, Judgement, Query
from hybrid_search.workflows.deploying import deploy, undeploy
from hybrid_search.workflows.evaluating import EvaluateRequest, evaluate_index, evaluate_side_by_side
from hybrid_search.workflows.showing import show_request
from loaders.dataset import BaseDataset
from loaders.python_docs import PythonDocs

pytestmark = pytest.mark.opensearch

IN_CLUSTER = SearchOptions(in_cluster=True)
NAME = "plain-requests"
DOCUMENTS, QUERIES = 700, 30
UNKNOWN = ["漢字", "🎉 🎉", "!!! ???"]
"""The tower knows nothing of these; the index knows the first."""


@dataclass(frozen=True)
class Prepared:
    """An index of the interpreter's documentation that carries its towers, which are deployed in the cluster too.

    :ivar requests: what ``deploy`` says to send.
    """

    url: str
    location: str
    model: Path
    encoder: OnnxEncoder
    queries: list[Query]
    deployment: Deployment
    requests: str

    @property
    def texts(self) -> list[str]:
        return [query.text for query in self.queries]

    def there(self) -> Retriever:
        return hybrid_search.open(self.location, search=IN_CLUSTER)

    def here(self) -> Retriever:
        return hybrid_search.open(self.location)


class Judged(BaseDataset):
    """Some of the queries, each answered by what the index ranks third for it."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__("judged")
        self._prepared = prepared

    def documents(self) -> Iterator[Document]:
        return iter(())

    def splits(self) -> tuple[str, ...]:
        return ("test",)

    def queries(self, split: str) -> Iterator[Query]:
        return iter(self._prepared.queries[:10])

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        with self._prepared.here() as here:
            for query in self.queries(split):
                yield Judgement(query.id, here.search(query.text, 3)[2].id, 1)


def create(location: str, model: Path, documents: Sequence[Document]) -> OnnxEncoder:
    OpenSearchEngine.drop(location)
    encoder = OnnxEncoder.load(model, threads=1)
    fusion = Fusion(weights=(0.4, 0.6), window=100)
    settings = IndexSettings(dimension=encoder.dimension, fingerprint=encoder.fingerprint, fusion=fusion)
    with OpenSearchEngine.create(location, settings) as engine:
        engine.store_model([model / name for name in SERVING_FILES])
        Retriever(encoder, engine).add(documents)
    return encoder


@pytest.fixture(scope="module")
def data() -> PythonDocs:
    return PythonDocs()


@pytest.fixture(scope="module")
def documents(data: PythonDocs) -> list[Document]:
    unknown = [
        Document("kanji", "漢字 is what the tower does not know", metadata={"kind": "topic"}),
        Document("only-unknown", "漢字 漢字", metadata={"kind": "topic"}),
    ]
    return [*islice(data.documents(), DOCUMENTS), *unknown]


@pytest.fixture(scope="module")
def prepared(
    ml_server: Server, data: PythonDocs, documents: list[Document], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prepared]:
    ids = {document.id for document in documents}
    answered = {judgement.query_id for judgement in data.judgements("test") if judgement.document_id in ids}
    queries = [query for query in data.queries("test") if query.id in answered][:QUERIES]
    folder = tmp_path_factory.mktemp("plain-requests")
    model = make_model(folder / "model", [document.searchable_text for document in documents[:DOCUMENTS]], seed=3)
    location = f"{ml_server.location}/{NAME}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HYBRID_SEARCH_CACHE", str(folder / "cache"))
        encoder = create(location, model, documents)
        made = deploy(location, allow_settings=True)
        yield Prepared(ml_server.url, location, model, encoder, queries, made.outcome.deployment, made.requests)
        undeploy(location)
        OpenSearchEngine.drop(location)


@pytest.mark.parametrize("mode", ["hybrid", "knn"])
@pytest.mark.parametrize(("filter", "offset"), [(None, 0), ('kind = "function"', 0), (None, 7)])
def test_real_queries_have_the_same_ranking_encoded_here_and_there(
    prepared: Prepared, mode: Mode, filter: str | None, offset: int
) -> None:
    with prepared.there() as there, prepared.here() as here:
        asked = {"mode": mode, "filter": filter, "offset": offset}
        found = there.search_many(prepared.texts, 10, **asked)
        assert len(found) == QUERIES
        for one, other in zip(here.search_many(prepared.texts, 10, **asked), found, strict=True):
            assert len(one) == 10
            assert_same_ranking(one, other)
            assert [set(hit.legs) for hit in one] == [set(hit.legs) for hit in other]
        assert there.encoder is None


def test_the_pipeline_that_a_deployment_gives_the_index_serves_here_and_there(prepared: Prepared) -> None:
    for in_cluster in (False, True):
        options = SearchOptions(in_cluster=in_cluster, pipeline=INDEX_DEFAULT)
        with prepared.here() as here, hybrid_search.open(prepared.location, search=options) as other:
            for text in (*prepared.texts[:5], UNKNOWN[0]):
                assert_same_ranking(here.search(text), other.search(text))


def test_rankings_for_an_evaluation_are_the_same_too(prepared: Prepared) -> None:
    with prepared.there() as there, prepared.here() as here:
        for mode in ("hybrid", "bm25", "knn"):
            one = here.rankings(prepared.texts, 50, mode=mode)
            other = there.rankings(prepared.texts, 50, mode=mode)
            for left, right in zip(one, other, strict=True):
                np.testing.assert_allclose(left.scores, right.scores, atol=1e-5)
                assert len(set(left.ids) ^ set(right.ids)) <= 2  # the last places may tie


def test_what_each_leg_contributed_is_told_alike(prepared: Prepared) -> None:
    with prepared.there() as there, prepared.here() as here:
        [one], [other] = (retriever.search(prepared.texts[0], 1) for retriever in (here, there))
        assert one.legs.keys() == other.legs.keys()
        for name, leg in one.legs.items():
            assert other.legs[name].score == pytest.approx(leg.score, abs=1e-5)
            assert other.legs[name].share == pytest.approx(leg.share, abs=1e-4)


def test_a_query_without_a_known_word_is_answered_by_bm25_alone(prepared: Prepared) -> None:
    with prepared.there() as there, prepared.here() as here:
        asked = [*UNKNOWN, "", "  ", prepared.texts[0]]
        for one, other in zip(here.search_many(asked, 5), there.search_many(asked, 5), strict=True):
            assert_same_ranking(one, other)
        assert {hit.id for hit in there.search(UNKNOWN[0])} == {"kanji", "only-unknown"}
        assert there.search(UNKNOWN[0])[0].legs["bm25"].weight == 1.0
        assert there.search_many(UNKNOWN, mode="knn") == [[], [], []]


def test_odd_queries_are_answered_as_here(prepared: Prepared) -> None:
    long = " ".join(prepared.texts[0].split() * 40)
    odd = ["\ud800 file", "FILE", "ﬁle", "a" * 5_000, long, 'a "quoted" {{word}} \\ \n file']
    with prepared.there() as there, prepared.here() as here:
        for one, other in zip(here.search_many(odd, 5), there.search_many(odd, 5), strict=True):
            assert_same_ranking(one, other)
        assert there.search("file", 5, filter='kind = "nothing"') == []
        assert len(there.search("file", 10_000, mode="knn")) == DOCUMENTS + 1
        assert len(there.search("file", 500)) <= 200


def test_a_shown_request_names_the_tower_and_finds_the_same(prepared: Prepared) -> None:
    query = prepared.texts[1]
    with prepared.there() as there:
        shown = show_request(there, query, 5, mode="hybrid", filter=None, offset=0, fusion=there.fusion)
        assert prepared.deployment.query_model in shown.console
        assert "vector_size" not in shown.console
        answer = plain(prepared.url, "POST", shown.path, shown.body)
        assert answer.ids == [hit.id for hit in there.search(query, 5)]


def test_awaiting_works_without_a_tower_here(prepared: Prepared) -> None:
    async def session() -> object:
        async with AsyncRetriever(prepared.there()) as there:
            return await there.search_many(prepared.texts[:3], 5)

    with prepared.there() as there:
        assert asyncio.run(session()) == there.search_many(prepared.texts[:3], 5)


def test_nothing_is_fetched_or_run_here(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    with prepared.there() as there:
        assert there.search(prepared.texts[0])
        with pytest.raises(UsageError, match="without its towers"):
            there.encode_queries(["file"])
    assert not (tmp_path / "cache").exists()


def test_the_command_line_finds_the_same(prepared: Prepared) -> None:
    asked = ["query", prepared.texts[2], "--from", prepared.location, "-k", "4", "--format", "json"]
    one, other = (json.loads(CliRunner().invoke(cli, [*asked, *more]).stdout) for more in ((), ("--in-cluster",)))
    assert one["mode"] == other["mode"] == "hybrid"
    assert [hit["id"] for hit in one["hits"]] == [hit["id"] for hit in other["hits"]]
    shown = CliRunner().invoke(cli, [*asked, "--in-cluster", "--show-request"])
    query = json.loads(shown.stdout)["body"]["query"]["hybrid"]["queries"][1]
    assert query["neural"]["vector"]["query_text"] == prepared.texts[2]
    refused = CliRunner().invoke(cli, [*asked, "--in-cluster", "--model", str(prepared.model)])
    assert isinstance(refused.exception, UsageError)


def test_an_evaluation_in_the_cluster_gives_the_same_figures(prepared: Prepared) -> None:
    request = EvaluateRequest(settings=EvaluationSettings(depth=100), in_cluster=True, speed=False)
    result = evaluate_index(Judged(prepared), prepared.location, request)
    assert result.evaluation.means.keys() == {"random", "bm25", "knn", "hybrid"}
    both = evaluate_side_by_side(Judged(prepared), prepared.location, prepared.location, request)
    assert both.differences.keys() == {"bm25", "knn", "hybrid"}
    for system in ("knn", "hybrid"):
        assert both.one.means[system] == pytest.approx(both.other.means[system], abs=1e-6)
    assert both.one.means["hybrid"]["RR@10"] == pytest.approx(1 / 3)


def test_an_alias_is_followed_to_the_towers_of_its_next_index(
    prepared: Prepared, documents: list[Document], tmp_path: Path
) -> None:
    second, alias = f"{prepared.location}-second", f"{NAME}-live"
    model = make_model(tmp_path / "model", [document.searchable_text for document in documents[:60]], seed=4)
    encoder = create(second, model, documents[:60])
    text = documents[20].searchable_text
    with closing(Client(Address.parse(second))) as client:
        try:
            client.call("POST", "/_aliases", {"actions": [{"add": {"index": NAME, "alias": alias}}]})
            live = hybrid_search.open(prepared.location.replace(NAME, alias), search=IN_CLUSTER)
            with live, prepared.here() as first:
                assert_same_ranking(first.search(text, 5, mode="knn"), live.search(text, 5, mode="knn"))
                deploy(second, allow_settings=True)
                swap = {
                    "actions": [
                        {"remove": {"index": NAME, "alias": alias}},
                        {"add": {"index": f"{NAME}-second", "alias": alias}},
                    ]
                }
                client.call("POST", "/_aliases", swap)
                assert live.refresh()
                with Retriever(encoder, OpenSearchEngine.open(second)) as next_one:
                    assert_same_ranking(next_one.search(text, 5, mode="knn"), live.search(text, 5, mode="knn"))
        finally:
            undeploy(second)
            OpenSearchEngine.drop(second)


def test_it_needs_a_deployment_of_the_indexs_own_model(prepared: Prepared) -> None:
    with closing(Client(Address.parse(prepared.location))) as client:
        try:
            remember(client, prepared.deployment.but(fingerprint="0f" * 32))
            with pytest.raises(ModelMismatch, match="0f0f"):
                prepared.there()
            forget(client, NAME)
            with pytest.raises(ModelNotFound, match="hybrid-search deploy"):
                prepared.there()
        finally:
            remember(client, prepared.deployment)


def test_it_needs_vectors_that_are_compared_by_cosine_and_an_index_on_a_server(
    prepared: Prepared, tmp_path: Path
) -> None:
    location = f"{prepared.location}-other"
    for settings, message in (
        (IndexSettings(), "holds no vectors"),
        (IndexSettings(dimension=4, fingerprint="axes", similarity="dot"), "compared by dot"),
    ):
        OpenSearchEngine.create(location, settings).close()
        try:
            with pytest.raises((UsageError, UnsupportedCapability), match=message):
                OpenSearchEngine.open(location, options=IN_CLUSTER)
        finally:
            OpenSearchEngine.drop(location)
    with pytest.raises(UsageError, match="for an index on a server"):
        hybrid_search.open(tmp_path, search=IN_CLUSTER)
    with pytest.raises(UsageError, match="leave the model out"):
        hybrid_search.open(prepared.location, model=tmp_path, search=IN_CLUSTER)


def test_a_document_indexed_as_text_has_the_vector_of_one_that_was_loaded(prepared: Prepared) -> None:
    texts = {"as-text": {"text": "the moon pulls the file of the sea", "title": "Tides"},
             "no-title": {"text": "a socket reads bytes from a stream"},
             "unknown-words": {"text": "漢字"}}  # fmt: skip
    for id, source in texts.items():
        written = plain(prepared.url, "PUT", f"/{NAME}/_doc/{id}?refresh=true", source)
        assert written.status == 201, written.body
    try:
        with prepared.here() as here:
            assert isinstance(here.engine, OpenSearchEngine)
            stored = [document for document in here.get(list(texts)) if document is not None]
            assert stored == [Document(id, source["text"], source.get("title", "")) for id, source in texts.items()]
            vectors = here.engine.vectors(list(texts))
            assert vectors.keys() == {"as-text", "no-title"}
            wanted = prepared.encoder.encode_documents([document.searchable_text for document in stored[:2]])
            np.testing.assert_allclose([vectors["as-text"], vectors["no-title"]], wanted, atol=1e-5)
            for mode in ("hybrid", "knn", "bm25"):
                assert here.search("Tides the moon pulls the file of the sea", 1, mode=mode)[0].id == "as-text"
    finally:
        for id in texts:
            plain(prepared.url, "DELETE", f"/{NAME}/_doc/{id}?refresh=true")


def test_a_document_needs_an_id_and_has_the_one_that_it_is_stored_by(prepared: Prepared) -> None:
    refused = plain(prepared.url, "POST", f"/{NAME}/_doc", {"text": "the file that nobody named"})
    assert refused.status == 500
    assert "needs an id of its own" in str(refused.body)
    plain(prepared.url, "PUT", f"/{NAME}/_doc/one?refresh=true", {"id": "two", "text": "zygote zygote"})
    try:
        with prepared.there() as there:
            assert there.search("zygote", 1)[0].id == "one"
    finally:
        plain(prepared.url, "DELETE", f"/{NAME}/_doc/one?refresh=true")


def test_every_snippet_runs_as_it_stands_and_finds_what_the_client_finds(prepared: Prepared) -> None:
    with closing(Client(Address.parse(prepared.location))) as client, prepared.here() as here:
        served = Served(NAME, here.engine.settings, prepared.deployment)
        example = example_of(client, NAME)
        assert example is not None
        asked = snippets(served, example)
        requests = console_requests(prepared.requests)
        assert [(one.method, one.path, one.body) for one in asked] == requests
        text = asked[0].body["query"]["hybrid"]["queries"][0]["match"]["searchable"]["query"]
        kind = f'kind = "{example.metadata["kind"]}"'

        def ids(k: int = 5, **more: object) -> list[str]:
            return [hit.id for hit in here.search(text, k, **more)]

        # One by one: a document that is written, and deleted again, changes BM25's statistics for a while.
        found = (plain(prepared.url, *request) for request in requests)
        assert next(found).ids == ids()
        assert next(found).ids == ids(filter=kind)
        assert next(found).ids == ids(offset=5)
        explained = next(found)
        assert explained.ids == ids()
        legs = here.search(text, 1)[0].legs
        told = explained.body["hits"]["hits"][0]["matched_queries"]
        # A leg whose window lacks the document scores it all the same here.
        assert {name: told[name] for name in legs} == pytest.approx({n: leg.score for n, leg in legs.items()}, abs=1e-4)
        assert next(found).ids == ids(mode="bm25")
        assert next(found).ids == ids(mode="knn")
        columns = next(found).body["hits"]["hits"]
        assert [hit["fields"]["id"][0] for hit in columns] == ids()
        [shown] = next(found).body["docs"]
        assert shown["_source"] == {"title": example.title, "text": example.text, "metadata": dict(example.metadata)}
        rendered = next(found).body["template_output"]
        assert plain(prepared.url, "POST", f"/{NAME}/_search", rendered).ids == ids(10)
        assert next(found).ids == ids(10)
        assert next(found).ids == ids(2, offset=1, filter=kind)
        assert next(found).body["result"] == "created"
        at_once = next(found)
        assert at_once.ids[0] == "written-as-text"
        assert next(found).body["result"] == "deleted"
        assert NAME in next(found).body
        assert next(found, None) is None


@pytest.mark.parametrize(
    "text", ['a "quoted" word', "a \\ and a\nnew line", "{{q}} {{#x}}", "ﬁle ü 漢 😀", "</script>"]
)
def test_the_template_takes_any_text_with_a_word(prepared: Prepared, text: str) -> None:
    asked = {"id": prepared.deployment.search_template, "params": {"q": f"{text} file"}}
    with prepared.here() as here:
        found = plain(prepared.url, "POST", f"/{NAME}/_search/template", asked)
        assert found.ids == [hit.id for hit in here.search(f"{text} file", 10)]


def test_the_template_gives_ids_alone_where_they_are_enough(prepared: Prepared) -> None:
    params = {"q": prepared.texts[0], "ids": True, "size": 3}
    asked = {"id": prepared.deployment.search_template, "params": params}
    answer = plain(prepared.url, "POST", f"/{NAME}/_search/template", asked)
    with prepared.here() as here:
        hits = answer.body["hits"]["hits"]
        assert [hit["fields"] for hit in hits] == [{"id": [hit.id]} for hit in here.search(prepared.texts[0], 3)]
        assert all("_source" not in hit for hit in hits)


@pytest.mark.parametrize(
    ("text", "said"), [("", "query_text"), ("漢字", "zero vector is not supported"), ("🎉", "zero vector")]
)
def test_a_plain_request_for_a_text_without_a_known_word_is_refused(prepared: Prepared, text: str, said: str) -> None:
    asked = {"id": prepared.deployment.search_template, "params": {"q": text}}
    answer = plain(prepared.url, "POST", f"/{NAME}/_search/template", asked)
    assert answer.status == 400
    assert said in str(answer.body)
