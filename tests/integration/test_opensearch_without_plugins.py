"""A server without the k-NN plugin: said before anything is made, and found by the doctor."""

from __future__ import annotations

import pytest
from asked import by_text
from conftest import Home
from node.process import LocalNode

from hybrid_search.doctor.diagnosis import diagnose
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module")
def server(bare_node: LocalNode) -> str:
    return bare_node.url.replace("http://", "opensearch://")


def test_loading_vectors_is_refused_with_the_plugin_s_name(home: Home, server: str) -> None:
    place = f"{server}/passages"
    refused = home.run("load", "jsonl", "--path", home.data, "--model", home.model, "--to", place)
    assert refused.code == 9
    assert "the server has no plugin opensearch-knn" in refused.err
    assert not OpenSearchEngine.exists(place)


def test_texts_alone_can_be_indexed_and_searched(server: str) -> None:
    with OpenSearchEngine.create(f"{server}/texts", IndexSettings()) as engine:
        engine.add([Document("a", "plain words")], None)
        engine.commit()
        assert by_text(engine, ["plain"], 1)[0].ids == ("a",)


def test_the_doctor_names_both_plugins_and_how_to_have_them(server: str) -> None:
    diagnosis = diagnose(server)
    told = [one for one in diagnosis.findings if one.check == "plugins"]
    assert [one.fault.split(":")[0] for one in told] == [
        f"the plugin {name} is missing on node-{server.rpartition(':')[2]}"
        for name in ("opensearch-knn", "opensearch-neural-search")
    ]
    assert told[0].mend[0] == "bin/opensearch-plugin install org.opensearch.plugin:opensearch-knn:3.6.0.0"
    missing = {one.name: one.substitute for one in diagnosis.abilities if not one.has}
    assert missing["k-NN plugin"] == "no vectors: BM25 only"
