"""How many documents match, which metadata they have, and what a least score leaves out: on every engine alike."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from test_passages import made

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.search.bodies import Hybrid
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.errors import FilterError
from hybrid_search.protocols import AwaitableEngine, Engine
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.types import Document, Matches

YEARS = [2020, 2021, 2021, 2022, 2021, 2020]
WORDS = ["flea", "flea dog", "cat", "flea cat", "dog", "sea"]
CORPUS = [
    Document(
        f"d{number}",
        f"{word} {'filler ' * number}",
        metadata={"year": year, "lang": ("en", "de") if number % 2 else ("en",), "long": number > 2, "price": year / 8},
    )
    for number, (word, year) in enumerate(zip(WORDS, YEARS, strict=True))
]
VECTORS = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1], [-0.6, 0.8], [-1, 0]], np.float32)
ASKED = Search.of(["flea"], 10, vectors=np.array([[0, 1]], np.float32), fusion=Fusion(window=2), group=0)
LEXICAL = replace(ASKED, mode="bm25", fusion=None)


@pytest.fixture
def years(make_engine) -> Engine:
    engine = make_engine(IndexSettings(dimension=2, fingerprint="towers", fusion=Fusion(window=2)))
    assert engine.add(CORPUS, VECTORS) == []
    engine.commit()
    return engine


def ids(engine: Engine, search: Search) -> list[str]:
    return [hit.id for hit in engine.search(search)[0]]


def test_bm25_matches_every_document_with_a_word_of_the_query(years: Engine) -> None:
    facets = {"year": {2020: 1, 2021: 1, 2022: 1}, "lang": {"en": 3, "de": 2}, "long": {False: 2, True: 1}}
    [found] = years.matches(LEXICAL, ["year", "lang", "long"])
    assert found == Matches(3, facets)
    assert [list(counts) for counts in found.facets.values()] == [list(counts) for counts in facets.values()]
    assert years.matches(replace(LEXICAL, texts=["nowhere"], vectors=None), ["year"]) == [Matches(0, {"year": {}})]
    assert years.matches(replace(LEXICAL, texts=[""], vectors=None), ["year"]) == [Matches(0, {"year": {}})]


def test_knn_matches_the_nearest_of_the_window_or_as_many_as_are_wanted(years: Engine) -> None:
    nearest = replace(ASKED, mode="knn", fusion=None, k=1)
    assert years.matches(nearest, ["year"]) == [Matches(2, {"year": {2021: 1, 2022: 1}})]
    assert years.matches(replace(nearest, k=4))[0].total == 4
    assert years.matches(replace(nearest, k=50))[0].total == 6


def test_a_hybrid_search_matches_what_either_leg_does(years: Engine) -> None:
    # flea: d0, d1, d3; the nearest two: d3 and, of equal ones, d2 by its id.
    [found] = years.matches(ASKED, ["price"])
    assert found == Matches(4, {"price": {252.625: 2, 252.5: 1, 252.75: 1}})
    assert years.matches(replace(ASKED, vectors=np.zeros((1, 2), np.float32)))[0].total == 3
    by_vector_alone = replace(ASKED, fusion=Fusion(window=2, weights=(0, 1)))
    assert years.matches(by_vector_alone)[0].total == 2
    assert years.matches(replace(ASKED, fusion=Fusion(window=2, weights=(1, 0))))[0].total == 3


def test_a_filter_holds_for_what_matches(years: Engine) -> None:
    only = Search.of([""], 1, filter="year = 2021").filter
    assert years.matches(replace(ASKED, filter=only), ["lang"]) == [Matches(3, {"lang": {"en": 3, "de": 1}})]
    assert years.matches(replace(LEXICAL, filter=only), ["lang"]) == [Matches(1, {"lang": {"de": 1, "en": 1}})]


def test_the_most_frequent_values_come_first_and_ties_in_the_order_of_the_values(years: Engine) -> None:
    [found] = years.matches(replace(LEXICAL, texts=["filler flea"]), ["year"], 2)
    assert found == Matches(6, {"year": {2021: 3, 2020: 2}})


def test_an_undeclared_field_is_refused(years: Engine) -> None:
    with pytest.raises(FilterError, match="colour"):
        years.matches(LEXICAL, ["colour"])


def test_a_least_score_leaves_out_what_scores_less(years: Engine) -> None:
    [ranking] = years.rank(LEXICAL)
    least = replace(LEXICAL, min_score=(ranking.scores[0] + ranking.scores[1]) / 2)
    assert ids(years, least) == list(ranking.ids[:1])
    assert years.rank(least)[0].ids == ranking.ids[:1]
    assert years.matches(least, ["year"]) == [Matches(1, {"year": {2020: 1}})]
    near = replace(ASKED, mode="knn", fusion=None, min_score=0.85)  # half of 1 + the cosine: 1, .9, .9, .8
    assert ids(years, near) == ["d3", "d2", "d4"]
    assert years.matches(near)[0].total == 3


def test_a_least_score_of_the_fusion_counts_what_is_in_the_windows(years: Engine) -> None:
    wide = replace(ASKED, fusion=Fusion(window=10))
    [ranking] = years.rank(wide)
    least = replace(wide, min_score=(ranking.scores[2] + ranking.scores[3]) / 2)
    assert ids(years, least) == list(ranking.ids[:3])
    assert years.matches(least, ["year"])[0].total == 3
    assert ids(years, replace(least, k=1, offset=2)) == [ranking.ids[2]]
    assert ids(years, replace(least, offset=3)) == []


def test_a_least_score_of_a_leg_takes_its_hits_out_of_that_leg(years: Engine) -> None:
    wide = replace(ASKED, fusion=Fusion(window=10))
    near = replace(wide, min_knn=0.85)
    [hits] = years.search(near)
    assert {hit.id: sorted(hit.legs) for hit in hits} == {
        "d3": ["bm25", "knn"], "d0": ["bm25"], "d1": ["bm25"], "d2": ["knn"], "d4": ["knn"]
    }  # fmt: skip
    assert years.matches(near)[0].total == 5
    filtered = replace(near, filter=Search.of([""], 1, filter="year = 2021").filter)
    assert sorted(ids(years, filtered)) == ["d1", "d2", "d4"]
    assert years.matches(filtered)[0].total == 3
    nothing = replace(wide, min_bm25=99.0, min_knn=0.95)
    assert ids(years, nothing) == ["d3"]
    assert years.matches(nothing)[0].total == 1
    assert years.matches(replace(nothing, min_score=0.1), ["long"]) == [Matches(1, {"long": {True: 1}})]


def test_in_an_index_of_passages_documents_are_counted_unless_each_passage_is_wanted(make_engine) -> None:
    engine = make_engine(IndexSettings())
    alone = Document("alone", "flea", metadata={"odd": True})
    engine.add([*made(3, 4), *made(4, 1), *made(5, 2), alone], None)
    engine.commit()
    # d03: cat, flea, flea cat, dog; d04: flea cat; d05: dog, flea cat
    search = Search.of(["flea"], 5, "bm25", group=3)
    with_flea = [one for one in engine.documents() if "flea" in one.text]
    documents = {one.id.split("#")[0]: one.metadata["odd"] for one in with_flea}
    odd = sum(map(bool, documents.values()))
    expected = {value: number for value, number in ((True, odd), (False, len(documents) - odd)) if number}
    assert engine.matches(search, ["odd"]) == [Matches(len(documents), {"odd": expected})]
    assert engine.matches(replace(search, group=0))[0].total == len(with_flea) > len(documents) > 2


def test_a_retriever_counts_too_and_an_asynchronous_one_alike(years: Engine) -> None:
    retriever = Retriever(None, years)
    expected = Matches(3, {"year": {2020: 1, 2021: 1}})
    asked = {"facets": ["year"], "facet_size": 2, "mode": "bm25"}
    assert retriever.matches("flea", **asked) == expected
    assert retriever.matches("flea", **asked, filter="year < 2021").total == 1
    assert [hit.id for hit in retriever.search("flea", mode="bm25", min_score=99)] == []

    async def awaited() -> Matches:
        many = AsyncRetriever(retriever)
        assert (many._awaited is not None) == isinstance(years, AwaitableEngine)
        assert await many.search("flea", mode="bm25", min_score=99) == []
        found = await many.matches("flea", **asked)
        if many._awaited is not None:
            await many._awaited.engine.close()
        return found

    assert asyncio.run(awaited()) == expected


def test_a_plain_hybrid_request_counts_the_same(years: Engine) -> None:
    if not isinstance(years, OpenSearchEngine):
        pytest.skip("requests are for a server")
    body = Hybrid(Fusion(window=2)).body(("flea", [0.0, 1.0]), 10)
    body |= {"track_total_hits": True, "aggs": {"year": {"terms": {"field": "metadata.year"}}}}
    with closing(Client(years.place.address)) as client:
        answer = client.call("POST", f"/{years.place.address.index}/_search", body)
    [found] = years.matches(ASKED, ["year"])
    buckets = {one["key"]: one["doc_count"] for one in answer["aggregations"]["year"]["buckets"]}
    assert (answer["hits"]["total"]["value"], buckets) == (found.total, dict(found.facets["year"]))
