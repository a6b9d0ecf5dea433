"""Making an index from its template, and reading an index's settings back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

import mappings
from hybrid_search.analysis import analyzer
from hybrid_search.config import FieldType, IndexSettings
from hybrid_search.engines.opensearch.address import Address
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.records import field_name, stored_name
from hybrid_search.engines.opensearch.requests import SPACES
from hybrid_search.errors import ConfigError, CorruptIndex, IndexExists, SearchIndexError, UsageError

__all__ = [
    "FORMAT_VERSION",
    "ServerOptions",
    "check_same",
    "index_body",
    "metadata_mapping",
    "read_settings",
    "settings_of",
]

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server keeps an index; what has no counterpart in a folder.

    :ivar replicas: fewest and most copies beside the first, as ``0-1``: as many as the nodes allow.
    :ivar knn_engine: named in every index, since servers change their default.
    """

    shards: int = 1
    replicas: str = "0-1"
    knn_engine: Literal["lucene", "faiss"] = "lucene"
    m: int = 16
    ef_construction: int = 100


def index_body(settings: IndexSettings, options: ServerOptions) -> dict[str, Any]:
    """Return the body that creates an index.

    :raises ConfigError: if a setting is not known here.
    """
    if settings.format_version != FORMAT_VERSION:
        raise ConfigError(f"format_version is {settings.format_version}; this version makes {FORMAT_VERSION}")
    # The fields stand in the mapping itself, where more are declared later.
    common = {
        "shards": options.shards,
        "replicas": options.replicas,
        "k1": settings.bm25.k1,
        "b": settings.bm25.b,
        "analysis": analyzer(settings.analyzer).for_opensearch(),
        "analyzer": settings.analyzer,
        "meta": msgspec.to_builtins(settings.replace(fields={})),
        "metadata": metadata_mapping(settings.fields),
    }
    if settings.dimension == 0:
        return mappings.render("index/texts", **common)
    return mappings.render(
        "index/passages",
        **common,
        dimension=settings.dimension,
        space_type=SPACES[settings.similarity],
        knn_engine=options.knn_engine,
        m=options.m,
        ef_construction=options.ef_construction,
    )


def metadata_mapping(fields: Mapping[str, FieldType]) -> dict[str, Any]:
    """Return the properties of metadata fields; their types have the same names on the server."""
    return {stored_name(name): {"type": kind} for name, kind in fields.items()}


def settings_of(mapping: Mapping[str, Any], where: str) -> IndexSettings:
    """Read the settings that an index carries.

    :param mapping: the index's ``mappings`` object.
    :raises SearchIndexError: if the index was made by something else, or by a newer version.
    :raises CorruptIndex: if the settings can't be read.
    """
    stored = mapping.get("_meta", {}).get("hybrid_search")
    if stored is None:
        raise SearchIndexError(f"{where}: this index was not made by hybrid-search load; give another name")
    if stored.get("format_version") != FORMAT_VERSION:
        raise SearchIndexError(
            f"{where}: the index has format {stored.get('format_version')}, this version reads {FORMAT_VERSION}; "
            f"load the data again, or use the version that made it"
        )
    properties = mapping["properties"]["metadata"].get("properties", {})
    fields = {field_name(name): declared["type"] for name, declared in properties.items()}
    try:
        return IndexSettings.from_mapping({**stored, "fields": fields}, source=where)
    except ConfigError as error:
        raise CorruptIndex(f"{error}; the index's _meta was changed, load the data again") from error


def read_settings(client: Client, address: Address) -> IndexSettings:
    """Ask the server for the settings that an index carries.

    :raises IndexNotFound: if there is no index.
    :raises SearchIndexError: as :func:`settings_of`.
    """
    answer = client.call("GET", f"/{address.index}/_mapping")
    if len(answer) != 1:
        raise UsageError(f"{address}: stands for {len(answer)} indexes; name one of {', '.join(sorted(answer))}")
    return settings_of(next(iter(answer.values()))["mappings"], str(address))


def check_same(address: Address, held: IndexSettings, asked: IndexSettings) -> None:
    """Check that an index has the settings asked for; it may have more fields.

    :raises IndexExists: naming the first setting that differs.
    """
    for name in type(held).__struct_fields__:
        ours, theirs = getattr(held, name), getattr(asked, name)
        if name == "fields":
            ours = {field: kind for field, kind in ours.items() if field in theirs}
        if ours != theirs:
            raise IndexExists(
                f"{address}: the index has {name} {ours!r}, asked for {theirs!r}; use another name, or delete it first"
            )
