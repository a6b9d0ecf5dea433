"""The checks of a cluster: pure functions of the fetched state, each for one kind of fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hybrid_search.doctor.vitals import Check, Finding, Vitals
from hybrid_search.engines.opensearch.index import KNN, NEURAL

__all__ = ["CLUSTER_CHECKS"]

_MARK = "cluster.routing.allocation.disk.watermark."
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_STAGES = (
    ("flood_stage", "error", "its indexes are made read-only"),
    ("high", "error", "shards are moved away from it"),
    ("low", "warning", "no new shards are put on it"),
)
_SHOWN = 5


def unanswered(vitals: Vitals) -> Iterator[Finding]:
    """Requests were refused, mostly because the user lacks rights."""
    untold = list(vitals.unanswered)
    if not vitals.server.plugins_known:
        untold.append(("its plugins", "not allowed"))
    if untold:
        requests = ", ".join(f"{what} ({why})" for what, why in untold[:_SHOWN])
        again = f"hybrid-search --user admin doctor --from {vitals.commands.address}"
        fault = f"the server did not tell {requests}: what hangs on that was not checked"
        yield Finding("unanswered", "note", "server", fault, (again,))


def plugins(vitals: Vitals) -> Iterator[Finding]:
    """A plugin that vector search needs is missing, on all nodes or on some."""
    if not vitals.server.plugins_known:
        return
    for plugin, without in ((KNN, "no vectors can be indexed or searched"), (NEURAL, "there is no hybrid search")):
        missing = [name for name, installed in _plugins_of(vitals).items() if plugin not in installed]
        if not missing and vitals.server.has_plugin(plugin):
            continue
        where = f"on {_some(missing)}" if missing else "on every node"
        version = f"{vitals.server.shown_version}.0"
        yield Finding(
            "plugins",
            "error",
            "server",
            f"the plugin {plugin} is missing {where}: {without}",
            (
                f"bin/opensearch-plugin install org.opensearch.plugin:{_artifact(plugin)}:{version}",
                "restart the node (on each node; the official distribution has both plugins)",
            ),
        )


def _artifact(plugin: str) -> str:
    return "neural-search" if plugin == NEURAL else plugin


def versions(vitals: Vitals) -> Iterator[Finding]:
    """Nodes of different versions, or with different versions of a plugin."""
    by_version: dict[str, list[str]] = {}
    for node in vitals.nodes.values():
        by_version.setdefault(str(node["version"]), []).append(node["name"])
    if len(by_version) > 1:
        yield _differing("nodes", "OpenSearch", by_version)
    names = sorted({plugin for installed in _plugins_of(vitals).values() for plugin in installed})
    for plugin in names:
        of_plugin: dict[str, list[str]] = {}
        for node_name, installed in _plugins_of(vitals).items():
            if plugin in installed:
                of_plugin.setdefault(installed[plugin], []).append(node_name)
        if len(of_plugin) > 1:
            yield _differing("plugins", plugin, of_plugin)


def _differing(what: str, name: str, by_version: dict[str, list[str]]) -> Finding:
    where = "; ".join(f"{version} on {_some(nodes)}" for version, nodes in sorted(by_version.items()))
    return Finding(
        "versions",
        "warning",
        what,
        f"{name} has different versions: {where}",
        ("finish the upgrade: install the newest of them on the other nodes, one after the other",),
    )


def allocation(vitals: Vitals) -> Iterator[Finding]:
    """Shard allocation is switched off, as is usual during a restart."""
    name = "cluster.routing.allocation.enable"
    if (value := vitals.setting(name, "all")) != "all":
        yield Finding(
            "allocation",
            "error",
            "server",
            f"{name} is {value!r}: shards are not placed",
            (_take_back(vitals, name),),
        )


def disks(vitals: Vitals) -> Iterator[Finding]:
    """A node's disk has passed a watermark."""
    if vitals.setting("cluster.routing.allocation.disk.threshold_enabled", "true") != "true":
        return
    for node in vitals.stats.values():
        for disk in node.get("fs", {}).get("data", ()):
            total, free = int(disk["total_in_bytes"]), int(disk["available_in_bytes"])
            for stage, severity, effect in _STAGES:
                mark = vitals.setting(f"{_MARK}{stage}")
                if total and mark and _is_past(mark, total, free):
                    yield _full(vitals, node["name"], disk, stage, mark, severity, effect)
                    break


