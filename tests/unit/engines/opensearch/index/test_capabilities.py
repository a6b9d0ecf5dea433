"""What follows from a server's version, plugins and settings."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities, without_native_libraries
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.errors import UnsupportedCapability
from hybrid_search.settings.index import Fusion

BOTH = {"opensearch-knn": "", "opensearch-neural-search": ""}


def root(number: str, distribution: str = "opensearch") -> dict[str, Any]:
    return {"version": {"number": number, "distribution": distribution}}


@pytest.mark.parametrize(
    ("version", "has"),
    [
        ((2, 19, 3), set()),
        ((3, 0, 0), {"filter_in_hybrid", "z_score"}),
        ((3, 1, 0), {"filter_in_hybrid", "z_score", "rrf_weights"}),
        ((3, 8, 0), {"filter_in_hybrid", "z_score", "rrf_weights", "base64_vectors"}),
        ((3, 10, 0), {"filter_in_hybrid", "z_score", "rrf_weights", "base64_vectors"}),
    ],
)
def test_abilities_come_with_versions(version: tuple[int, int, int], has: set[str]) -> None:
    server = ServerCapabilities(version, BOTH)
    names = ("filter_in_hybrid", "z_score", "rrf_weights", "base64_vectors", "fusion_in_query")
    assert {name for name in names if getattr(server, name)} == has


@pytest.mark.parametrize(
    ("settings", "on"),
    [
        ({}, False),
        ({"defaults": {"enabled": "false"}}, False),
        ({"defaults": {"enabled": "false"}, "persistent": {"enabled": "true"}}, True),
        ({"persistent": {"enabled": "true"}, "transient": {"enabled": False}}, False),
    ],
)
def test_a_fusion_inside_the_query_must_be_switched_on(settings: dict[str, Any], on: bool) -> None:
    answer = {level: {"plugins": {"neural_search": {"hybrid": {"fusion": said}}}} for level, said in settings.items()}
    told = ServerCapabilities.of(root("3.10.0"), {})
    assert told.has_switch
    assert told.with_settings(answer).fusion_in_query is on
    assert not ServerCapabilities.of(root("3.6.0"), {}).has_switch


@pytest.mark.parametrize(
    ("method", "version", "told"),
    [
        ("rrf", (3, 0, 0), "no weights for RRF"),
        ("z_score", (2, 19, 0), r"2\.19\.0 has no z_score \(3\.0 has\)"),
        ("min_max_from_zero", (2, 19, 0), r"no lower bounds for min_max \(3\.0 has\); use the fusion min_max"),
    ],
)
def test_a_fusion_that_a_server_has_not_is_refused(method: Any, version: tuple[int, int, int], told: str) -> None:
    with pytest.raises(UnsupportedCapability, match=told):
        ServerCapabilities(version, BOTH).check_fusion(Fusion(method=method))
    ServerCapabilities((3, 1, 0), BOTH).check_fusion(Fusion(method=method))


def test_something_else_and_what_is_too_old_are_refused() -> None:
    with pytest.raises(UnsupportedCapability, match="not OpenSearch but unknown"):
        ServerCapabilities.of({"version": {"number": "8.1.0"}}, {})
    with pytest.raises(UnsupportedCapability, match=r"OpenSearch 2\.18\.0; hybrid search needs 2\.19\.0 or newer"):
        ServerCapabilities.of(root("2.18.0"), {})


def test_plugins_that_one_may_not_ask_for_are_believed_to_be_there() -> None:
    server = ServerCapabilities.of(root("3.6.0"), None)
    server.check_vectors()
    assert server.has_plugin("opensearch-knn")
    assert not ServerCapabilities.of(root("3.6.0"), {}).has_plugin("opensearch-knn")


def test_serverless_is_refused_before_it_is_asked_anything() -> None:
    class Unasked:
        connection = Connection(aws_region="eu-west-1", aws_service="aoss")

    with pytest.raises(UnsupportedCapability, match="takes no document ids and no refresh"):
        ServerCapabilities.read(Unasked())


def test_every_ability_that_is_missing_has_a_substitute() -> None:
    servers = (
        ServerCapabilities((2, 19, 0), {}),
        ServerCapabilities((3, 6, 0), BOTH),
        ServerCapabilities((3, 10, 0), {**BOTH, "opensearch-ml": "3.10.0.0"}, fusion_switched_on=True),
    )
    listed = [server.abilities() for server in servers]
    assert len({tuple(one.name for one in abilities) for abilities in listed}) == 1
    assert all(one.substitute for abilities in listed for one in abilities if not one.has)
    assert all(one.has for one in listed[2])


@pytest.mark.parametrize(
    ("build", "system", "loaded", "bare"),
    [
        ("zip", "Linux", 0, ["n"]),  # from Maven
        ("tar", "Linux", 0, []),
        ("rpm", "Linux", 0, []),
        ("deb", "Linux", 0, []),
        ("zip", "Windows Server 2022", 0, []),
        ("zip", "Linux", 3, []),  # somebody added them, and graphs were searched
        ("zip", "Mac OS X", 0, ["n"]),
    ],
)
def test_a_node_from_mavens_artifacts_has_no_native_libraries(
    build: str, system: str, loaded: int, bare: list[str]
) -> None:
    nodes = {"1": {"name": "n", "build_type": build, "os": {"name": system}}, "2": {"name": "m", "build_type": "tar"}}
    assert without_native_libraries(nodes, {"1": {"load_success_count": loaded, "faiss_initialized": True}}) == bare
