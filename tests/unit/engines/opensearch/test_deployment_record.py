"""What a deployment is called, what its record keeps, and how a failed one is undone."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from hybrid_search.engines.opensearch.serving.connectors import checked_endpoint
from hybrid_search.engines.opensearch.serving.deployment import Deployment, record_in
from hybrid_search.engines.opensearch.serving.tasks import explained
from hybrid_search.engines.opensearch.serving.undoing import Undo
from hybrid_search.errors import AccessDenied, Unreachable, UsageError

MADE = Deployment(index="pages-000002", family="pages", fingerprint="0123456789abcdef" * 4, connectors=("a", "b"))


def test_pipelines_are_the_indexs_and_group_template_and_models_the_familys() -> None:
    assert (MADE.ingest_pipeline, MADE.search_pipeline) == ("hybrid-search-pages-000002", "hybrid-search-pages-000002")
    assert (MADE.group_name, MADE.search_template) == ("hybrid-search-pages", "hybrid-search-pages")
    assert MADE.model_name("query") == "pages-query-0123456789abcdef"


def test_a_record_is_read_as_it_was_written_and_what_a_newer_version_adds_is_passed_over() -> None:
    written = {**asdict(MADE), "connectors": ["a", "b"], "added_later": 1}
    assert record_in({"mappings": {"_meta": {"deployment": written}}}) == MADE
    assert record_in({"mappings": {}}) is None


def test_what_was_made_is_undone_last_things_first_and_after_the_server_is_gone_nothing_more_is_tried() -> None:
    undone: list[str] = []

    def refuse(error: Exception) -> None:
        raise error

    undo = Undo()
    undo.by("never tried", lambda: undone.append("never tried"))
    undo.by("gone", lambda: refuse(Unreachable("the server is gone")))
    undo.by("third", lambda: undone.append("third"))
    undo.by("forbidden", lambda: refuse(AccessDenied("not you")))
    undo.by("first", lambda: undone.append("first"))
    assert undo.run() == ["forbidden", "gone", "never tried"]
    assert undone == ["first", "third"]
    assert undo.run() == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("towers:8080", "give the towers' address as https://"),
        ("ftp://towers", "give the towers' address as https://"),
        ("https://towers/?a=b", "give the towers' address as https://"),
        ("https://me:secret@towers", "HYBRID_SEARCH_TOWERS_TOKEN"),
    ],
)
def test_an_address_that_is_none_is_refused_and_no_password_is_shown(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        checked_endpoint(url)
    assert "secret" not in str(refused.value)


def test_a_good_address_loses_its_last_slash() -> None:
    assert checked_endpoint("https://towers:8080/v1/") == "https://towers:8080/v1"


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Memory Circuit Breaker is open, please check your resources!", "native_memory_threshold"),
        ("model content changed", "SHA-256"),
        ("Exceed max local model per node limit", "max_model_on_node"),
        ("something else", "something else"),
    ],
)
def test_what_ml_commons_says_is_followed_by_what_mends_it(said: str, advice: str) -> None:
    told = explained(said)
    assert told.startswith(said)
    assert advice in told
