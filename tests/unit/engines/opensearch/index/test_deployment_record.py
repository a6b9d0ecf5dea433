"""What a deployment is called, what its record keeps, and how a failed one is undone."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from hybrid_search.engines.opensearch.index.deployment import Deployment, record_in
from hybrid_search.errors import AccessDenied, ConfigError, CorruptIndex, Unreachable, UsageError
from hybrid_search.in_cluster.cluster_settings import check_allowed
from hybrid_search.in_cluster.connectors import checked_endpoint
from hybrid_search.in_cluster.ml_commons import explained
from hybrid_search.in_cluster.undo import Undo

MADE = Deployment(index="pages-000002", family="pages", fingerprint="0123456789abcdef" * 4, connectors=("a", "b"))


def test_pipelines_are_the_indexs_and_group_template_and_models_the_familys() -> None:
    assert (MADE.ingest_pipeline, MADE.search_pipeline) == ("hybrid-search-pages-000002", "hybrid-search-pages-000002")
    assert (MADE.group_name, MADE.search_template) == ("hybrid-search-pages", "hybrid-search-pages")
    assert MADE.model_name("query") == "pages-query-0123456789abcdef"


def test_a_model_behind_a_connector_has_another_name_than_one_in_the_cluster() -> None:
    outside = MADE.but(endpoint="https://towers:8080")
    assert outside.model_name("document") == "pages-document-0123456789abcdef-remote"


def test_a_record_is_read_as_it_was_written_and_what_a_newer_version_adds_is_passed_over() -> None:
    written = {**asdict(MADE), "connectors": ["a", "b"], "added_later": 1}
    assert record_in({"mappings": {"_meta": {"deployment": written}}}) == MADE
    assert record_in({"mappings": {}}) is None


@pytest.mark.parametrize("record", [7, [], {}, {"index": 1}, {**asdict(MADE), "connectors": "abc"}])
def test_a_record_that_somebody_changed_is_refused(record: object) -> None:
    with pytest.raises(CorruptIndex, match=r"_meta\.deployment, is not what was written"):
        record_in({"mappings": {"_meta": {"deployment": record}}})


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


def test_an_interruption_while_undoing_leaves_the_step_that_it_hit_and_those_after_it() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    undo = Undo()
    undo.by("the record", lambda: None)
    undo.by("the model", interrupt)
    undo.by("the pipeline", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        undo.run()
    assert undo.ahead == ["the model", "the record"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("not-a-url", "'not-a-url': give the towers' address as https://"),
        ("towers:8080", "'towers:8080': give the towers' address as https://"),
        ("ftp://towers", "'ftp://towers': give the towers' address as https://"),
        ("https://towers/?a=b", "give the towers' address as https://"),
        ("https://towers/?token=secret", "give the towers' address as https://"),
        ("http://127.0.0.1:99999", "127.0.0.1:99999'.*the port from 1 to 65535"),
        ("http://towers:0", "the port from 1 to 65535"),
        ("http://towers:https", "the port from 1 to 65535"),
        ("http://[", "give the towers' address as https://"),
        ("me:secret@towers", "HYBRID_SEARCH_TOWERS_TOKEN"),
        ("https://me:secret@towers", "HYBRID_SEARCH_TOWERS_TOKEN"),
    ],
)
def test_an_address_that_is_none_is_refused_and_no_password_is_shown(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        checked_endpoint(url)
    assert "secret" not in str(refused.value)


def test_of_settings_that_are_in_the_way_the_option_comes_first_and_of_lists_only_what_is_added() -> None:
    held = [f"^https://{number}/.*$" for number in range(50)]
    trusted, private = "plugins.ml_commons.trusted_connector_endpoints_regex", "plugins.ml_commons.private"
    wanted = {trusted: [*held, "^http://towers/.*$"], private: True}
    check_allowed(wanted, allowed=True)
    with pytest.raises(ConfigError) as refused:
        check_allowed(wanted, allowed=False)
    before, after = str(refused.value).split("; needed: ")
    assert "; give allow_settings=True (" in before
    assert json.loads(after) == {trusted: ["...", "^http://towers/.*$"], private: True}
    with pytest.raises(ConfigError, match=r'settings; needed: \{"it":\["\^only\$"\]\}$'):
        check_allowed({"it": ["^only$"]}, allowed=False)


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
