"""Finds the query tower that encodes an index's queries inside the cluster, and checks that it fits the index."""

from __future__ import annotations

from hybrid_search.engines.opensearch.index.aliases import Place
from hybrid_search.engines.opensearch.index.capabilities import ML, ServerCapabilities
from hybrid_search.engines.opensearch.index.deployment import find_deployment
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import ModelMismatch, ModelNotFound, UnsupportedCapability, UsageError
from hybrid_search.settings.index import IndexSettings

__all__ = ["query_tower"]


def query_tower(client: Client, place: Place, settings: IndexSettings, server: ServerCapabilities) -> str:
    """Return the id of the model that encodes queries for an index.

    :raises UsageError: if the index has no vectors.
    :raises UnsupportedCapability: if the server lacks ml-commons, or the similarity is not cosine: only with cosine
        does a server refuse a zero vector, which shows that a text has no known word.
    :raises ModelNotFound: if nothing is deployed for the index.
    :raises ModelMismatch: if another model than the index's is deployed.
    """
    if not settings.dimension:
        raise UsageError(f"{place.asked}: the index holds no vectors, so there is nothing to encode; search with bm25")
    if not server.has_plugin(ML):
        raise UnsupportedCapability(
            f"{place.asked}: the server has no plugin {ML} (on every node), so it can't encode a query; "
            f"search without `in_cluster`"
        )
    if settings.similarity != "cosine":
        raise UnsupportedCapability(
            f"{place.asked}: the vectors are compared by {settings.similarity}, and with that a server does not tell a "
            f"query without a known word; search without `in_cluster`"
        )
    deployed = find_deployment(client, place.address.index)
    if deployed is None:
        raise ModelNotFound(
            f"{place.asked}: no towers are deployed in the cluster for this index; "
            f"deploy them with hybrid-search deploy --to {place.asked}, or search without `in_cluster`"
        )
    if deployed.fingerprint != settings.fingerprint:
        raise ModelMismatch(
            f"{place.asked}: the index was built with model {settings.fingerprint} and the towers in the cluster are "
            f"{deployed.fingerprint}; deploy the index's own with hybrid-search deploy --to {place.asked}"
        )
    return deployed.query_model
