"""Checks whether a deployment is complete and unchanged, and whether its query tower answers."""

from __future__ import annotations

from urllib.parse import quote

from hybrid_search.engines.opensearch.index import Deployment
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.errors import AccessDenied, ConfigError, SearchIndexError
from hybrid_search.in_cluster.ml_commons import find_models, predict
from hybrid_search.in_cluster.text_pipelines import SETTINGS, made_for, stored, template_script
from hybrid_search.settings.index import Fusion

__all__ = ["DEPLOYED", "delete_template", "faults", "silence", "stored_template", "template_path"]

DEPLOYED = "DEPLOYED"
"""State of a model that is loaded."""


def faults(client: Client, deployment: Deployment, fusion: Fusion) -> list[str]:
    """Return what differs from a complete deployment, a few words each; empty if nothing does.

    :param fusion: of the index's settings.
    """
    found = [] if deployment.state == "ready" else [f"a deploy or undeploy was cut short (state {deployment.state})"]
    states = {model.id: model.state for model in find_models(client, deployment.model_group)}
    for tower, id in (("query", deployment.query_model), ("document", deployment.document_model)):
        if (state := states.get(id)) != DEPLOYED:
            found.append(f"the {tower} tower's model {id or '(none)'} is {(state or 'not there').lower()}")
    for kind, name, body in made_for(deployment, fusion):
        try:
            is_right = stored(client, kind, name) == body
        except ConfigError:  # made by another program
            is_right = False
        if not is_right:
            found.append(f"the pipeline {kind}/{name} is missing or changed")
    settings = client.call("GET", f"/{deployment.index}/_settings", flat_settings="true")[deployment.index]["settings"]
    for setting, name in zip(SETTINGS, (deployment.ingest_pipeline, deployment.search_pipeline), strict=True):
        if settings.get(setting) != name:
            found.append(f"the index's {setting} is {settings.get(setting) or 'not set'}")
    if stored_template(client, deployment) != template_script(fusion)["script"]["source"]:
        found.append(f"the search template {deployment.search_template} is missing or changed")
    return found


def silence(client: Client, deployment: Deployment) -> str:
    """Encode one text with the query tower; returns why that fails, or an empty string.

    :raises AccessDenied: if the user lacks the right.
    """
    try:
        predict(client, deployment.query_model, ["tower"], remote=bool(deployment.endpoint))
    except AccessDenied as error:
        # Towers outside the cluster may answer with this status themselves.
        if not deployment.endpoint or "no permissions" in str(error):
            raise
        return str(error)
    except SearchIndexError as error:  # a time-out too, as the cluster waits for towers outside it
        return str(error)
    return ""


def template_path(deployment: Deployment) -> str:
    """Return the path of the stored search template."""
    return f"/_scripts/{quote(deployment.search_template, safe='')}"


def stored_template(client: Client, deployment: Deployment) -> str | None:
    """Return the source of the family's stored search template, or None."""
    script = client.call("GET", template_path(deployment), ignore=404).get("script")
    return None if script is None else str(script["source"])


def delete_template(client: Client, deployment: Deployment) -> bool:
    """Delete the family's search template; returns whether there was one."""
    if stored_template(client, deployment) is None:
        return False
    client.call("DELETE", template_path(deployment))
    return True