def _full(vitals: Vitals, node: str, disk: Any, stage: str, mark: str, severity: Any, effect: str) -> Finding:
    used = 1 - int(disk["available_in_bytes"]) / int(disk["total_in_bytes"])
    commands = [f"free space there: df -h {disk['path']}; hybrid-search indexes and hybrid-search drop help"]
    if taken_back := vitals.set_levels(*(f"{_MARK}{name}" for name, _, _ in _STAGES)):
        commands = [vitals.commands.curl("PUT", "/_cluster/settings", taken_back)]
    return Finding(
        "disks",
        severity,
        node,
        f"the disk is {used:.0%} full, past the mark {stage} ({mark}): {effect}",
        tuple(commands),
    )


def _is_past(mark: str, total: int, free: int) -> bool:
    """Return whether a watermark is passed: ``85%`` or ``0.85`` used, or ``10gb`` free."""
    text = mark.strip().lower()
    if text.endswith("%"):
        return (total - free) / total * 100 >= float(text[:-1])
    if text.replace(".", "", 1).isdigit():
        return (total - free) / total >= float(text)
    number = text.rstrip("bkmgtp")
    unit = text[len(number) :][:1] or "b"
    return free <= float(number) * _UNITS[unit]


def blocks(vitals: Vitals) -> Iterator[Finding]:
    """The whole cluster is read-only."""
    for name in ("cluster.blocks.read_only", "cluster.blocks.read_only_allow_delete"):
        if vitals.setting(name, "false") == "true":
            yield Finding(
                "blocks", "error", "server", f"{name} is set: nothing can be written", (_take_back(vitals, name),)
            )


def breakers(vitals: Vitals) -> Iterator[Finding]:
    """A circuit breaker refuses requests because memory is short, or has done so."""
    for node in vitals.stats.values():
        for name, breaker in node.get("breakers", {}).items():
            limit, used = int(breaker["limit_size_in_bytes"]), int(breaker["estimated_size_in_bytes"])
            if 0 < limit <= used:
                yield _tight(vitals, node["name"], name, used, limit)
            elif breaker["tripped"]:
                yield Finding(
                    "breakers",
                    "note",
                    node["name"],
                    f"the circuit breaker {name} has refused {breaker['tripped']:,} requests since the node's start",
                    ("if it goes on: send smaller batches, or give the node more heap (-Xmx in config/jvm.options)",),
                )


def _tight(vitals: Vitals, node: str, name: str, used: int, limit: int) -> Finding:
    setting = f"indices.breaker.{'total' if name == 'parent' else name}.limit"
    if taken_back := vitals.set_levels(setting):
        mend = vitals.commands.curl("PUT", "/_cluster/settings", taken_back)
    else:
        mend = "give the node more heap (-Xmx in config/jvm.options) and restart it, or send it less at a time"
    return Finding(
        "breakers",
        "error",
        node,
        f"the circuit breaker {name} is at {used / limit:.0%} of {limit / (1 << 20):,.0f} MB: requests are refused",
        (mend,),
    )


def knn_memory(vitals: Vitals) -> Iterator[Finding]:
    """The k-NN plugin's memory for graphs is full."""
    limit = "knn.memory.circuit_breaker.limit"
    if vitals.knn.get("circuit_breaker_triggered"):
        share = max((float(n.get("graph_memory_usage_percentage", 0)) for n in vitals.knn["nodes"].values()), default=0)
        raised = {"persistent": {limit: "60%"}}
        mends = (_take_back(vitals, limit),) if vitals.set_levels(limit) else ()
        yield Finding(
            "knn_memory",
            "error",
            "server",
            f"the k-NN circuit breaker has tripped: graphs take {share:.0f} % of {vitals.setting(limit, '50%')} of the "
            f"memory beside the heap, and are loaded anew for each search",
            mends
            or (
                vitals.commands.curl("PUT", "/_cluster/settings", raised),
                "or quantise: load again with a smaller vector type, or add a node",
            ),
        )


