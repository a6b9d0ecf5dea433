"""The doctor's checks on what servers answer, cut down; the faults that can be planted are planted on a real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hybrid_search.doctor.diagnosis import Diagnosis, ModelFacts, examine
from hybrid_search.doctor.vitals import Finding, IndexVitals, Vitals
from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.curl import Commands
from hybrid_search.location import Address

PLUGINS = ("opensearch-knn", "opensearch-neural-search")
BOTH = dict.fromkeys(PLUGINS, "3.6.0.0")
OURS = {"format_version": 1, "dimension": 2, "fingerprint": "f" * 64}
VECTOR = {"type": "knn_vector", "dimension": 2, "method": {"engine": "lucene"}}
LOCATION = "opensearch://h:9200/a"
GB = 1 << 30


def node(name: str = "n1", version: str = "3.6.0", plugins: Mapping[str, str] = BOTH) -> dict[str, Any]:
    listed = [{"name": plugin, "version": of} for plugin, of in plugins.items()]
    return {"name": name, "version": version, "roles": ["data"], "plugins": listed}


def cluster(**changes: Any) -> Vitals:
    plain: dict[str, Any] = {
        "commands": Commands(Address("h", 9200, "a"), Connection()),
        "server": ServerCapabilities((3, 6, 0), BOTH),
        "nodes": {"1": node()},
        "pipelines": frozenset(),
    }
    return Vitals(**{**plain, **changes})


def index(**changes: Any) -> IndexVitals:
    plain: dict[str, Any] = {
        "name": "a",
        "settings": {"index.knn": "true", "index.auto_expand_replicas": "0-1", "index.number_of_replicas": "0"},
        "mapping": {"_meta": {"hybrid_search": OURS}, "properties": {"vector": VECTOR}},
        "documents": 10,
        "vectors": 10,
        "towers": "f" * 64,
    }
    return IndexVitals(**{**plain, **changes})


def found(vitals: Vitals, **more: Any) -> list[tuple[str, str]]:
    return [(one.check, one.severity) for one in examine(vitals, **more)]


def only(vitals: Vitals, **more: Any) -> Finding:
    (finding,) = examine(vitals, **more)
    return finding


def disks(total: int, free: int, **marks: str) -> Vitals:
    disk = {"path": "/data", "total_in_bytes": total, "available_in_bytes": free}
    settings = {f"cluster.routing.allocation.disk.watermark.{name}": value for name, value in marks.items()}
    return cluster(stats={"1": {"name": "n1", "fs": {"data": [disk]}}}, settings={"defaults": settings})


def test_a_healthy_server_with_a_healthy_index_has_nothing() -> None:
    assert examine(cluster(indexes=[index()]), "a") == []


@pytest.mark.parametrize(
    ("free", "marks", "severity", "stage"),
    [
        (14, {"low": "85%", "high": "90%", "flood_stage": "95%"}, "warning", "low"),
        (9, {"low": "85%", "high": "90%", "flood_stage": "95%"}, "error", "high"),
        (5, {"low": "85%", "high": "90%", "flood_stage": "95%"}, "error", "flood_stage"),
        (14, {"low": "0.85", "high": "0.9", "flood_stage": "0.95"}, "warning", "low"),
        (14, {"low": "15gb", "high": "10gb", "flood_stage": "5gb"}, "warning", "low"),
        (1, {"low": "15gb", "high": "10gb", "flood_stage": "1500mb"}, "error", "flood_stage"),
    ],
)
def test_a_disk_past_a_mark_is_found_in_any_unit(free: int, marks: dict[str, str], severity: str, stage: str) -> None:
    finding = only(disks(100 * GB, free * GB, **marks))
    assert (finding.check, finding.severity, finding.subject) == ("disks", severity, "n1")
    assert f"past the mark {stage} ({marks[stage]})" in finding.fault
    assert "df -h /data" in finding.mend[0]


ADC = {"name": "binary", "parameters": {"bits": 1, "enable_adc": True}}
COMPRESSED = {"dimension": 2, "mode": "on_disk", "compression_level": "32x", "method": {"engine": "faiss"}}
ASYMMETRIC = {"dimension": 2, "method": {"engine": "faiss", "parameters": {"encoder": ADC}}}


def of_version(version: tuple[int, int, int], **vector: Any) -> Vitals:
    """A server of this version, as its mapping of such a field reads; nodes as in its answer."""
    shown = ".".join(map(str, version))
    plugins = dict.fromkeys(PLUGINS, f"{shown}.0")
    others = {"fine": {"type": "nested", "properties": {"v": VECTOR}}}
    mapping = {
        "_meta": {"hybrid_search": OURS},
        "properties": {"vector": {**VECTOR, **vector}, "embedding": {"type": "alias", "path": "vector"}, **others},
    }
    server = ServerCapabilities(version, plugins)
    return cluster(server=server, nodes={"1": node("n1", shown, plugins)}, indexes=[index(mapping=mapping)])


def about_vectors(vitals: Vitals) -> list[tuple[str, str]]:
    return [one for one in found(vitals) if one[0] in ("scores", "field_alias", "mode")]


@pytest.mark.parametrize(
    ("version", "vector", "findings"),
    [
        ((3, 6, 0), {}, [("field_alias", "warning")]),
        ((3, 8, 0), {}, [("field_alias", "warning")]),
        ((3, 9, 0), {}, []),
        ((3, 1, 0), ASYMMETRIC, [("field_alias", "warning")]),  # which can't be: 3.2 brought enable_adc
        ((3, 7, 0), ASYMMETRIC, [("scores", "warning"), ("field_alias", "warning")]),
        ((3, 8, 0), ASYMMETRIC, [("field_alias", "warning")]),
        ((3, 8, 0), COMPRESSED, [("field_alias", "warning")]),
        ((3, 9, 0), COMPRESSED, [("mode", "note")]),
        ((2, 19, 0), {**COMPRESSED, "dimension": 1_024}, [("scores", "warning"), ("field_alias", "warning")]),
        ((3, 1, 0), {**COMPRESSED, "dimension": 1_024}, [("field_alias", "warning")]),
    ],
)
def test_what_a_version_does_to_vectors_is_known_and_ends_with_the_version_that_mends_it(
    version: tuple[int, int, int], vector: dict[str, Any], findings: list[tuple[str, str]]
) -> None:
    assert about_vectors(of_version(version, **vector)) == findings


def test_wrong_scores_and_silent_aliases_are_named_with_the_way_around() -> None:
    wrong, silent = (
        one for one in examine(of_version((3, 7, 0), **ASYMMETRIC)) if one.check in ("scores", "field_alias")
    )
    assert "before 3.8 gives wrong k-NN scores for the field vector (enable_adc)" in wrong.fault
    assert wrong.mend[1] == "curl -X POST 'http://h:9200/a/_forcemerge?max_num_segments=1'"
    assert silent.fault.startswith("k-NN on the field alias embedding finds nothing, without an error")
    assert silent.mend == ("search the field vector itself, or upgrade to 3.9",)


def test_a_disk_with_room_or_that_nobody_watches_is_no_fault() -> None:
    marks = {"low": "85%", "high": "90%", "flood_stage": "95%"}
    assert examine(disks(100, 16, **marks)) == []
    watched = disks(100, 1, **marks)
    off = {"cluster.routing.allocation.disk.threshold_enabled": "false", **watched.settings["defaults"]}
    assert examine(cluster(stats=watched.stats, settings={"defaults": off})) == []


def test_a_plugin_that_one_node_lacks_is_named_with_the_node() -> None:
    vitals = cluster(
        server=ServerCapabilities((3, 6, 0), {"opensearch-knn": "3.6.0.0"}),
        nodes={"1": node(), "2": node("n2", plugins={"opensearch-knn": "3.6.0.0"})},
    )
    finding = only(vitals)
    assert finding.fault == "the plugin opensearch-neural-search is missing on n2: there is no hybrid search"
    assert finding.mend[0] == "bin/opensearch-plugin install org.opensearch.plugin:neural-search:3.6.0.0"


def test_nodes_and_plugins_of_different_versions_are_told_apart() -> None:
    older = {**BOTH, "opensearch-knn": "3.5.0.0"}
    vitals = cluster(nodes={"1": node(), "2": node("n2", version="3.5.0", plugins=older)})
    assert [one.fault for one in examine(vitals)] == [
        "OpenSearch has different versions: 3.5.0 on n2; 3.6.0 on n1",
        "opensearch-knn has different versions: 3.5.0.0 on n2; 3.6.0.0 on n1",
    ]


def test_the_knn_circuit_breaker_is_found_and_a_limit_that_somebody_set_is_taken_back() -> None:
    tripped = {"circuit_breaker_triggered": True, "nodes": {"1": {"graph_memory_usage_percentage": 98.4}}}
    finding = only(cluster(knn=tripped))
    assert "graphs take 98 % of 50%" in finding.fault
    assert '"knn.memory.circuit_breaker.limit":"60%"' in finding.mend[0]
    lowered = {"persistent": {"knn.memory.circuit_breaker.limit": "1kb"}}
    assert only(cluster(knn=tripped, settings=lowered)).mend == (
        "curl -X PUT http://h:9200/_cluster/settings -H 'content-type: application/json' "
        """-d '{"persistent":{"knn.memory.circuit_breaker.limit":null}}'""",
    )


def test_a_breaker_that_tripped_is_a_note_and_one_at_its_limit_an_error() -> None:
    def with_breaker(used: int, tripped: int) -> Vitals:
        breaker = {"limit_size_in_bytes": 100 << 20, "estimated_size_in_bytes": used << 20, "tripped": tripped}
        return cluster(stats={"1": {"name": "n1", "breakers": {"parent": breaker}}})

    assert examine(with_breaker(99, 0)) == []
    assert only(with_breaker(10, 1200)).fault == (
        "the circuit breaker parent has refused 1,200 requests since the node's start"
    )
    assert only(with_breaker(10, 1200)).severity == "note"
    full = only(with_breaker(100, 0))
    assert full.fault == "the circuit breaker parent is at 100% of 100 MB: requests are refused"
    assert full.severity == "error"


def test_a_red_index_says_why_and_what_to_do_first() -> None:
    vitals = cluster(
        health={"indices": {"a": {"status": "red", "number_of_replicas": 1}}},
        unassigned=[{"index": "a", "unassigned.reason": "NODE_LEFT"}] * 2,
        explanation={"index": "a", "allocate_explanation": "the node that held\n it left"},
    )
    finding = only(vitals)
    assert (
        finding.fault == "red: 2 shards are on no node (NODE_LEFT); documents are missing; the node that held it left"
    )
    assert finding.mend == (
        "start the node that held it; then:",
        "curl -X POST 'http://h:9200/_cluster/reroute?retry_failed=true'",
        "if its disk is lost: hybrid-search drop opensearch://h:9200/a, and load the data again",
    )


def test_a_yellow_index_is_mended_by_fewer_copies_only_where_there_are_too_few_nodes() -> None:
    def yellow(nodes: int) -> Vitals:
        return cluster(
            nodes={str(number): node(f"n{number}") for number in range(nodes)},
            health={"indices": {"a": {"status": "yellow", "number_of_replicas": 1}}},
            unassigned=[{"index": "a", "unassigned.reason": "ALLOCATION_FAILED"}],
        )

    assert '{"index.auto_expand_replicas":"0-1"}' in only(yellow(1)).mend[0]
    assert "_cluster/reroute?retry_failed=true" in only(yellow(2)).mend[0]


def test_of_many_indexes_that_are_yellow_some_are_shown() -> None:
    health = {"indices": {f"i{number}": {"status": "yellow", "number_of_replicas": 0} for number in range(7)}}
    findings = examine(cluster(health=health))
    assert [one.subject for one in findings] == ["i0", "i1", "i2", "i3", "i4", "server"]
    assert findings[-1].fault == "2 more indexes are yellow"


@pytest.mark.parametrize(("version", "severity"), [((3, 0, 0), "error"), ((2, 19, 0), "warning")])
def test_an_index_on_nmslib_is_to_be_indexed_again(version: tuple[int, int, int], severity: str) -> None:
    old = {**VECTOR, "method": {"engine": "nmslib"}}
    mapping = {"_meta": {"hybrid_search": OURS}, "properties": {"vector": old}}
    finding = only(cluster(server=ServerCapabilities(version, BOTH), indexes=[index(mapping=mapping)]))
    assert (finding.check, finding.severity) == ("vector_engine", severity)
    assert finding.mend == (f"hybrid-search reindex --model MODEL --from {LOCATION} --to {LOCATION}-2",)


def test_an_index_that_does_no_knn_can_not_be_searched() -> None:
    finding = only(cluster(indexes=[index(settings={"index.auto_expand_replicas": "0-1"})]))
    assert finding.fault == "index.knn is not set, so the vectors in vector can't be searched"


def test_an_index_of_a_newer_format_is_not_ours_to_read() -> None:
    mapping = {"_meta": {"hybrid_search": {**OURS, "format_version": 9}}, "properties": {"vector": VECTOR}}
    assert "it has format 9, this version reads 1" in only(cluster(indexes=[index(mapping=mapping)])).fault


def test_few_documents_without_a_vector_are_no_fault() -> None:
    assert only(cluster(indexes=[index(documents=100, vectors=95)])).severity == "note"
    finding = only(cluster(indexes=[index(documents=100, vectors=94)]))
    assert (finding.severity, finding.fault) == (
        "warning",
        "6 of 100 documents have no vector: only BM25 finds them",
    )


def test_one_copy_where_there_are_more_nodes_is_a_risk() -> None:
    alone = index(settings={"index.knn": "true", "index.number_of_replicas": "0"})
    finding = only(cluster(nodes={"1": node(), "2": node("n2")}, indexes=[alone]))
    assert finding.fault == "it has no replicas: a lost node takes documents with it"


def test_towers_of_another_model_that_are_stored_for_an_index_are_an_error() -> None:
    finding = only(cluster(indexes=[index(towers="e" * 64)]))
    assert (finding.check, finding.severity) == ("towers", "error")
    assert finding.fault == "its vectors are of ffffffffffff, the towers stored for it are eeeeeeeeeeee"
    assert only(cluster(indexes=[index(towers="")])).severity == "warning"


def test_a_model_that_did_not_make_the_vectors_is_refused() -> None:
    vitals = cluster(indexes=[index()])
    assert examine(vitals, "a", ModelFacts("./m", "f" * 64, 2)) == []
    other = only(vitals, model=ModelFacts("./m", "e" * 64, 2))
    assert other.fault == "its vectors are of ffffffffffff, ./m is eeeeeeeeeeee"
    assert other.mend == (f"hybrid-search reindex --model ./m --from {LOCATION} --to {LOCATION}-2",)
    assert only(vitals, model=ModelFacts("./m", "f" * 64, 3)).fault == "its vectors have 2 numbers, those of ./m have 3"


def test_an_index_behind_an_alias_is_indexed_again_behind_it() -> None:
    vitals = cluster(indexes=[index(name="a-000001", aliases={"a": {}})])
    finding = only(vitals, name="a", model=ModelFacts("./my model", "f" * 64, 3))
    assert finding.mend == ("hybrid-search reindex --model './my model' --alias a --to opensearch://h:9200",)


def test_an_index_that_never_went_live_is_noted() -> None:
    mark = {"alias": "a", "state": "failed"}
    mapping = {"_meta": {"hybrid_search": OURS, "alias": mark}, "properties": {"vector": VECTOR}}
    finding = only(cluster(indexes=[index(name="a-000002", mapping=mapping)]))
    assert (finding.check, finding.severity) == ("standing", "note")
    assert finding.mend == ("give the same load again, or: hybrid-search drop opensearch://h:9200/a-000002",)
    live = index(name="a-000002", mapping=mapping, aliases={"a": {}})
    assert examine(cluster(indexes=[live])) == []


def test_what_was_not_told_is_noted_and_claims_no_fault() -> None:
    vitals = cluster(
        server=ServerCapabilities((3, 6, 0), {}, plugins_known=False),
        pipelines=None,
        unanswered=[("/_search/pipeline", "not allowed")],
        indexes=[index(settings={**index().settings, "index.search.default_pipeline": "p"}, towers=None)],
    )
    finding = only(vitals, name="a")
    assert (finding.check, finding.severity) == ("unanswered", "note")
    assert "/_search/pipeline (not allowed), its plugins (not allowed)" in finding.fault


def test_errors_come_first_and_are_counted() -> None:
    held = {"index.knn": "true", "index.blocks.write": "true", "index.refresh_interval": "-1"}
    findings = examine(cluster(indexes=[index(settings=held, documents=100, vectors=99)]))
    assert [one.severity for one in findings] == ["error", "warning", "note"]
    diagnosis = Diagnosis("h", "3.6.0", ["a"], [], findings)
    assert (diagnosis.errors, diagnosis.warnings) == (1, 1)


def deployed(endpoint: str = "") -> dict[str, Any]:
    record = {"index": "a", "family": "a", "fingerprint": "f" * 64, "state": "ready", "endpoint": endpoint}
    return {"_meta": {"hybrid_search": OURS, "deployment": record}, "properties": {"vector": VECTOR}}


@pytest.mark.parametrize(
    ("endpoint", "fault", "mend"),
    [
        ("", "its towers in the cluster do not encode", ("hybrid-search deploy --to opensearch://h:9200/a",)),
        (
            "http://t:8080",
            "its towers at http://t:8080 do not encode",
            (
                "hybrid-search serve-towers MODEL --host t --port 8080",
                "hybrid-search deploy --to opensearch://h:9200/a --connector http://t:8080",
            ),
        ),
        (
            "http://t:8000/towers/ffffffffffff",
            "its towers at http://t:8000/towers/ffffffffffff do not encode",
            (
                "hybrid-search serve LOCATION --host t --port 8000",
                "hybrid-search deploy --to opensearch://h:9200/a --connector http://t:8000/towers/ffffffffffff",
            ),
        ),
        (
            "https://t/towers",
            "its towers at https://t/towers do not encode",
            (
                "hybrid-search serve-towers MODEL",
                "hybrid-search deploy --to opensearch://h:9200/a --connector https://t/towers",
            ),
        ),
    ],
)
def test_towers_that_do_not_encode_are_an_error_with_the_command_that_serves_them(
    endpoint: str, fault: str, mend: tuple[str, ...]
) -> None:
    finding = only(cluster(indexes=[index(mapping=deployed(endpoint), silence="refused")]))
    assert (finding.check, finding.severity, finding.mend) == ("deployment", "error", mend)
    assert finding.fault == f"{fault}, so searches by text fail: refused"
    assert found(cluster(indexes=[index(mapping=deployed(endpoint))])) == []
