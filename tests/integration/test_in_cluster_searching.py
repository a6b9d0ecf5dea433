"""Searching by text with the towers in the cluster: the same hits as with the client's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from asked_by_text import DOCUMENTS, IN_CLUSTER, NAME, QUERIES, UNKNOWN, Prepared, create
from click.testing import CliRunner
from in_cluster import assert_same_ranking, plain
from made_models import make_model

import hybrid_search
from hybrid_search.cli import cli
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.deployment import forget, remember
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import ModelMismatch, ModelNotFound, UnsupportedCapability, UsageError
from hybrid_search.evaluation.evaluate import EvaluateRequest, evaluate_index, evaluate_side_by_side
from hybrid_search.evaluation.protocol import EvaluationSettings
from hybrid_search.in_cluster.deploy import deploy, undeploy
from hybrid_search.loaders.dataset import BaseDataset
from hybrid_search.location import Address
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import Mode, Search
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.server import INDEX_DEFAULT, SearchOptions
from hybrid_search.types import Document, Judgement, Query

pytestmark = pytest.mark.opensearch


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
    odd = ["FILE", "ﬁle", "a" * 5_000, long, 'a "quoted" {{word}} \\ \n file']
    with prepared.there() as there, prepared.here() as here:
        for one, other in zip(here.search_many(odd, 5), there.search_many(odd, 5), strict=True):
            assert_same_ranking(one, other)
        assert there.search("file", 5, filter='kind = "nothing"') == []
        assert len(there.search("file", 10_000, mode="knn")) == DOCUMENTS + 1
        assert len(there.search("file", 500)) <= 200


def test_a_shown_request_names_the_tower_and_finds_the_same(prepared: Prepared) -> None:
    query = prepared.texts[1]
    with prepared.there() as there:
        assert isinstance(there.engine, OpenSearchEngine)
        shown = there.engine.shown(there.source.current.ready(Search.of([query], 5)))
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
    prepared: Prepared, pages: list[Document], tmp_path: Path
) -> None:
    second, alias = f"{prepared.location}-second", f"{NAME}-live"
    model = make_model(tmp_path / "model", [document.searchable_text for document in pages[:60]], seed=4)
    encoder = create(second, model, pages[:60])
    text = pages[20].searchable_text
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
