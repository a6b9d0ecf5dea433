"""Taking towers out of the cluster: exactly what was deployed for an index, and nothing that another one uses."""

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
    """Remove what was deployed for an index, also what a killed ``deploy`` left.

    Models, model group and search template stay for as long as another index of the family uses them; cluster settings
    that were changed are set back with the last deployment on the server.

    :param index: its own name.
    :return: what was removed, a few words each; nothing where nothing was deployed.
    :raises IndexLocked: if somebody else is deploying on the server for minutes, or took over as this process was away.
    :raises SearchIndexError: if the server refuses; the same call goes on.
    """
    if read_record(client, index) is None:
        return []
    with Lock(client, f"undeploy of {index}") as lock:
        # Somebody else may have removed it meanwhile.
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
    held = client.call("GET", f"/{index}/_settings", flat_settings="true")[index]["settings"]
    ours = dict(zip(pipelines.SETTINGS, (deployment.ingest_pipeline, deployment.search_pipeline), strict=True))
    # Somebody may have given the index other pipelines since.
    before = {name: deployment.replaced.get(name) for name, value in ours.items() if held.get(name) == value}
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
    held = find_models(client, group) if group else []
    removed = []
    for model in held:
        if model.name in names and model.id not in used:
            delete_model(client, model.id)
            removed.append(f"model {model.name}")
    for connector in deployment.connectors:
        if all(connector not in other.connectors for other in others):
            delete_connector(client, connector)
            removed.append(f"connector {connector}")
    return removed


def _either_kind(deployment: Deployment) -> tuple[Deployment, Deployment]:
    """A killed ``deploy`` of the other kind may have left models too."""
    return deployment.but(endpoint=""), deployment.but(endpoint="elsewhere")


def _cluster_settings(client: Client, deployment: Deployment, others: list[Deployment]) -> list[str]:
    # The record lies in the index's mapping, where others may write; nothing else is set for them.
    before = {name: value for name, value in deployment.cluster_settings.items() if name in CHANGED}
    if not before:
        return []
    if others:  # who still needs them also remembers what they were
        heir = others[0]
        remember(client, heir.but(cluster_settings={**heir.cluster_settings, **before}))
        return []
    set_settings(client, before)
    return [f"cluster setting {name}" for name in before]
