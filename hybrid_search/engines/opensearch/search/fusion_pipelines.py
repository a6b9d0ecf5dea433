"""Search pipelines stored on the server: created from a fusion, and compared with it before use. Pure plans."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec

from hybrid_search.engines.opensearch.index.capabilities import FUSION_SETTING, ServerCapabilities
from hybrid_search.engines.opensearch.search.bodies import fusion_pipeline
from hybrid_search.engines.opensearch.transport.plan import Plan, Request
from hybrid_search.errors import ConfigError, UnsupportedCapability, UsageError
from hybrid_search.location import Address
from hybrid_search.settings.index import Fusion
from hybrid_search.settings.server import IN_QUERY, INDEX_DEFAULT, INLINE

__all__ = ["check", "description_of", "follow", "store"]

_REQUEST, _ENRICHER = "request_processors", "neural_query_enricher"
_SETTING = "index.search.default_pipeline"
_NONE = "_none"


def description_of(fusion: Fusion) -> str:
    """Describe in one line what a pipeline computes, for the server's list of pipelines."""
    weights = f"weights bm25 {fusion.weights[0]:g}, knn {fusion.weights[1]:g}"
    how = f"rrf, rank constant {fusion.rank_constant}" if fusion.method == "rrf" else _means(fusion)
    return f"hybrid-search: {how}, {weights}, window {fusion.window}"


def _means(fusion: Fusion) -> str:
    return f"{fusion.method}, {fusion.combination} mean"


def store(address: Address, name: str, fusion: Fusion, *, as_default: bool = False) -> Plan[None]:
    """Store a fusion's pipeline on the server, replacing one that this function stored earlier.

    :param as_default: make it the index's default, for searches without a pipeline.
    :raises UsageError: if the name is not a valid name of a pipeline.
    :raises ConfigError: if a pipeline of this name was made by something else, or is needed by towers in the cluster.
    """
    if not name or name.startswith("_") or name != quote(name, safe="") or len(name) > 200:
        raise UsageError(
            f"{name!r} can't be a pipeline's name; give letters, digits, dots and dashes, such as passages-1"
        )
    existing = yield from _stored(name)
    if existing is not None and not str(existing.get("description", "")).startswith("hybrid-search: "):
        raise ConfigError(
            f"{address}: the server has a search pipeline {name!r} that hybrid-search did not make; give another name, "
            f"or delete it (DELETE /_search/pipeline/{name})"
        )
    if existing is not None and _names_towers(existing):
        raise ConfigError(
            f"{address}: the search pipeline {name!r} is that of towers in the cluster (hybrid-search deploy), which "
            f"fuses as the index says already; give another name, or leave `pipeline` out"
        )
    if as_default:
        yield from _check_default_is_free(address, name)
    body = {"description": description_of(fusion), **fusion_pipeline(fusion)}
    yield Request.of_json("PUT", f"/_search/pipeline/{name}", body)
    if as_default:
        yield Request.of_json("PUT", f"/{address.index}/_settings", {_SETTING: name})


def _check_default_is_free(address: Address, name: str) -> Plan[None]:
    """Check that the default search pipeline does not name towers, which searches by text need."""
    default = yield from _default_name(address)
    existing = (yield from _stored(default)) if default else None
    if existing is not None and _names_towers(existing):
        raise ConfigError(
            f"{address}: the index's default search pipeline is {default!r}, which names the towers that are deployed "
            f"in the cluster, and searches by text would fail without it; it fuses as the index says already. Leave "
            f"`default_pipeline` out (a search names it with pipeline={name}), or run hybrid-search undeploy first"
        )


def _names_towers(pipeline: Mapping[str, Any]) -> bool:
    return any(_ENRICHER in one for one in pipeline.get(_REQUEST, ()))


