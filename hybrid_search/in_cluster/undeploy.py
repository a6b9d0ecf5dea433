"""Removes an index's towers from the cluster: all that was deployed for it, except what other indexes use."""

from __future__ import annotations

from hybrid_search.engines.opensearch.index import Deployment, Lock, all_deployments, forget, read_record, remember
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.in_cluster import text_pipelines as pipelines
from hybrid_search.in_cluster.cluster_settings import CHANGED, set_settings
from hybrid_search.in_cluster.connectors import delete_connector
from hybrid_search.in_cluster.faults import delete_template
from hybrid_search.in_cluster.ml_commons import delete_group, delete_model, find_group, find_models

__all__ = ["undeploy"]


def undeploy(client: Client, index: str) -> list[str]:
    """Remove everything that was deployed for an index, including what a killed ``deploy`` left.

    Models, model group and search template are kept as long as another index of the family uses them; cluster settings
    are reset with the last deployment on the server.

    :param index: the index's own name.
    :return: what was removed, a few words each; empty if nothing was deployed.
    :raises IndexLocked: if another process deploys on the server for minutes, or took the lock over meanwhile.
    :raises SearchIndexError: if the server refuses; the same call continues.
    """
    if read_record(client, index) is None:
        return []
    with Lock(client, f"undeploy of {index}") as lock:
        # Read again: another process may have removed it while this one waited.
        deployment = read_record(client, index)
        return [] if deployment is None else _removed(client, deployment, lock)


def _removed(client: Client, deployment: Deployment, lock: Lock) -> list[str]:
    remember(client, deployment.but(state="removing"))
    others = [other for other in all_deployments(client) if other.index != deployment.index]
    removed = _from_index(client, deployment)
    lock.check()
    removed += _models(client, deployment, others)
    lock.check()
    family = [other for other in others if other.family == deployment.family]
    if not family:
        if delete_template(client, deployment):
            removed.append(f"search template {deployment.search_template}")
        if group := find_group(client, deployment.group_name):
            delete_group(client, group)
            removed.append(f"model group {deployment.group_name}")
    removed += _cluster_settings(client, deployment, others)
    forget(client, deployment.index)
    return removed


def _from_index(client: Client, deployment: Deployment) -> list[str]:
    index = deployment.index
    settings = client.call("GET", f"/{index}/_settings", flat_settings="true")[index]["settings"]
    ours = dict(zip(pipelines.SETTINGS, (deployment.ingest_pipeline, deployment.search_pipeline), strict=True))
    # Only if they are still ours: the index may have been given other pipelines since.
    before = {name: deployment.replaced.get(name) for name, value in ours.items() if settings.get(name) == value}
    pipelines.give_back(client, index, before)
    removed = [f"{name} of {index}" for name in before]
    if pipelines.delete(client, pipelines.SEARCH, deployment.search_pipeline):
        removed.append(f"search pipeline {deployment.search_pipeline}")
    if pipelines.delete(client, pipelines.INGEST, deployment.ingest_pipeline):
        removed.append(f"ingest pipeline {deployment.ingest_pipeline}")
    return removed


def _models(client: Client, deployment: Deployment, others: list[Deployment]) -> list[str]:
    used = {id for other in others for id in (other.query_model, other.document_model)}
    names = {kind.model_name(tower) for kind in _either_kind(deployment) for tower in ("query", "document")}
    group = find_group(client, deployment.group_name)
    removed = []
    for model in find_models(client, group) if group else []:
        if model.name in names and model.id not in used:
            delete_model(client, model.id)
            removed.append(f"model {model.name}")
    for connector in deployment.connectors:
        if all(connector not in other.connectors for other in others):
            delete_connector(client, connector)
            removed.append(f"connector {connector}")
    return removed


def _either_kind(deployment: Deployment) -> tuple[Deployment, Deployment]:
    """Return the deployment as local and as remote, as a killed ``deploy`` of the other kind may have left models."""
    return deployment.but(endpoint=""), deployment.but(endpoint="elsewhere")


def _cluster_settings(client: Client, deployment: Deployment, others: list[Deployment]) -> list[str]:
    # The record is in the index's mapping, which others may change, so only settings of ours are reset.
    before = {name: value for name, value in deployment.cluster_settings.items() if name in CHANGED}
    if not before:
        return []
    if others:  # another deployment needs them, and so takes over their previous values
        heir = others[0]
        remember(client, heir.but(cluster_settings={**heir.cluster_settings, **before}))
        return []
    set_settings(client, before)
    return [f"cluster setting {name}" for name in before]
