"""Creates an index from its template, and reads an index's settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from hybrid_search import mappings
from hybrid_search.analysis import analyzer
from hybrid_search.engines.opensearch.index.document_json import stored_name
from hybrid_search.engines.opensearch.index.fitness import DATE_FORMAT, declared_fields, faults_of_mapping
from hybrid_search.engines.opensearch.index.tower_files import NOTE
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.engines.opensearch.transport.plan import Plan, Request, carried_out
from hybrid_search.errors import ConfigError, CorruptIndex, IndexExists, SearchIndexError, UnfitIndex, UsageError
from hybrid_search.location import Address
from hybrid_search.settings.index import FieldType, IndexSettings, Similarity
from hybrid_search.settings.server import Compression, KnnEngine, ServerOptions

__all__ = [
    "FORMAT_VERSION",
    "SPACES",
    "ServerOptions",
    "check_fit",
    "check_options",
    "check_same",
    "declared_fields",
    "held_options",
    "index_body",
    "mapping_plan",
    "metadata_mapping",
    "read_settings",
    "settings_of",
    "settings_plan",
]

FORMAT_VERSION = 1

SPACES: Mapping[Similarity, str] = {"cosine": "cosinesimil", "dot": "innerproduct", "l2": "l2"}
"""A server's names of similarities."""

_ON_DISK: Mapping[KnnEngine, Compression] = {"lucene": "4x", "faiss": "32x"}
"""The default compression of vectors that are searched on disk."""


_DEFAULTS: Mapping[str, Any] = {
    "shards": 1,
    "replicas": "0-1",
    "knn_engine": "lucene",
    "m": 16,
    "ef_construction": 100,
    "on_disk": False,
}


def index_body(settings: IndexSettings, options: ServerOptions, towers: str = "") -> dict[str, Any]:
    """Return the body of the request that creates an index.

    :param towers: digest of its towers' files, recorded in the index; empty for none.
    :raises ConfigError: if a setting is unknown, or concerns vectors and the index has none.
    """
    if settings.format_version != FORMAT_VERSION:
        raise ConfigError(f"format_version is {settings.format_version}; this version makes {FORMAT_VERSION}")
    chosen = {**_DEFAULTS, **options.asked()}
    how = analyzer(settings.analyzer)
    # The fields are declared in the mapping itself, where others are added later.
    common = {
        "shards": chosen["shards"],
        "replicas": _range(chosen["replicas"]),
        "k1": settings.bm25.k1,
        "b": settings.bm25.b,
        "analysis": how.for_opensearch(),
        "analyzer": how.name,
        "search_analyzer": how.for_queries,
        "meta": msgspec.to_builtins(settings.replace(fields={})),
        "metadata": metadata_mapping(settings.fields),
    }
    if settings.dimension:
        body = mappings.render("index/passages", **common, vector=_vector_field(settings, chosen))
        body["mappings"]["_meta"] |= {NOTE: towers} if towers else {}
        return body
    if of_vectors := sorted(options.asked().keys() - {"shards", "replicas"}):
        raise ConfigError(f"{', '.join(of_vectors)}: the index holds no vectors; give a model, or leave these out")
    return mappings.render("index/texts", **common)


def _vector_field(settings: IndexSettings, chosen: Mapping[str, Any]) -> dict[str, Any]:
    common = {name: chosen[name] for name in ("knn_engine", "m", "ef_construction")}
    common |= {"dimension": settings.dimension, "space_type": SPACES[settings.similarity]}
    compression = chosen.get("compression")
    if not (compression or chosen["on_disk"]):
        return mappings.render("vector/plain", **common)
    return mappings.render(
        "vector/compressed",
        **common,
        mode="on_disk" if chosen["on_disk"] else "in_memory",
        compression=compression or _ON_DISK[chosen["knn_engine"]],
    )


def _range(replicas: str) -> str:
    """Return a number of replicas as the server's range with this maximum."""
    return replicas if "-" in replicas else f"{replicas}-{replicas}"


