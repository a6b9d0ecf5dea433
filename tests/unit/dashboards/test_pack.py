"""The pack holds what Dashboards reads, and what Dashboards would drop without a word is found before."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pack_check import check_pack, vega_sources

from hybrid_search import mappings
from hybrid_search.dashboards.objects import Typed, ndjson
from hybrid_search.dashboards.pack import build_pack
from hybrid_search.dashboards.panels import Shown
from hybrid_search.engines.opensearch.index.side_index import COMPANIONS

FIELDS = {
    "metadata.kind": "keyword", "metadata.year": "long", "metadata.done": "boolean", "metadata.weight": "double",
    "metadata.day": "date",
}  # fmt: skip
SHOWN = Shown("passages", FIELDS)


@pytest.fixture
def lines() -> bytes:
    return ndjson(build_pack(SHOWN))


def changed(lines: bytes, id: str, change: Any) -> bytes:
    """Change an object, its strings of JSON given and taken as JSON."""
    objects = [json.loads(line) for line in lines.splitlines()]
    for one in objects:
        if one["id"] == id:
            change(one)
    return b"\n".join(json.dumps(one).encode() for one in objects)


def test_there_is_one_dashboard_with_searches_visualisations_and_an_index_pattern_for_each_index(lines: bytes) -> None:
    counted: dict[str, int] = {}
    for one in check_pack(lines):
        counted[one["type"]] = counted.get(one["type"], 0) + 1
    assert counted == {"index-pattern": 4, "search": 5, "visualization": 18, "dashboard": 1}


def test_ids_are_readable_and_the_same_each_time(lines: bytes) -> None:
    assert ndjson(build_pack(SHOWN)) == lines
    ids = [json.loads(line)["id"] for line in lines.splitlines()]
    assert all(id.startswith("hybrid-search-passages-") for id in ids)
    assert {"hybrid-search-passages-dashboard", "hybrid-search-passages-latency"} <= set(ids)


def test_packs_of_two_indexes_share_no_id(lines: bytes) -> None:
    others = {json.loads(line)["id"] for line in ndjson(build_pack(Shown("docs", FIELDS))).splitlines()}
    assert not others & {json.loads(line)["id"] for line in lines.splitlines()}


def test_what_is_referred_to_stands_before_what_refers_to_it(lines: bytes) -> None:
    seen: set[tuple[str, str]] = set()
    for one in map(json.loads, lines.splitlines()):
        assert {(reference["type"], reference["id"]) for reference in one["references"]} <= seen
        seen.add((one["type"], one["id"]))


def test_each_search_of_a_panel_names_the_index_or_one_beside_it(lines: bytes) -> None:
    indexes = {url["index"] for one in check_pack(lines) for url in vega_sources(one["attributes"])}
    assert indexes == {"passages"} | {f"passages-{kind}" for kind in COMPANIONS}


def test_fields_that_panels_ask_for_are_in_the_mappings(lines: bytes) -> None:
    for one in check_pack(lines):
        for url in vega_sources(one["attributes"]):
            if url["index"] == "passages":
                assert set(asked_fields(url["body"])) <= FIELDS.keys()
                continue
            mapping = mappings.render(f"index/{url['index'].removeprefix('passages-')}")["mappings"]["properties"]
            assert set(asked_fields(url["body"])) <= mapping.keys(), one["id"]


def asked_fields(part: Any) -> list[str]:
    found: list[str] = []
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "field":
                found.append(value)
            elif (key in ("term", "terms", "range") and "field" not in value) or key == "_source":
                found += value
            else:
                found += asked_fields(value)
    elif isinstance(part, list):
        found += [field for one in part for field in asked_fields(one)]
    return found


def test_names_of_metadata_reach_the_panels_as_they_are_stored() -> None:
    pack = check_pack(ndjson(build_pack(Shown("passages", {"metadata.a%2Eb": "keyword"}))))
    [panel] = [one for one in pack if one["id"] == "hybrid-search-passages-field-a%2Eb"]
    [url] = vega_sources(panel["attributes"])
    assert url["body"]["aggs"]["values"]["terms"]["field"] == "metadata.a%2Eb"


TYPED = Typed("tower-id", 3, 50, {name: {"phase_results_processors": []} for name in ("bm25", "hybrid", "knn")})


def test_towers_in_the_cluster_bring_a_panel_for_typed_queries_on_a_dashboard_of_its_own(lines: bytes) -> None:
    pack = check_pack(ndjson(build_pack(Shown("passages", FIELDS, TYPED))))
    assert [one["id"] for one in pack[-2:]] == ["hybrid-search-passages-typed", "hybrid-search-passages-try"]
    assert pack[:-2] == check_pack(lines)
    urls = list(vega_sources(pack[-2]["attributes"]))
    assert len(urls) == 3
    for url in urls:
        [lexical, dense] = url["body"]["query"]["hybrid"]["queries"]
        assert lexical["bool"]["must"] == ["%dashboard_context-must_clause%"]
        assert (len(dense["knn"]["vector"]["vector"]), dense["knn"]["vector"]["k"]) == (3, 50)
        [processor] = url["body"]["search_pipeline"]["request_processors"]
        assert processor["ml_inference"]["model_id"] == "tower-id"


def specification(lines: bytes, part: str) -> Any:
    [one] = [one for one in check_pack(lines) if one["id"] == f"hybrid-search-passages-{part}"]
    return one["attributes"]["visState"]["params"]["spec"]


def test_a_panel_with_a_text_box_sizes_itself_so_that_the_box_is_not_under_the_title(lines: bytes) -> None:
    spec = specification(lines, "rankings")
    assert spec["autosize"] == {"type": "none"}
    width, height = spec["signals"][:2]
    assert (width["name"], width["update"]) == ("width", "containerSize()[0] - 10")
    assert (height["name"], height["update"]) == ("height", "containerSize()[1] - 16")
    assert [each["events"] for one in (width, height) for each in one["on"]] == ["window:resize"] * 2
    [box] = [one["bind"] for one in spec["signals"] if "bind" in one]
    assert len(box["name"]) <= 12  # of 104 pixels


def test_counts_have_whole_numbers_on_their_axes(lines: bytes) -> None:
    for part in ("agreement", "outcomes", "lengths", "norms", "vocabulary", "field-kind", "field-year"):
        encoding = specification(lines, part)["encoding"]
        axes = [encoding[axis].get("axis") or {} for axis in ("x", "y")]
        [counted] = [axis for axis in axes if "tickCount" in axis]
        assert (counted["format"], "tickMinStep" in counted) == (",d", False), part  # Vega-Lite drops a least step


def test_an_index_pattern_lists_each_field_of_its_index_as_dashboards_would_read_it(lines: bytes) -> None:
    patterns = {
        one["attributes"]["title"]: one["attributes"] for one in check_pack(lines) if one["type"] == "index-pattern"
    }
    of_documents = {field["name"]: field for field in patterns["passages"]["fields"]}
    assert of_documents.keys() == {
        "_id", "_index", "_score", "_source", "id", "added", "title", "text", "searchable", "vector", *FIELDS,
    }  # fmt: skip
    assert of_documents["metadata.year"] == {
        "name": "metadata.year", "type": "number", "esTypes": ["long"], "count": 0, "scripted": False,
        "searchable": True, "aggregatable": True, "readFromDocValues": True,
    }  # fmt: skip
    assert (of_documents["text"]["searchable"], of_documents["text"]["aggregatable"]) == (False, False)
    assert (of_documents["vector"]["type"], of_documents["vector"]["aggregatable"]) == ("unknown", False)
    for kind in COMPANIONS:
        mapping = mappings.render(f"index/{kind}")["mappings"]["properties"]
        assert {field["name"] for field in patterns[f"passages-{kind}"]["fields"]} >= mapping.keys()


def test_discover_leaves_vectors_and_nanoseconds_out_of_its_rows(lines: bytes) -> None:
    [pattern] = [one for one in check_pack(lines) if one["id"] == "hybrid-search-passages-documents"]
    assert json.loads(pattern["attributes"]["sourceFilters"]) == [{"value": "vector"}, {"value": "added"}]


def test_a_field_of_unique_values_gets_no_panel_but_stays_a_column() -> None:
    shown = Shown("passages", {"metadata.kind": "keyword", "metadata.url": "keyword"}, unique={"metadata.url"})
    parts = {one.id: one for one in build_pack(shown)}
    assert "hybrid-search-passages-field-kind" in parts
    assert "hybrid-search-passages-field-url" not in parts
    assert "metadata.url" in parts["hybrid-search-passages-texts"].attributes["columns"]


def test_a_panel_without_data_says_what_brings_some(lines: bytes) -> None:
    told = lines.decode()
    for what in ("query ... --log-queries", "evaluate ... --store", "dashboards measure"):
        assert f"Nothing here yet: hybrid-search {what}" in told


def test_without_metadata_there_are_no_panels_of_it() -> None:
    assert not [one for one in check_pack(ndjson(build_pack(Shown("texts", {})))) if "field-" in one["id"]]


def test_no_panel_overlaps_another(lines: bytes) -> None:
    def move(one: dict[str, Any]) -> None:
        panels = json.loads(one["attributes"]["panelsJSON"])
        panels[1]["gridData"]["x"] = 0
        one["attributes"]["panelsJSON"] = json.dumps(panels)

    with pytest.raises(AssertionError, match=r"dashboard:hybrid-search-passages-dashboard: .*panels do not overlap"):
        check_pack(changed(lines, "hybrid-search-passages-dashboard", move))


def test_a_reference_out_of_the_file_is_found(lines: bytes) -> None:
    without = b"\n".join(
        line for line in lines.splitlines() if b'"id":"hybrid-search-passages-latency"' not in line[:80]
    )
    with pytest.raises(
        AssertionError, match="refers to visualization:hybrid-search-passages-latency, which is not in the"
    ):
        check_pack(without)


def test_an_id_that_stands_there_twice_is_found(lines: bytes) -> None:
    with pytest.raises(AssertionError, match="stands there twice"):
        check_pack(lines + lines.splitlines()[0])


def test_a_string_that_should_be_json_is_parsed(lines: bytes) -> None:
    def spoil(one: dict[str, Any]) -> None:
        one["attributes"]["visState"] = one["attributes"]["visState"][:-2]

    with pytest.raises(AssertionError, match=r"visualization:hybrid-search-passages-count: visState"):
        check_pack(changed(lines, "hybrid-search-passages-count", spoil))


def test_a_panel_that_asks_in_context_and_with_a_query_is_found(lines: bytes) -> None:
    def spoil(one: dict[str, Any]) -> None:
        state = json.loads(one["attributes"]["visState"])
        spec = json.loads(state["params"]["spec"])
        spec["data"]["url"]["body"]["query"] = {"match_all": {}}
        state["params"]["spec"] = json.dumps(spec)
        one["attributes"]["visState"] = json.dumps(state)

    with pytest.raises(AssertionError, match="either the dashboard's context or a query"):
        check_pack(changed(lines, "hybrid-search-passages-latency", spoil))


def test_a_search_without_its_index_pattern_is_found(lines: bytes) -> None:
    with pytest.raises(AssertionError, match="indexRefName names a reference"):
        check_pack(changed(lines, "hybrid-search-passages-texts", lambda one: one["references"].clear()))


# Dashboards refuses these in expressions: they lead from a chart to the page that it is in.
REFUSED = ("window", "document", "parent", "top", "self", "constructor", "ownerDocument", "prototype")


def test_expressions_use_no_word_that_dashboards_refuses(lines: bytes) -> None:
    words = {
        word
        for one in check_pack(lines)
        for text in expressions(one["attributes"])
        for word in re.findall(r"\w+", text)
    }
    assert "datum" in words
    assert not words & set(REFUSED)


def expressions(part: Any) -> list[str]:
    if isinstance(part, list):
        return [text for one in part for text in expressions(one)]
    if not isinstance(part, dict):
        return []
    names = ("expr", "update", "test", "calculate", "filter", "signal")
    own = [value for key, value in part.items() if key in names and isinstance(value, str)]
    # What stands in quotes is text.
    return [re.sub(r"'[^']*'", "", text) for text in own] + [text for one in part.values() for text in expressions(one)]
