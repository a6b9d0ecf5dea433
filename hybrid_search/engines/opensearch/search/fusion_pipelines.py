"""Search pipelines kept on the server: made from a fusion, and checked before they are trusted. Pure plans."""

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
    """Say in one line what a pipeline computes, as the server's list of pipelines shows it."""
    weights = f"weights bm25 {fusion.weights[0]:g}, knn {fusion.weights[1]:g}"
    how = f"rrf, rank constant {fusion.rank_constant}" if fusion.method == "rrf" else _means(fusion)
    return f"hybrid-search: {how}, {weights}, window {fusion.window}"


def _means(fusion: Fusion) -> str:
    return f"{fusion.method}, {fusion.combination} mean"


def store(address: Address, name: str, fusion: Fusion, *, as_default: bool = False) -> Plan[None]:
    """Put a fusion's pipeline on the server, in place of one that this made earlier.

    :param as_default: name it in the index's settings, so that a search without a pipeline uses it.
    :raises UsageError: if it can't be a pipeline's name.
    :raises ConfigError: if there is a pipeline of this name that something else made, or towers in the cluster need it.
    """
    if not name or name.startswith("_") or name != quote(name, safe="") or len(name) > 200:
        raise UsageError(
            f"{name!r} can't be a pipeline's name; give letters, digits, dots and dashes, such as passages-1"
        )
    held = yield from _stored(name)
    if held is not None and not str(held.get("description", "")).startswith("hybrid-search: "):
        raise ConfigError(
            f"{address}: the server has a search pipeline {name!r} that hybrid-search did not make; give another name, "
            f"or delete it (DELETE /_search/pipeline/{name})"
        )
    if held is not None and _names_towers(held):
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
    """Check that no search by text would lose its tower."""
    told = yield from _told_default(address)
    held = (yield from _stored(told)) if told else None
    if held is not None and _names_towers(held):
        raise ConfigError(
            f"{address}: the index's default search pipeline is {told!r}, which names the towers that are deployed in "
            f"the cluster, and searches by text would fail without it; it fuses as the index says already. Leave "
            f"`default_pipeline` out (a search names it with pipeline={name}), or run hybrid-search undeploy first"
        )


def _names_towers(pipeline: Mapping[str, Any]) -> bool:
    return any(_ENRICHER in one for one in pipeline.get(_REQUEST, ()))


def check(address: Address, through: str, fusion: Fusion, server: ServerCapabilities) -> Plan[None]:
    """Check that a hybrid query that is put to the server like this is fused as asked.

    :param through: as :attr:`~hybrid_search.engines.opensearch.search.bodies.Hybrid.through`.
    :raises ConfigError: if the pipeline is missing, or computes something else.
    :raises UnsupportedCapability: if the server does not fuse inside a query.
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
    held = yield from _stored(name)
    if held is None:
        raise ConfigError(
            f"{address}: the server has no search pipeline {name!r}; "
            f"make it with hybrid-search load --pipeline {name}, or search with pipeline={INLINE}"
        )
    _compare(address, name, held, fusion)


def follow(address: Address, before: Fusion, after: Fusion) -> Plan[None]:
    """Let the index's default search pipeline compute another fusion, if it is one of ours and computes ``before``.

    The towers in the cluster that it may name stay.
    """
    name = yield from _told_default(address)
    held = (yield from _stored(name)) if name else None
    told = str(held.get("description", "")) if held else ""
    if held is None or not told.startswith(description_of(before)) or not _computes(held, before):
        return
    towers = {_REQUEST: held[_REQUEST]} if _names_towers(held) else {}
    description = description_of(after) + told.removeprefix(description_of(before))
    body = {"description": description, **towers, **fusion_pipeline(after)}
    yield Request.of_json("PUT", f"/_search/pipeline/{quote(name, safe='')}", body)


def _computes(held: Mapping[str, Any], fusion: Fusion) -> bool:
    processors = {key: value for key, value in held.items() if key not in ("description", "version")}
    if all(_ENRICHER in one for one in processors.get(_REQUEST, ())):
        processors.pop(_REQUEST, None)  # it names the towers in the cluster, and fuses nothing
    return bool(_plain(processors) == _plain(fusion_pipeline(fusion)))


def _compare(address: Address, name: str, held: Mapping[str, Any], fusion: Fusion) -> None:
    if not _computes(held, fusion):
        processors = {key: value for key, value in held.items() if key not in ("description", "version")}
        told = held.get("description") or msgspec.json.encode(processors).decode()
        raise ConfigError(
            f"{address}: the search pipeline {name!r} is not the fusion asked for ({description_of(fusion)}); "
            f"it is {told}. Give its fusion to the search, store this one with hybrid-search load --pipeline {name}, "
            f"or search with pipeline={INLINE}"
        )


def _plain(processors: Mapping[str, Any]) -> Any:
    """Make two pipelines comparable: the server may leave lists empty or add them, and write 1 for 1.0."""
    return msgspec.json.decode(
        msgspec.json.encode({name: value for name, value in processors.items() if value}), type=dict[str, Any]
    )


def _stored(name: str) -> Plan[Mapping[str, Any] | None]:
    # Without it the answer is an empty object, with 404.
    answer = yield Request("GET", f"/_search/pipeline/{quote(name, safe='')}", b"", {"ignore": HTTPStatus.NOT_FOUND})
    return msgspec.json.decode(answer, type=dict[str, dict[str, Any]]).get(name)


def _told_default(address: Address) -> Plan[str]:
    """Return the name of the index's default search pipeline; empty for none."""
    answer = yield Request("GET", f"/{address.index}/_settings/{_SETTING}", b"", {"flat_settings": "true"})
    for of_index in msgspec.json.decode(answer, type=dict[str, dict[str, dict[str, str]]]).values():
        name = of_index.get("settings", {}).get(_SETTING, _NONE)
        if name != _NONE:
            return name
    return ""


def _default_of(address: Address) -> Plan[str]:
    if name := (yield from _told_default(address)):
        return name
    raise ConfigError(
        f"{address}: the index has no default search pipeline; give it one with hybrid-search load --pipeline NAME "
        f"--default-pipeline, or search with pipeline={INLINE}"
    )