@taken_apart("the index's settings")
def held_options(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that an index was made with, by name.

    :param index: its part of the answer to ``GET /INDEX``. During a load without replicas, these are left out.
    """
    settings = index["settings"]["index"]
    options: dict[str, Any] = {"shards": int(settings["number_of_shards"])}
    if (replicas := settings.get("auto_expand_replicas", "false")) != "false":
        options["replicas"] = replicas
    vector = index["mappings"]["properties"].get("vector")
    if vector is not None:
        parameters = vector["method"]["parameters"]
        options |= {
            "knn_engine": vector["method"]["engine"],
            "m": parameters["m"],
            "ef_construction": parameters["ef_construction"],
            "compression": vector.get("compression_level"),
            "on_disk": vector.get("mode") == "on_disk",
        }
    return options


def check_options(where: str, index: Mapping[str, Any], options: ServerOptions) -> None:
    """Check that an index was made with the given options.

    :param index: as for :func:`held_options`.
    :raises IndexExists: names the first option that differs.
    """
    existing = held_options(index)
    for name, value in options.asked().items():
        expected = _range(value) if name == "replicas" else value
        if name == "replicas" and name not in existing:
            continue
        if existing.get(name) != expected:
            raise IndexExists(
                f"{where}: the index has {name} {_shown(existing.get(name))}, asked for {value}; "
                f"load into another location, or rebuild this one with recreate=True"
            )


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def metadata_mapping(fields: Mapping[str, FieldType]) -> dict[str, Any]:
    """Return the properties of metadata fields; the names of types are the server's."""
    return {
        stored_name(name): {"type": kind, "format": DATE_FORMAT} if kind == "date" else {"type": kind}
        for name, kind in fields.items()
    }


@taken_apart("the index's settings")
def settings_of(mapping: Mapping[str, Any], where: str) -> IndexSettings:
    """Read an index's settings.

    :param mapping: the index's ``mappings`` object.
    :raises SearchIndexError: if the index was made by something else, or by a newer version.
    :raises CorruptIndex: if the settings can't be read.
    :raises UnfitIndex: if documents of such an index can't be read.
    """
    stored = mapping.get("_meta", {}).get("hybrid_search")
    if stored is None:
        raise SearchIndexError(f"{where}: this index was not made by hybrid-search load; give another name")
    if stored.get("format_version") != FORMAT_VERSION:
        raise SearchIndexError(
            f"{where}: the index has format {stored.get('format_version')}, this version reads {FORMAT_VERSION}; "
            f"load the data again, or use the version that made it"
        )
    check_fit(where, faults_of_mapping(mapping))
    try:
        return IndexSettings.from_mapping({**stored, "fields": declared_fields(mapping)}, source=where)
    except ConfigError as error:
        raise CorruptIndex(f"{error}; the index's _meta was changed, load the data again") from error


def check_fit(where: str, faults: Iterable[str]) -> None:
    """Refuse an unusable index at opening, rather than later in the middle of the work.

    :raises UnfitIndex: names the problems.
    """
    if problems := "; ".join(faults):
        raise UnfitIndex(
            f"{where}: {problems} (an index template does that, or somebody's hand; hybrid-search doctor --from "
            f"{where} tells more)"
        )


def read_settings(client: Client, address: Address) -> IndexSettings:
    """Read an index's settings from the server; see :func:`settings_plan`."""
    return carried_out(settings_plan(address), client.send)


def settings_plan(address: Address) -> Plan[IndexSettings]:
    """Plan to read an index's settings.

    :raises IndexNotFound: if there is no such index.
    :raises SearchIndexError: as :func:`settings_of`.
    """
    return settings_of((yield from mapping_plan(address)), str(address))


def mapping_plan(address: Address) -> Plan[Mapping[str, Any]]:
    """Plan to read an index's ``mappings`` object.

    :raises IndexNotFound: if there is no such index.
    """
    body = yield Request("GET", f"/{address.index}/_mapping")
    answer = msgspec.json.decode(body)
    if len(answer) != 1:
        raise UsageError(f"{address}: stands for {len(answer)} indexes; name one of {', '.join(sorted(answer))}")
    mapping: Mapping[str, Any] = next(iter(answer.values()))["mappings"]
    return mapping


def check_same(address: Address, existing: IndexSettings, requested: IndexSettings) -> None:
    """Check that an index has the requested settings; it may have more fields.

    :raises IndexExists: names the first setting that differs.
    """
    for name in type(existing).__struct_fields__:
        ours, theirs = getattr(existing, name), getattr(requested, name)
        if name == "fields":
            ours = {field: kind for field, kind in ours.items() if field in theirs}
        if ours != theirs and name not in ("weighed", "declared"):  # which change later
            raise IndexExists(
                f"{address}: the index has {name} {ours!r}, asked for {theirs!r}; use another name, or delete it first"
            )
