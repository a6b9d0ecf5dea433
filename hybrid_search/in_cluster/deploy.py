"""Deploys an index's towers in its cluster, so that it can be searched by text with nothing but the server."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index import Place, ServerCapabilities, find_deployment, mark_of
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.errors import ModelMismatch, ModelNotFound, UsageError
from hybrid_search.in_cluster import steps as deploying
from hybrid_search.in_cluster import undeploy as removing
from hybrid_search.in_cluster.cluster_settings import check_plugin
from hybrid_search.in_cluster.connectors import checked_endpoint
from hybrid_search.in_cluster.console import Served, example_of, snippet_file, snippets
from hybrid_search.location import Address
from hybrid_search.protocols import Progress, silent
from hybrid_search.settings.index import IndexSettings
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.onnx.packed import (
    LEAST_COSINE,
    LEAST_OF_SMALL,
    PackedTower,
    TowerName,
    check_packed,
    pack_tower,
    sample_texts,
)
from hybrid_search.towers.tokenizer import TextTokenizer

__all__ = ["Connector", "Deployed", "deploy", "deploy_like", "undeploy"]


@dataclass(frozen=True, slots=True)
class Connector:
    """Towers that are served outside the cluster.

    :ivar url: their address, from the cluster's nodes.
    :ivar token: the token that they require; empty for none.
    """

    url: str
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Deployed:
    """The result of :func:`deploy`.

    :ivar outcome: what was created, and how well the vectors agree.
    :ivar requests: example requests, in the format of Dev Tools.
    """

    outcome: deploying.Outcome
    requests: str


def deploy(
    location: str,
    *,
    model: Path | None = None,
    connector: Connector | None = None,
    allow_settings: bool = False,
    progress: Progress = silent,
) -> Deployed:
    """Deploy the towers of an index in its cluster. It may be repeated: what is deployed correctly is kept.

    :param location: the index, or an alias, which stands for its live index.
    :param model: the checkpoint; None for the towers that the index carries.
    :param connector: use towers outside the cluster instead.
    :param allow_settings: whether cluster settings may be changed.
    :raises UsageError: if the index has no vectors, or is not on a server.
    :raises ModelMismatch: if the model is not the index's.
    :raises UnsupportedCapability: if the server can't run models.
    :raises HybridSearchError: as :func:`hybrid_search.in_cluster.steps.deploy`.
    """
    address = Address.parse(location)
    with closing(Client(address)) as client:
        server = ServerCapabilities.read(client)
        check_plugin(server, address)
        with OpenSearchEngine.open(location) as engine:
            place, settings = engine.place, engine.settings
            folder = _towers(engine, model, address)
        wanted = _wanted(folder, settings, connector, allow_settings=allow_settings)
        outcome = deploying.deploy(client, place.address.index, _family(client, place), wanted, progress)
        served = Served(_asked_for(outcome, place), settings, outcome.deployment, server.filter_in_hybrid)
        example = example_of(client, place.address.index, settings.fields)
        requests = snippet_file(served, snippets(served, example) if example else snippets(served))
    return Deployed(outcome, requests)


def deploy_like(location: str, live: str, *, progress: Progress = silent) -> deploying.Outcome | None:
    """Deploy an index's towers if another index, which it is about to replace, has its towers deployed.

    :param location: the new index.
    :param live: name of the other index.
    :return: None if nothing is deployed for the other.
    :raises HybridSearchError: as :func:`deploy`.
    """
    address = Address.parse(location)
    with closing(Client(address)) as client:
        other = find_deployment(client, live)
    if other is None:
        return None
    if other.endpoint:
        raise UsageError(
            f"{live} has its towers at {other.endpoint}, which serves one model; deploy those of {address.index} "
            f"first: hybrid-search deploy --to {address} --connector URL"
        )
    return deploy(location, progress=progress).outcome


def undeploy(location: str) -> tuple[str, list[str]]:
    """Remove an index's towers from its cluster; returns the index's name and what was removed.

    :param location: the index, or an alias, which stands for its live index.
    :raises HybridSearchError: as :func:`hybrid_search.in_cluster.undeploy.undeploy`.
    """
    address = Address.parse(location)
    with closing(Client(address)) as client, OpenSearchEngine.open(location) as engine:
        index = engine.place.address.index
        return index, removing.undeploy(client, index)


def _towers(engine: OpenSearchEngine, model: Path | None, address: Address) -> Path:
    settings = engine.settings
    if not settings.dimension:
        raise UsageError(f"{address}: the index holds no vectors, so it needs no towers; load it with a model")
    folder = model or engine.model_folder()
    if folder is None:
        raise ModelNotFound(f"{address}: the index carries no towers; give the model that it was loaded with")
    return folder


def _wanted(
    folder: Path, settings: IndexSettings, connector: Connector | None, *, allow_settings: bool
) -> deploying.Wanted:
    encoder = OnnxEncoder.load(folder)
    if encoder.fingerprint != settings.fingerprint:
        raise ModelMismatch(
            f"the index was built with model {settings.fingerprint}, and {folder} holds {encoder.fingerprint}; "
            f"deploy the model of the index, or make its vectors anew with hybrid-search reindex --model {folder}"
        )
    texts = sample_texts(TextTokenizer.from_file(folder / "tokenizer.json"))
    return deploying.Wanted(
        settings=settings,
        encoder=encoder,
        texts=texts,
        least=LEAST_OF_SMALL if encoder.card.tower.encoder == "rec" else LEAST_COSINE,
        packed={} if connector else _packed(folder, encoder, texts),
        endpoint=checked_endpoint(connector.url) if connector else "",
        token=connector.token if connector else "",
        allow_settings=allow_settings,
    )


def _packed(folder: Path, encoder: OnnxEncoder, texts: list[str]) -> Mapping[TowerName, PackedTower]:
    towers: dict[TowerName, PackedTower] = {"query": pack_tower(folder, "query")}
    towers["document"] = pack_tower(folder, "document")
    for tower in towers.values():
        check_packed(tower, encoder, texts)
    return towers


def _family(client: Client, place: Place) -> str:
    return mark_of(client, place.address.index).alias or place.address.index


def _asked_for(outcome: deploying.Outcome, place: Place) -> str:
    """Return the name to use in requests: the alias, if it stands for the index, else the index."""
    return place.asked.index if place.behind_alias else outcome.deployment.index
