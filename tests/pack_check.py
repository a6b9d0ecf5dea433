"""Checks a pack of saved objects: what Dashboards would drop, or fail on, without saying so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

__all__ = ["check_pack", "parsed", "vega_sources"]

_SEARCH_SOURCE = ("kibanaSavedObjectMeta", "searchSourceJSON")
_STRINGS_OF_JSON: Mapping[str, Sequence[tuple[str, ...]]] = {
    "index-pattern": (("fields",),),
    "search": (_SEARCH_SOURCE,),
    "visualization": (("visState",), ("uiStateJSON",), _SEARCH_SOURCE),
    "dashboard": (("panelsJSON",), ("optionsJSON",), _SEARCH_SOURCE),
}
_SCHEMAS = ("https://vega.github.io/schema/vega-lite/v5.json", "https://vega.github.io/schema/vega/v5.json")
_COLUMNS = 48

Object = Mapping[str, Any]


def check_pack(lines: bytes) -> list[dict[str, Any]]:
    """Check a file of saved objects, one a line.

    :return: the objects, with their strings of JSON parsed.
    :raises AssertionError: naming the object: two share an id, one is not of the shape that Dashboards reads, or one
        refers to an object that is not in the file.
    """
    objects = [msgspec.json.decode(line) for line in lines.splitlines()]
    names = [(one["type"], one["id"]) for one in objects]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise AssertionError(f"saved objects: {doubled} stands there twice; ids must be unique")
    checked = []
    for one in objects:
        name = f"saved object {one['type']}:{one['id']}"
        for reference in one["references"]:
            if (reference["type"], reference["id"]) not in names:
                raise AssertionError(
                    f"{name}: refers to {reference['type']}:{reference['id']}, which is not in the file"
                )
        whole = parsed(one)
        _CHECKS[one["type"]](whole, name)
        checked.append(whole)
    return checked


def parsed(one: Object) -> dict[str, Any]:
    """Return an object with its strings of JSON parsed, a Vega specification too.

    :raises AssertionError: if one of them is no JSON.
    """
    whole: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(one))
    for path in _STRINGS_OF_JSON[one["type"]]:
        *parents, last = path
        part = whole["attributes"]
        try:
            for parent in parents:
                part = part[parent]
            part[last] = msgspec.json.decode(part[last])
            if last == "visState" and part[last].get("type") == "vega":
                part[last]["params"]["spec"] = msgspec.json.decode(part[last]["params"]["spec"])
        except (KeyError, TypeError, msgspec.MsgspecError) as error:
            raise AssertionError(f"saved object {one['type']}:{one['id']}: {'.'.join(path)}: {error}") from error
    return whole


def vega_sources(specification: Any) -> Iterator[dict[str, Any]]:
    """Iterate over the ``url`` objects of a specification: the searches that Dashboards sends for it."""
    if isinstance(specification, dict):
        if isinstance(url := specification.get("url"), dict):
            yield url
        for part in specification.values():
            yield from vega_sources(part)
    elif isinstance(specification, list):
        for part in specification:
            yield from vega_sources(part)


def _check_pattern(one: Object, name: str) -> None:
    _require(bool(one["attributes"].get("title")), name, "an index pattern has the index's name as its title")
    fields = one["attributes"].get("fields", [])
    names = [field["name"] for field in fields]
    _require(bool(names) and len(set(names)) == len(names), name, "an index pattern lists its fields, each once")


def _check_search(one: Object, name: str) -> None:
    attributes = one["attributes"]
    _check_source(one, name, indexed=True)
    _require(bool(attributes["columns"]), name, "a search has columns")
    _require(all(len(pair) == 2 for pair in attributes["sort"]), name, "sort has pairs of field and direction")


def _check_visualisation(one: Object, name: str) -> None:
    state = one["attributes"]["visState"]
    _require(state["title"] == one["attributes"]["title"], name, "both titles are the same")
    _require(isinstance(state.get("params"), dict) and isinstance(state.get("aggs"), list), name, "params and aggs")
    _check_source(one, name, indexed=bool(state["aggs"]))
    if state["type"] != "vega":
        ids = [aggregation["id"] for aggregation in state["aggs"]]
        _require(len(set(ids)) == len(ids), name, "ids of aggregations are unique")
        return
    spec = state["params"]["spec"]
    _require(spec.get("$schema") in _SCHEMAS, name, "a schema that Dashboards has")
    sources = list(vega_sources(spec))
    _require(bool(sources), name, "a specification asks for data")
    for url in sources:
        _require(bool(url.get("index")) and isinstance(url.get("body"), dict), name, "data has an index and a body")
        in_context = "%context%" in url or "%timefield%" in url
        _require(not (in_context and "query" in url["body"]), name, "either the dashboard's context or a query")


def _check_dashboard(one: Object, name: str) -> None:
    _check_source(one, name, indexed=False)
    panels, references = one["attributes"]["panelsJSON"], {each["name"] for each in one["references"]}
    _require({panel["panelRefName"] for panel in panels} == references, name, "each panel has its reference")
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridData"]
        _require(grid["i"] == panel["panelIndex"], name, "panelIndex and gridData.i agree")
        _require(grid["x"] >= 0 and grid["x"] + grid["w"] <= _COLUMNS, name, f"panels fit {_COLUMNS} columns")
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        _require(not cells & taken, name, "panels do not overlap")
        taken |= cells


def _check_source(one: Object, name: str, *, indexed: bool) -> None:
    source = one["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"]
    _require({"query", "language"} == source["query"].keys(), name, "searchSourceJSON has a query and its language")
    wanted = source.get("indexRefName")
    found = {reference["name"] for reference in one["references"] if reference["type"] == "index-pattern"}
    _require((wanted in found) if indexed else wanted is None, name, "indexRefName names a reference, if there is one")


def _require(holds: bool, name: str, what: str) -> None:
    if not holds:
        raise AssertionError(f"{name}: not of the shape that Dashboards reads: {what}")


_CHECKS: Mapping[str, Callable[[Object, str], None]] = {
    "index-pattern": _check_pattern,
    "search": _check_search,
    "visualization": _check_visualisation,
    "dashboard": _check_dashboard,
}
