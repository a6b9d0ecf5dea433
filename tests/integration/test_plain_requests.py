"""Plain requests to towers in the cluster, by anybody with nothing but HTTP: documents, snippets, the template."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from asked_by_text import NAME, Prepared
from in_cluster import console_requests, plain

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.filters import Term
from hybrid_search.in_cluster.console import Served, example_of, snippets
from hybrid_search.location import Address
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch


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
        example = example_of(client, NAME, here.engine.settings.fields)
        assert example is not None
        asked = snippets(served, example)
        requests = console_requests(prepared.requests)
        assert [(one.method, one.path, one.body) for one in asked] == requests
        text, page = example.text, example.document
        assert asked[0].body["query"]["hybrid"]["queries"][0]["match"]["searchable"]["query"] == text
        assert example.filter == Term("kind", page.metadata["kind"])  # the other field is another in each document
        kind = f'kind = "{page.metadata["kind"]}"'

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
        assert shown["_source"] == {"title": page.title, "text": page.text, "metadata": dict(page.metadata)}
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


def test_the_example_is_what_somebody_would_type_and_finds_its_document(prepared: Prepared) -> None:
    with closing(Client(Address.parse(prepared.location))) as client, prepared.here() as here:
        example = example_of(client, NAME, here.engine.settings.fields)
        assert example is not None
        assert example == example_of(client, NAME, here.engine.settings.fields)
        assert 2 <= len(example.text.split()) <= 7
        words = example.document.searchable_text.lower().split()
        assert example.text.lower().split() != words[:8]
        assert example.document.id in [hit.id for hit in here.search(example.text, 10)]


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
