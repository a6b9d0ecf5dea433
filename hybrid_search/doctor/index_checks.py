"""The checks of an index: pure functions of the fetched state, each for one kind of fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from hybrid_search.doctor.vitals import Finding, IndexCheck, IndexVitals, Json, Vitals
from hybrid_search.engines.opensearch.index import (
    FORMAT_VERSION,
    faults_of_mapping,
    faults_of_settings,
    other_fields,
    path_of,
    pipelines_of,
    read_mark,
    readable_record,
)
from hybrid_search.engines.opensearch.writing import GRAPH_THRESHOLD, OLD_NOTE, REFRESH, settable

__all__ = ["INDEX_CHECKS"]

_PIPELINE = "index.search.default_pipeline"
_REPLICAS = "index.number_of_replicas"
_AUTO_REPLICAS = "index.auto_expand_replicas"
_BLOCKS = ("read_only", "read_only_allow_delete", "write", "read", "metadata")
_FEW = 0.05


def origin(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """The index was created by another program, or by another version of this one."""
    other = vitals.commands.location(f"{index.name}-2")
    load = f"hybrid-search load DATASET --path PATH --model MODEL --to {other}"
    if index.ours is None:
        yield _of(index, "origin", "error", "it was not made by hybrid-search load, and is not touched", load)
    elif index.ours.get("format_version") != FORMAT_VERSION:
        version = index.ours.get("format_version")
        yield _of(index, "origin", "error", f"it has format {version}, this version reads {FORMAT_VERSION}", load)


def closed(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """The index is closed."""
    if index.status == "closed":
        yield _of(
            index,
            "closed",
            "error",
            "it is closed: it can be neither searched nor written",
            vitals.commands.curl("POST", f"/{index.name}/_open"),
        )


def blocked(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """A block on the index prevents writing, reading or changes of metadata."""
    blocks = [f"index.blocks.{name}" for name in _BLOCKS if index.settings.get(f"index.blocks.{name}") == "true"]
    if blocks:
        because = " (a full disk does that)" if "index.blocks.read_only_allow_delete" in blocks else ""
        yield _of(
            index,
            "blocked",
            "error",
            f"{' and '.join(blocks)} is set{because}: it can't be used as usual",
            vitals.commands.curl("PUT", f"/{index.name}/_settings", dict.fromkeys(blocks)),
        )


def pipeline(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """The index's default search pipeline does not exist: every search that names no other fails."""
    name = index.settings.get(_PIPELINE, "_none")
    if vitals.pipelines is not None and name != "_none" and name not in vitals.pipelines:
        record = readable_record({"mappings": index.mapping})
        is_of_deploy = record is not None and record.search_pipeline == name
        without = vitals.commands.curl("PUT", f"/{index.name}/_settings", {_PIPELINE: None})
        yield _of(
            index,
            "pipeline",
            "error",
            f"its default search pipeline {name!r} is not on the server: searches fail",
            _deploy_again(vitals, index) if is_of_deploy else without,
        )


def _deploy_again(vitals: Vitals, index: IndexVitals) -> str:
    record = readable_record({"mappings": index.mapping})
    again = f"hybrid-search deploy --to {vitals.commands.location(index.name)}"
    return f"{again} --connector {record.endpoint}" if record and record.endpoint else again


