"""Connectors to towers that run outside the cluster, and the check that these are the index's towers.

The protocol: ``POST URL/query`` or ``URL/document`` with ``{"texts": [...]}`` is answered by an array of arrays of
numbers, one for each text. With a token, requests have the header ``Authorization: Bearer TOKEN``; the cluster stores
the token encrypted.
"""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from hybrid_search.engines.opensearch.transport import TOKEN_ADVICE, Client
from hybrid_search.errors import AccessDenied, ModelMismatch, UsageError
from hybrid_search.location import without_password

if TYPE_CHECKING:
    from hybrid_search.towers.onnx.packed import TowerName

__all__ = ["check_outside", "checked_endpoint", "delete_connector", "find_connectors", "make_connector"]


_NOT_FOUND = 404
_PATH = "/_plugins/_ml/connectors"


def checked_endpoint(url: str) -> str:
    """Check a URL and return it without a trailing slash.

    :raises UsageError: if it is not an http or https URL, or contains a password.
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
    """Create a connector to one tower; returns its id.

    :param endpoint: a URL from :func:`checked_endpoint`.
    :param token: the token that the towers require; the server stores it encrypted.
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
    """Return the ids of the connectors with a name."""
    body = {"query": {"term": {"name.keyword": name}}, "size": 1_000, "_source": ["name"]}
    return {str(hit["_id"]) for hit in client.call("POST", f"{_PATH}/_search", body)["hits"]["hits"]}


def delete_connector(client: Client, id: str) -> None:
    """Delete a connector; does nothing if it does not exist."""
    client.call("DELETE", f"{_PATH}/{id}", ignore=_NOT_FOUND)


_PATIENCE = 5.0  # seconds
_LONGEST = 1 << 16  # bytes of an answer
_PROBE = b'{"texts":["a"]}'

_log = logging.getLogger(__name__)


class _Served(msgspec.Struct):
    """The answer to ``GET /`` of ``serve-towers``; towers served by other programs need not have it."""

    fingerprint: str


def check_outside(endpoint: str, token: str, fingerprint: str) -> None:
    """Check that the towers at an address accept the token and are the index's.

    The cluster's nodes may reach an address that this machine can't reach, so a missing or unexpected answer is
    ignored: the vectors that the cluster returns are compared anyway.

    :param endpoint: a URL from :func:`checked_endpoint`.
    :param token: the token that the towers require; empty for none.
    :param fingerprint: of the index's model.
    :raises AccessDenied: if they require another token.
    :raises ModelMismatch: if they are another model.
    """
    try:
        description = _answer(f"{endpoint}/", token)
        # Only this request requires the token.
        _answer(f"{endpoint}/query", token, _PROBE)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.UNAUTHORIZED:
            raise AccessDenied(
                f"the towers at {endpoint} want {'another' if token else 'a'} token: {TOKEN_ADVICE}", status=error.code
            ) from None
        _log.info("the towers at %s answer %d to this machine; going on", endpoint, error.code)
        return
    except (OSError, HTTPException, UnicodeError) as error:
        _log.info("the towers at %s can't be asked from this machine (%s); going on", endpoint, error)
        return
    try:
        served = msgspec.json.decode(description, type=_Served).fingerprint
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        _log.info("the towers at %s do not name their model", endpoint)
        return
    if served != fingerprint:
        raise ModelMismatch(
            f"the towers at {endpoint} are model {served}, and the index was built with {fingerprint}; start "
            f"serve-towers with the index's model, or make the index's vectors anew with hybrid-search reindex"
        )


def _answer(url: str, token: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    if token:  # not sent to another host after a redirect
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
        content: bytes = answer.read(_LONGEST)
        return content
