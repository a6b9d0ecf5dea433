"""Connectors: towers that a server of ours runs outside the cluster, for clusters that may not run models.

The protocol: ``POST URL/query`` or ``URL/document`` with ``{"texts": [...]}`` answers with an array of arrays of
numbers, one for each text. With a token, requests bring ``Authorization: Bearer TOKEN``, which the cluster keeps
encrypted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hybrid_search.engines.opensearch.client import Client
from hybrid_search.errors import UsageError
from hybrid_search.masking import without_password

if TYPE_CHECKING:
    from hybrid_search.towers.packed import TowerName

__all__ = ["checked_endpoint", "delete_connector", "find_connectors", "make_connector"]

_NOT_FOUND = 404
_PATH = "/_plugins/_ml/connectors"


def checked_endpoint(url: str) -> str:
    """Return the URL without a slash at its end.

    :raises UsageError: if it is none of http or https, or holds a password.
    """
    if "@" in url:
        raise UsageError("a password has no place in the towers' address; give a token in HYBRID_SEARCH_TOWERS_TOKEN")
    if not _is_address(url):
        raise UsageError(
            f"{without_password(url)!r}: give the towers' address as https://host:port/path, the port from 1 to 65535"
        )
    return url.rstrip("/")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # of the port, or of brackets
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and not parts.query + parts.fragment


def make_connector(client: Client, name: str, endpoint: str, tower: TowerName, token: str = "") -> str:
    """Make a connector to one tower; returns its id.

    :param endpoint: a checked URL.
    :param token: that the towers want; the server stores it encrypted.
    """
    parts = urlsplit(endpoint)
    headers = {"Authorization": "Bearer ${credential.token}"} if token else {}
    body: dict[str, Any] = {
        "name": name,
        "description": f"hybrid-search: the {tower} tower at {endpoint}",
        "version": 1,
        "protocol": "http",
        "parameters": {"endpoint": endpoint.removeprefix(f"{parts.scheme}://")},
        "credential": {"token": token or "none"},
        "actions": [
            {
                "action_type": "predict",
                "method": "POST",
                "url": f"{parts.scheme}://${{parameters.endpoint}}/{tower}",
                "headers": {"Content-Type": "application/json", **headers},
                "request_body": '{"texts": ${parameters.input}}',
                "pre_process_function": "connector.pre_process.default.embedding",
                "post_process_function": "connector.post_process.default.embedding",
            }
        ],
    }
    return str(client.call("POST", f"{_PATH}/_create", body)["connector_id"])


def find_connectors(client: Client, name: str) -> set[str]:
    """Return the ids of the connectors of a name."""
    body = {"query": {"term": {"name.keyword": name}}, "size": 1_000, "_source": ["name"]}
    return {str(hit["_id"]) for hit in client.call("POST", f"{_PATH}/_search", body)["hits"]["hits"]}


def delete_connector(client: Client, id: str) -> None:
    """Delete a connector; without such a one nothing happens."""
    client.call("DELETE", f"{_PATH}/{id}", ignore=_NOT_FOUND)