def check(address: Address, through: str, fusion: Fusion, server: ServerCapabilities) -> Plan[None]:
    """Check that the server fuses hybrid queries as requested.

    :param through: as :attr:`~hybrid_search.engines.opensearch.search.bodies.Hybrid.through`.
    :raises ConfigError: if the pipeline is missing, or computes something else.
    :raises UnsupportedCapability: if the server can't fuse inside a query.
    """
    if through == INLINE:
        return
    if through == IN_QUERY:
        if not server.fusion_in_query:
            raise UnsupportedCapability(
                f"{address}: OpenSearch {server.shown_version} does not fuse inside a query; from 3.10 on it does with "
                f"the cluster setting {FUSION_SETTING}: true. Search with pipeline={INLINE}"
            )
        return
    name = through
    if through == INDEX_DEFAULT:
        name = yield from _default_of(address)
    existing = yield from _stored(name)
    if existing is None:
        raise ConfigError(
            f"{address}: the server has no search pipeline {name!r}; "
            f"make it with hybrid-search load --pipeline {name}, or search with pipeline={INLINE}"
        )
    _compare(address, name, existing, fusion)


def follow(address: Address, before: Fusion, after: Fusion) -> Plan[None]:
    """Change the fusion of the index's default search pipeline, if this package made it and it computes ``before``.

    Towers in the cluster that it names are kept.
    """
    name = yield from _default_name(address)
    existing = (yield from _stored(name)) if name else None
    described = str(existing.get("description", "")) if existing else ""
    if existing is None or not described.startswith(description_of(before)) or not _computes(existing, before):
        return
    towers = {_REQUEST: existing[_REQUEST]} if _names_towers(existing) else {}
    description = description_of(after) + described.removeprefix(description_of(before))
    body = {"description": description, **towers, **fusion_pipeline(after)}
    yield Request.of_json("PUT", f"/_search/pipeline/{quote(name, safe='')}", body)


def _computes(existing: Mapping[str, Any], fusion: Fusion) -> bool:
    processors = {key: value for key, value in existing.items() if key not in ("description", "version")}
    if all(_ENRICHER in one for one in processors.get(_REQUEST, ())):
        processors.pop(_REQUEST, None)  # names the towers in the cluster, and does not affect the fusion
    return bool(_plain(processors) == _plain(fusion_pipeline(fusion)))


def _compare(address: Address, name: str, existing: Mapping[str, Any], fusion: Fusion) -> None:
    if not _computes(existing, fusion):
        processors = {key: value for key, value in existing.items() if key not in ("description", "version")}
        actual = existing.get("description") or msgspec.json.encode(processors).decode()
        raise ConfigError(
            f"{address}: the search pipeline {name!r} is not the fusion asked for ({description_of(fusion)}); "
            f"it is {actual}. Give its fusion to the search, store this one with hybrid-search load --pipeline {name}, "
            f"or search with pipeline={INLINE}"
        )


def _plain(processors: Mapping[str, Any]) -> Any:
    """Normalise for comparison: the server may leave out or add empty lists, and write 1 for 1.0."""
    return msgspec.json.decode(
        msgspec.json.encode({name: value for name, value in processors.items() if value}), type=dict[str, Any]
    )


def _stored(name: str) -> Plan[Mapping[str, Any] | None]:
    # For an unknown pipeline the answer is an empty object with status 404.
    answer = yield Request("GET", f"/_search/pipeline/{quote(name, safe='')}", b"", {"ignore": HTTPStatus.NOT_FOUND})
    return msgspec.json.decode(answer, type=dict[str, dict[str, Any]]).get(name)


def _default_name(address: Address) -> Plan[str]:
    """Return the name of the index's default search pipeline; empty if it has none."""
    answer = yield Request("GET", f"/{address.index}/_settings/{_SETTING}", b"", {"flat_settings": "true"})
    for of_index in msgspec.json.decode(answer, type=dict[str, dict[str, dict[str, str]]]).values():
        name = of_index.get("settings", {}).get(_SETTING, _NONE)
        if name != _NONE:
            return name
    return ""


def _default_of(address: Address) -> Plan[str]:
    if name := (yield from _default_name(address)):
        return name
    raise ConfigError(
        f"{address}: the index has no default search pipeline; give it one with hybrid-search load --pipeline NAME "
        f"--default-pipeline, or search with pipeline={INLINE}"
    )
