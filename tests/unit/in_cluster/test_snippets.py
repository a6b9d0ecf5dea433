"""Requests for Dev Tools: their form, and that they name what is there."""

from __future__ import annotations

import json

import pytest

from hybrid_search.engines.opensearch.index.deployment import Deployment
from hybrid_search.filters import Term
from hybrid_search.in_cluster.console import Example, Served, Snippet, snippet_file, snippets
from hybrid_search.in_cluster.text_pipelines import template_script
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.types import Document

DEPLOYED = Deployment(
    index="passages-000002", family="passages", fingerprint="0f" * 32, query_model="q-1", document_model="d-1"
)
SETTINGS = IndexSettings(dimension=3, fingerprint="0f" * 32, fusion=Fusion(window=50), fields={"year": "long"})
EXAMPLE = Example(Document("tides", "The moon pulls the sea", title="Tides"), "moon sea", Term("year", 2001))


def titles(asked: list[Snippet]) -> list[str]:
    return [snippet.title for snippet in asked]


def test_a_snippet_is_a_remark_a_method_with_a_path_and_json() -> None:
    snippet = Snippet("Ask", "POST", "/passages/_search", {"size": 1, "query": {"match_all": {}}})
    assert snippet.console.splitlines()[:3] == ["# Ask", "POST /passages/_search", "{"]
    assert json.loads(snippet.console.split("\n", 2)[2]) == snippet.body
    assert Snippet("Names", "GET", "/passages/_alias").console == "# Names\nGET /passages/_alias\n"


def test_what_is_asked_for_is_the_examples_and_every_path_has_the_alias() -> None:
    asked = snippets(Served("passages", SETTINGS, DEPLOYED), EXAMPLE)
    first, filtered = asked[:2]
    assert first.body is not None
    assert filtered.body is not None
    lexical, dense = first.body["query"]["hybrid"]["queries"]
    assert lexical == {"match": {"searchable": {"query": "moon sea"}}}
    assert dense == {"neural": {"vector": {"query_text": "moon sea", "k": 50}}}
    assert filtered.body["query"]["hybrid"]["filter"] == {"term": {"metadata.year": {"value": 2001}}}
    assert {snippet.path.split("/")[1] for snippet in asked} == {"passages", "_render"}


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.7, 0.3)])
def test_a_leg_without_a_weight_is_not_asked_but_by_itself(weights: tuple[float, float]) -> None:
    settings = SETTINGS.replace(fusion=SETTINGS.fusion.replace(weights=weights))
    asked = {snippet.title: snippet.body for snippet in snippets(Served("passages", settings, DEPLOYED), EXAMPLE)}
    legs = asked["Why a hit is there: matched_queries has each leg's score"]["query"]["hybrid"]["queries"]
    named = [leg["match"]["searchable"].get("_name") for leg in legs if "match" in leg]
    named += [leg["neural"]["vector"].get("_name") for leg in legs if "neural" in leg]
    assert named == [name for name, weight in zip(("bm25", "knn"), weights, strict=True) if weight]
    assert "match" in asked["By words alone"]["query"]
    assert "neural" in asked["By meaning alone"]["query"]


def test_an_old_server_gets_the_filter_in_each_leg() -> None:
    asked = snippets(Served("passages", SETTINGS, DEPLOYED, filter_in_hybrid=False), EXAMPLE)[1]
    assert asked.body is not None
    lexical, dense = asked.body["query"]["hybrid"]["queries"]
    wanted = {"term": {"metadata.year": {"value": 2001}}}
    assert (lexical["bool"]["filter"], dense["neural"]["vector"]["filter"]) == ([wanted], wanted)


def test_without_metadata_or_documents_there_is_no_filter_to_show() -> None:
    served = Served("passages", SETTINGS, DEPLOYED)
    without = titles(snippets(served, Example(Document("a", "text"), "text")))
    assert len(without) == len(titles(snippets(served, EXAMPLE))) - 1
    assert titles(snippets(served)) == without


def test_the_file_says_which_name_to_use_and_which_towers_encode() -> None:
    served = Served("passages", SETTINGS, DEPLOYED)
    asked = snippets(served, EXAMPLE)
    text = snippet_file(served, asked)
    head = text.split("\n\n", 1)[0]
    assert "Always ask for the alias passages; the index that it stands for now is passages-000002." in head
    alone = Served(DEPLOYED.index, SETTINGS, DEPLOYED)
    assert "passages-000002 is the index itself" in snippet_file(alone, snippets(alone))
    assert "encoded by q-1" in head
    assert all(line.startswith("#") for line in head.splitlines())
    assert text.count("\n# ") - head.count("\n# ") == len(asked)


def test_the_template_asks_both_legs_as_deep_as_the_fusion_looks() -> None:
    source = template_script(Fusion(window=70))["script"]["source"]
    assert '"pagination_depth": 70' in source
    assert '"k": 70' in source
    assert source.count("{{q}}") == 2