def ingest_pipeline(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """An ingest pipeline of the index does not exist: every document is refused."""
    if vitals.ingest_pipelines is None or index.deployment:  # the check ``deployment`` reports and repairs it
        return
    for setting, name in pipelines_of(index.settings).items():
        if name not in vitals.ingest_pipelines:
            fault = f"its ingest pipeline {name!r} ({setting}) is not on the server: every document is refused"
            mend = vitals.commands.curl("PUT", f"/{index.name}/_settings", {setting: None})
            yield _of(index, "ingest_pipeline", "error", fault, mend)


def fitness(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """An index template or a manual change prevents documents from being read."""
    if index.ours is None:
        return
    for fault in faults_of_mapping(index.mapping):
        yield _of(index, "fitness", "error", fault, "take that out of the index template, and load the data again")
    for fault in faults_of_settings(index.settings):
        mend = vitals.commands.curl("PUT", f"/{index.name}/_settings", {"index.max_result_window": None})
        yield _of(index, "fitness", "error", fault, mend)


def fields(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """Metadata fields that filters can't use."""
    if index.ours is not None and (others := other_fields(index.mapping)):
        unusable = ", ".join(f"{name} ({kind})" for name, kind in sorted(others.items()))
        yield _of(
            index, "fields", "note", f"metadata that was declared by somebody else, which filters can't use: {unusable}"
        )


def deployment(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """The towers in the cluster are incomplete or don't answer: searches by text, or documents as text, fail."""
    record = readable_record({"mappings": index.mapping})
    endpoint, again = record.endpoint if record else "", _deploy_again(vitals, index)
    if index.deployment:
        faults = "; ".join(index.deployment)
        yield _of(
            index, "deployment", "error", f"its towers in the cluster are not as they were deployed: {faults}", again
        )
    elif index.silence and endpoint:
        # A path below /towers is that of `serve`, which answers a connector beside its clients.
        verb = "serve LOCATION" if "/towers/" in endpoint else "serve-towers MODEL"
        serve = f"hybrid-search {verb}{_listening(endpoint)}"
        fault = f"its towers at {endpoint} do not encode, so searches by text fail: {index.silence}"
        yield _of(index, "deployment", "error", fault, serve, again)
    elif index.silence:
        fault = f"its towers in the cluster do not encode, so searches by text fail: {index.silence}"
        yield _of(index, "deployment", "error", fault, again)


def vector_engine(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """A vector field uses an engine that OpenSearch has removed, or k-NN is off for the index."""
    for name, declared in _vector_fields(index.mapping):
        if (declared.get("method") or {}).get("engine") == "nmslib":
            yield _of(
                index,
                "vector_engine",
                "error" if vitals.server.version >= (3, 0, 0) else "warning",
                f"the field {name} uses nmslib, which OpenSearch 3 makes no indexes with",
                vitals.commands.reindex(index.name, index.aliases),
            )
        if index.settings.get("index.knn", "false") != "true":
            yield _of(
                index,
                "vector_engine",
                "error",
                f"index.knn is not set, so the vectors in {name} can't be searched",
                vitals.commands.reindex(index.name, index.aliases),
            )


_ADC_SINCE, _ADC_MENDED = (3, 2, 0), (3, 8, 0)
_RESCORED_SINCE, _LONG = (3, 1, 0), 1_000
_ALIASES_SINCE = (3, 9, 0)
_MODE_DEPRECATED = (3, 9, 0)


def scores(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """The server's version is known to give wrong scores for a compressed Faiss field."""
    for name, declared in _vector_fields(index.mapping):
        method, version = declared.get("method") or {}, vitals.server.version
        if method.get("engine") != "faiss":
            continue
        encoder = (method.get("parameters") or {}).get("encoder") or {}
        is_asymmetric = str((encoder.get("parameters") or {}).get("enable_adc", False)).lower() == "true"
        if is_asymmetric and _ADC_SINCE <= version < _ADC_MENDED:
            merge = vitals.commands.curl("POST", f"/{index.name}/_forcemerge?max_num_segments=1")
            fault = (
                f"OpenSearch before 3.8 gives wrong k-NN scores for the field {name} (enable_adc) where a shard has "
                f"several segments (k-NN issue 3384)"
            )
            yield _of(index, "scores", "warning", fault, "upgrade to 3.8 or later; until then:", merge)
        is_binary = declared.get("compression_level") in ("8x", "16x", "32x") or encoder.get("name") == "binary"
        if is_binary and int(declared.get("dimension", 0)) > _LONG and version < _RESCORED_SINCE:
            fault = (
                f"OpenSearch before 3.1 does not rescore the compressed field {name} of more than {_LONG:,} "
                f"dimensions: its k-NN scores are those of the compressed vectors (k-NN issue 2720)"
            )
            yield _of(index, "scores", "warning", fault, "upgrade to 3.1 or later")


def field_alias(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """A field alias stands for a vector field, and the server's k-NN finds nothing through it."""
    if vitals.server.version >= _ALIASES_SINCE:
        return
    vectors = {name for name, _ in _vector_fields(index.mapping)}
    for name, declared in _fields(index.mapping):
        if declared.get("type") == "alias" and (path := declared.get("path")) in vectors:
            fault = (
                f"k-NN on the field alias {name} finds nothing, without an error, on OpenSearch before 3.9 "
                f"(k-NN issue 3484)"
            )
            yield _of(index, "field_alias", "warning", fault, f"search the field {path} itself, or upgrade to 3.9")


def mode(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """A vector field was made with an option that the server will take away."""
    named = [name for name, declared in _vector_fields(index.mapping) if declared.get("mode")]
    if named and vitals.server.version >= _MODE_DEPRECATED:
        fault = (
            f"the option mode of {', '.join(named)} is deprecated since 3.9 (k-NN pull request 3436): it works, and "
            f"an index made anew on OpenSearch 4 will have to do without"
        )
        yield _of(index, "mode", "note", fault)


def _vector_fields(mapping: Json) -> Iterator[tuple[str, Json]]:
    return ((name, declared) for name, declared in _fields(mapping) if declared.get("type") == "knn_vector")


def _fields(mapping: Json, before: str = "") -> Iterator[tuple[str, Json]]:
    """Yield full name and declaration of every field, those of objects too."""
    for name, declared in mapping.get("properties", {}).items():
        yield f"{before}{name}", declared
        yield from _fields(declared, f"{before}{name}.")


def dimension(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """The dimension in ``_meta`` differs from that of the vector field."""
    ours = index.ours
    if ours is None:
        return
    declared = index.mapping.get("properties", {}).get("vector", {}).get("dimension", 0)
    noted = ours.get("dimension", 0)
    if declared != noted:
        meta = {**index.meta, "hybrid_search": {**ours, "dimension": declared}}
        yield _of(
            index,
            "dimension",
            "error",
            f"its _meta says that vectors have {noted} numbers, the field has {declared}",
            vitals.commands.curl("PUT", f"/{index.name}/_mapping", {"_meta": meta}),
        )


def towers(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """The towers that made the vectors are not stored on the server, or others are stored instead."""
    fingerprint = str((index.ours or {}).get("fingerprint", ""))
    load = f"hybrid-search load DATASET --path PATH --model MODEL --to {vitals.commands.location(index.name)}"
    if index.towers == "":
        fault = f"the towers {fingerprint[:12]} that made its vectors are not on the server: queries need the model"
        yield _of(index, "towers", "warning", fault, load)
    elif index.towers is not None and index.towers != fingerprint:
        fault = f"its vectors are of {fingerprint[:12]}, the towers stored for it are {index.towers[:12]}"
        yield _of(index, "towers", "error", fault, load)


def vectors(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """Documents without a vector, which k-NN never finds."""
    if index.documents is None or index.vectors is None or index.vectors >= index.documents:
        return
    missing = index.documents - index.vectors
    fault = f"{missing:,} of {index.documents:,} documents have no vector: only BM25 finds them"
    if missing <= _FEW * index.documents:
        yield Finding("vectors", "note", index.name, f"{fault} (texts without a known word have none)")
    else:
        where = vitals.commands.location(index.name)
        load = f"hybrid-search load DATASET --path PATH --model MODEL --to {where} --recreate"
        yield _of(index, "vectors", "warning", fault, load)


def standing(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """The index was made for an alias, but the alias was never moved to it."""
    mark = read_mark(index.meta)
    if mark is None or mark.alias in index.aliases or mark.state == "ready":
        return
    why = {"loading": "its load has not ended", "failed": "it did not pass the checks"}[mark.state]
    drop = f"hybrid-search drop {vitals.commands.location(index.name)}"
    fault = f"it was made for the alias {mark.alias} and does not stand behind it: {why}"
    yield _of(index, "standing", "note", fault, f"give the same load again, or: {drop}")


def held_settings(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """A load has changed settings and not restored them: it is running, or was killed."""
    if not index.held:
        return
    who = f" ({', '.join(index.holders)})" if index.holders else ""
    mend = [vitals.commands.curl("PUT", f"/{index.name}/_settings", settable(index.held))]
    if index.holders or OLD_NOTE not in index.meta:
        mend.append(vitals.commands.curl("DELETE", path_of(index.settings.get("index.uuid", ""))))
    if OLD_NOTE in index.meta:
        meta = {name: value for name, value in index.meta.items() if name != OLD_NOTE}
        mend.append(vitals.commands.curl("PUT", f"/{index.name}/_mapping", {"_meta": meta}))
    yield _of(
        index,
        "held_settings",
        "warning",
        f"a load{who} holds {', '.join(index.held)}: if none is running it was killed, and the next one gives them "
        f"back",
        *mend,
    )


def refresh(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """Refreshing is off, so that new documents are never found."""
    if index.settings.get(REFRESH) == "-1" and REFRESH not in index.held:
        yield _of(
            index,
            "refresh",
            "warning",
            "refreshing is off (index.refresh_interval is -1): changes stay unseen",
            vitals.commands.curl("PUT", f"/{index.name}/_settings", {REFRESH: None}),
        )


def replicas(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """The index has no replicas."""
    if index.settings.get(_AUTO_REPLICAS, "false") != "false" or _REPLICAS in index.held:
        return
    if index.settings.get(_REPLICAS) == "0":
        # A single node can't hold a second copy, but without the setting a node added later would get none either.
        many = vitals.data_nodes > 1
        yield _of(
            index,
            "replicas",
            "warning",
            f"it has no replicas: {'a lost node takes documents with it' if many else 'a second node would get none'}",
            vitals.commands.curl("PUT", f"/{index.name}/_settings", {_AUTO_REPLICAS: "0-1"}),
        )


def graphs(vitals: Vitals, index: IndexVitals) -> Iterator[Finding]:
    """Building of vector graphs is switched off."""
    if index.settings.get(GRAPH_THRESHOLD) == "-1" and GRAPH_THRESHOLD not in index.held:
        yield _of(
            index,
            "graphs",
            "warning",
            f"{GRAPH_THRESHOLD} is -1: no graph is built, each search reads all vectors",
            vitals.commands.curl("PUT", f"/{index.name}/_settings", {GRAPH_THRESHOLD: None}),
            vitals.commands.curl("POST", f"/{index.name}/_forcemerge?max_num_segments=1"),
        )


def _listening(endpoint: str) -> str:
    """Return the options of ``serve-towers`` for an address; empty if it is not plain HTTP with a port (a proxy)."""
    parts = urlsplit(endpoint)
    return f" --host {parts.hostname} --port {parts.port}" if parts.scheme == "http" and parts.port else ""


def _of(index: IndexVitals, check: str, severity: Any, fault: str, *mend: str) -> Finding:
    return Finding(check, severity, index.name, fault, mend)


INDEX_CHECKS: tuple[IndexCheck, ...] = (
    origin, closed, blocked, fitness, fields, pipeline, ingest_pipeline, deployment, vector_engine, scores, field_alias,
    mode, dimension, towers, vectors, standing, held_settings, refresh, replicas, graphs,
)  # fmt: skip