def health(vitals: Vitals) -> Iterator[Finding]:
    """Shards are on no node."""
    closed = {index.name for index in vitals.indexes if index.status == "closed"}
    indexes = {name: index for name, index in vitals.health.get("indices", {}).items() if name not in closed}
    for colour in ("red", "yellow"):
        names = sorted(name for name, index in indexes.items() if index["status"] == colour)
        for name in names[:_SHOWN]:
            yield _unplaced(vitals, name, colour)
        if (more := len(names) - _SHOWN) > 0:
            yield Finding("health", "note", "server", f"{more} more indexes are {colour}", ())


def _unplaced(vitals: Vitals, name: str, colour: str) -> Finding:
    rows = [row for row in vitals.unassigned if row["index"] == name]
    reasons = sorted({str(row.get("unassigned.reason") or "unknown") for row in rows})
    state = f"{len(rows)} shards are on no node ({', '.join(reasons)})" if rows else "shards are starting"
    if colour == "red":
        mend = _replace_lost(vitals, name)
        return Finding("health", "error", name, f"red: {state}; documents are missing{_why(vitals, name)}", mend)
    copies = int(vitals.health["indices"][name].get("number_of_replicas", 0))
    if vitals.data_nodes and copies >= vitals.data_nodes:
        why = f"; {copies} copies beside the first want {copies + 1} nodes, there are {vitals.data_nodes}"
        mend = (vitals.commands.curl("PUT", f"/{name}/_settings", {"index.auto_expand_replicas": f"0-{copies}"}),)
    else:
        why, mend = _why(vitals, name), _place_again(vitals, name)
    return Finding("health", "warning", name, f"yellow: {state}{why}", mend)


def _replace_lost(vitals: Vitals, name: str) -> tuple[str, ...]:
    if _bound_to(vitals, name):
        return _place_again(vitals, name)
    lost = f"if its disk is lost: hybrid-search drop {vitals.commands.location(name)}, and load the data again"
    return ("start the node that held it; then:", *_place_again(vitals, name), lost)


def _place_again(vitals: Vitals, name: str) -> tuple[str, ...]:
    if bound := _bound_to(vitals, name):
        return (vitals.commands.curl("PUT", f"/{name}/_settings", dict.fromkeys(bound)),)
    return (vitals.commands.curl("POST", "/_cluster/reroute?retry_failed=true"),)


def _bound_to(vitals: Vitals, name: str) -> list[str]:
    """Return the settings that restrict the index to some nodes."""
    settings = next((index.settings for index in vitals.indexes if index.name == name), {})
    return [key for key in settings if re.match(r"index\.routing\.allocation\.(require|include|exclude)\.", key)]


def _why(vitals: Vitals, name: str) -> str:
    explained = vitals.explanation
    if explained.get("index") != name:
        return ""
    reason = explained.get("allocate_explanation") or explained.get("unassigned_info", {}).get("details") or ""
    for node in explained.get("node_allocation_decisions", ())[:1]:
        reason = "; ".join(decider["explanation"] for decider in node.get("deciders", ())[:2]) or reason
    return f"; {' '.join(str(reason).split())[:240]}" if reason else ""


def _plugins_of(vitals: Vitals) -> dict[str, dict[str, str]]:
    return {
        node["name"]: {plugin["name"]: plugin["version"] for plugin in node.get("plugins", ())}
        for node in vitals.nodes.values()
    }


def _take_back(vitals: Vitals, name: str) -> str:
    body = vitals.set_levels(name) or {"persistent": {name: None}}
    return vitals.commands.curl("PUT", "/_cluster/settings", body)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


CLUSTER_CHECKS: tuple[Check, ...] = (
    unanswered, plugins, versions, health, allocation, disks, blocks, breakers, knn_memory,
)  # fmt: skip
