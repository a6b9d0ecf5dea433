"""Reading what a server says, good and bad. The answers are those of a 3.6.0, cut down."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities, parsed_version, shared_plugins
from hybrid_search.engines.opensearch.index.document_json import field_name, stored_name
from hybrid_search.engines.opensearch.search.answers import (
    Found,
    checked,
    documents,
    found,
    leg_later,
    ranking_of,
    searches,
)
from hybrid_search.engines.opensearch.search.explanation import LegsOfHit, LegsOfPage
from hybrid_search.engines.opensearch.transport.failures import failure
from hybrid_search.errors import (
    AccessDenied,
    IndexExists,
    IndexNotFound,
    Overloaded,
    SearchIndexError,
    UnsupportedCapability,
)
from hybrid_search.fusion import explain
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Document, Ranking

WHOLE = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}


def read(*answers: dict[str, Any]) -> list[Found]:
    body = json.dumps({"took": 3, "responses": answers}).encode()
    read, took = searches(body, "passages")
    assert took == 3
    return [found(one, "passages") for one in read]


def answer(*pairs: tuple[str, float], **more: Any) -> dict[str, Any]:
    hits = [{"_score": score, "fields": {"id": [id]}} for id, score in pairs]
    return {"_shards": WHOLE, "hits": {"max_score": 1.0, "hits": hits}, "status": 200, **more}


def test_ties_are_broken_by_id() -> None:
    [one] = read(answer(("b", 1.0), ("a", 1.0), ("c", 2.0)))
    assert ranking_of(one, 2, "i") == Ranking(("c", "a"), (2.0, 1.0))


def test_an_answer_without_hits_is_an_empty_ranking() -> None:
    [one] = read({"_shards": WHOLE})
    assert ranking_of(one, 5, "i") == Ranking((), ())


@pytest.mark.parametrize("pairs", [(("a", -9549512000.0),), (("a", 1.0), ("a", -4422440400.0))])
def test_the_scores_of_a_hybrid_that_was_not_fused_are_an_error(pairs: tuple[tuple[str, float], ...]) -> None:
    with pytest.raises(SearchIndexError, match="did not fuse"):
        ranking_of(read(answer(*pairs))[0], 5, "i")


def test_a_document_without_an_id_or_with_anothers_ends_nothing_but_itself(caplog: pytest.LogCaptureFixture) -> None:
    of_others = answer(("a", 0.5), ("b", 0.7), ("a", 1.0))
    of_others["hits"]["hits"] += [{"_score": 0.9}, {"_score": 0.8, "fields": {}}]
    assert ranking_of(read(of_others)[0], 5, "i") == Ranking(("a", "b"), (1.0, 0.7))
    assert "3 hits were left out: documents without an id, or with another's" in caplog.text


def test_a_failed_shard_is_an_error_with_its_reason() -> None:
    shards = {
        "total": 3,
        "successful": 2,
        "skipped": 0,
        "failed": 1,
        "failures": [{"shard": 2, "reason": {"type": "query_shard_exception", "reason": "no such thing"}}],
    }
    with pytest.raises(SearchIndexError, match=r"1 of 3 shards failed .*no such thing"):
        checked({"_shards": shards}, "passages")


def test_a_shard_that_no_node_holds_is_an_error_though_it_counts_as_neither_failed_nor_successful() -> None:
    with pytest.raises(SearchIndexError, match=r"1 of 2 shards failed \(no node holds them"):
        read({"_shards": {"total": 2, "successful": 1, "skipped": 0, "failed": 0}})


def test_a_copy_that_waits_for_its_node_is_no_failure_of_a_refresh() -> None:
    checked({"_shards": {"total": 2, "successful": 1, "failed": 0}}, "passages")


def test_what_is_missing_is_told_where_the_rest_is_wanted() -> None:
    told: list[str] = []
    lacking = answer(("a", 1.0), timed_out=True, _shards={**WHOLE, "total": 3})
    [one], _ = searches(json.dumps({"responses": [lacking]}).encode(), "passages")
    assert ranking_of(found(one, "passages", told.append), 5, "i").ids == ("a",)
    assert [line.split(": ")[1].split(",")[0] for line in told] == [
        "2 of 3 shards failed (no node holds them",
        "the search timed out on the server",
    ]


def test_a_search_that_timed_out_is_an_error() -> None:
    with pytest.raises(SearchIndexError, match="timed out"):
        read(answer(timed_out=True))


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b'{"responses": 3}', b"\xff", b'{"responses": [{}]}'])
def test_an_answer_that_is_not_a_servers_is_an_error_of_ours(body: bytes) -> None:
    with pytest.raises(SearchIndexError, match="is a proxy between"):
        [found(one, "passages") for one in searches(body, "passages")[0]]


def test_a_leg_is_checked_at_once_and_read_when_somebody_looks() -> None:
    answers = [answer(("b", 1.0), ("a", 1.0)), {"error": {"reason": "gone"}, "status": 404}]
    (good, failed), _ = searches(json.dumps({"responses": answers}).encode(), "passages")
    assert leg_later(good, "passages")() == Ranking(("b", "a"), (1.0, 1.0))
    with pytest.raises(SearchIndexError, match="gone"):
        leg_later(failed, "passages")


def test_the_legs_of_hits_are_those_of_the_reference_arithmetic_and_copied_as_a_dict() -> None:
    bm25, knn, fusion = Ranking(("a", "b"), (3.0, 1.0)), Ranking(("b",), (0.9,)), Fusion()
    reads: list[str] = []

    def read_bm25() -> Ranking:
        reads.append("bm25")
        return bm25

    page = LegsOfPage([read_bm25, lambda: knn], fusion, ["a", "b"])
    hits = [LegsOfHit(page, id) for id in ("a", "b")]
    assert reads == []
    assert hits == [explain(bm25, knn, fusion, [id])[id] for id in ("a", "b")]
    assert [set(hit) for hit in hits] == [{"bm25"}, {"bm25", "knn"}]
    assert reads == ["bm25"]
    assert type(copy.deepcopy(hits[1])) is dict


def test_documents_are_read_with_gaps_and_a_failure_is_an_error() -> None:
    source = {"id": "a", "text": "t", "metadata": {"lang": ["en", "de"]}}
    there = {"_id": "a", "found": True, "_seq_no": 7, "_source": source}
    gap = {"_id": "b", "found": False}
    read = documents(json.dumps({"docs": [there, gap]}).encode(), "passages")
    assert list(read) == [(Document("a", "t", metadata={"lang": ("en", "de")}), 7), (None, -1)]
    failed = {"_id": "c", "error": {"type": "x", "reason": "shard is lost"}}
    with pytest.raises(SearchIndexError, match="shard is lost"):
        list(documents(json.dumps({"docs": [failed]}).encode(), "passages"))


def test_one_failed_search_of_many_is_an_error_with_the_innermost_cause() -> None:
    told = {
        "status": 400,
        "error": {
            "type": "search_phase_execution_exception",
            "reason": "all shards failed",
            "root_cause": [],
            "failed_shards": [{"reason": {"type": "x", "reason": "Query vector has invalid dimension: 5"}}],
        },
    }
    with pytest.raises(SearchIndexError, match=r"passages: search_phase.*invalid dimension: 5"):
        read(told)


@pytest.mark.parametrize(
    ("status", "info", "kind", "message"),
    [
        (404, {"error": {"type": "index_not_found_exception", "reason": "no such index [a]"}}, IndexNotFound, "load"),
        (400, {"error": {"type": "resource_already_exists_exception", "reason": "x"}}, IndexExists, "drop it"),
        (401, "Unauthorized", AccessDenied, "OPENSEARCH_PASSWORD"),
        (
            403,
            {"error": {"type": "security_exception", "reason": "no permissions for [x]"}},
            AccessDenied,
            "rights",
        ),
        (429, {"error": {"type": "cluster_block_exception", "reason": "read-only"}}, SearchIndexError, "blocked"),
        (429, {"error": {"type": "rejected_execution_exception", "reason": "full"}}, Overloaded, "overloaded"),
        (503, "OpenSearch Security not initialized.", Overloaded, "starting"),
        (500, None, SearchIndexError, "500"),
        (
            400,
            {"error": {"type": "illegal_argument_exception", "reason": "Model not ready yet. Please deploy it first."}},
            SearchIndexError,
            "hybrid-search deploy",
        ),
        (
            404,
            {"error": {"type": "status_exception", "reason": "Failed to find model with the provided model id: x"}},
            SearchIndexError,
            "hybrid-search deploy",
        ),
        (
            500,
            {"error": {"type": "status_exception", "reason": "Error communicating with remote model: refused"}},
            SearchIndexError,
            "start hybrid-search serve-towers there, or query without `in_cluster`",
        ),
        (
            401,
            {"error": {"type": "status_exception", "reason": 'Error from remote service: {"error":"no"}'}},
            AccessDenied,
            "the towers behind the connector want a token: give deploy --connector the one",
        ),
    ],
)
def test_an_error_says_what_to_do(status: int, info: Any, kind: type[Exception], message: str) -> None:
    error = failure(status, info, "http://localhost:9200")
    assert type(error) is kind
    assert message in str(error)
    assert isinstance(error, SearchIndexError)
    assert error.status == status
    assert error.retryable == (kind is Overloaded)


@pytest.mark.parametrize("name", ["lang", "a.b", "50%", "a b", "*", "%2E", "ä.ö", " "])
def test_a_field_name_survives_the_server(name: str) -> None:
    assert field_name(stored_name(name)) == name
    assert not set(stored_name(name)) & set(".* ")


def test_a_plugin_counts_when_every_node_has_it() -> None:
    knn, neural = ({"name": f"opensearch-{name}", "version": "3.6.0.0"} for name in ("knn", "neural-search"))
    listed = {"nodes": {"n1": {"plugins": [knn, neural]}, "n2": {"plugins": [knn]}}}
    assert shared_plugins(listed) == {"opensearch-knn": "3.6.0.0"}
    assert shared_plugins({"nodes": {**listed["nodes"], "n3": {}}}) == {}
    with pytest.raises(UnsupportedCapability, match="no plugin opensearch-neural-search"):
        ServerCapabilities((3, 6, 0), shared_plugins(listed)).check_vectors()


def test_capabilities_follow_from_the_version() -> None:
    both = {"opensearch-knn": "", "opensearch-neural-search": ""}
    assert parsed_version("3.10.1-SNAPSHOT") == (3, 10, 1)
    assert not ServerCapabilities((2, 19, 3), both).filter_in_hybrid
    assert ServerCapabilities((3, 0, 0), both).filter_in_hybrid
    ServerCapabilities((3, 1, 0), both).check_fusion(Fusion(method="rrf"))
    ServerCapabilities((2, 19, 3), both).check_fusion(Fusion())
    with pytest.raises(UnsupportedCapability, match=r"3\.0\.0 has no weights for RRF"):
        ServerCapabilities((3, 0, 0), both).check_fusion(Fusion(method="rrf"))
