"""The one door to a server: requests out, JSON in, every failure as an error of ours."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import ConnectionTimeout, OpenSearchException, SSLError, TransportError

from hybrid_search.engines.opensearch.address import Address
from hybrid_search.errors import (
    HybridSearchError,
    IndexExists,
    IndexNotFound,
    SearchIndexError,
    UsageError,
)

__all__ = ["Client", "failure", "reason_of", "shortened"]

PATIENCE = 60.0
"""Seconds that a request may take, and a connection to be made."""

_CONNECTIONS = 16
_NDJSON = {"content-type": "application/x-ndjson"}

# The library warns of every answer that is not success; they become errors here, and nobody should read them twice.
logging.getLogger("opensearch").addHandler(logging.NullHandler())


class Client:
    """A connection pool to one server, safe to use from many threads.

    User and password come from the location and from OPENSEARCH_USER and OPENSEARCH_PASSWORD, an own certificate
    authority from OPENSEARCH_CA_CERTS. Certificates are always checked.
    """

    def __init__(self, address: Address) -> None:
        self._server = address.server
        self._client = OpenSearch(
            hosts=[address.server],
            http_auth=_credentials(address),
            http_compress=False,
            verify_certs=True,
            ca_certs=os.environ.get("OPENSEARCH_CA_CERTS") or None,
            timeout=PATIENCE,
            maxsize=_CONNECTIONS,
        )

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **parameters: Any) -> Any:
        """Send one request; returns the decoded answer (for HEAD whether there is such a thing).

        :raises HybridSearchError: if there is no answer, or one that is not success.
        """
        data = None if body is None else msgspec.json.encode(body)
        return self._perform(method, path, data, {}, parameters)

    def lines(self, path: str, lines: Iterable[Mapping[str, Any] | bytes], **parameters: Any) -> Any:
        """Post newline-delimited JSON; lines that are bytes are sent as they are.

        :raises HybridSearchError: as :meth:`call`.
        """
        encoded = [line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines]
        return self._perform("POST", path, b"\n".join([*encoded, b""]), _NDJSON, parameters)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _perform(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], parameters: Mapping[str, Any]
    ) -> Any:
        try:
            return self._client.transport.perform_request(
                method, path, params=dict(parameters), body=data, headers=dict(headers)
            )
        except OpenSearchException as error:
            # The original is not chained: its text may hold the request's headers.
            raise self._translated(error) from None

    def _translated(self, error: OpenSearchException) -> HybridSearchError:
        match error:
            case ConnectionTimeout():
                return SearchIndexError(f"{self._server} did not answer within {PATIENCE:.0f} s; look at its load")
            case SSLError():
                return SearchIndexError(
                    f"{self._server}: the TLS connection failed ({shortened(error.error)}); name the authority's "
                    f"certificate in OPENSEARCH_CA_CERTS, or use opensearch:// for a server without TLS"
                )
            case NoConnection():
                return SearchIndexError(
                    f"nothing answers at {self._server} ({shortened(error.error)}); check the address, and that the "
                    f"server runs (use opensearchs:// if it wants TLS)"
                )
            case TransportError():
                return failure(int(error.status_code), error.info, self._server)
        return SearchIndexError(f"{self._server}: {shortened(error)}")


def _credentials(address: Address) -> tuple[str, str] | None:
    user = address.user or os.environ.get("OPENSEARCH_USER", "")
    password = os.environ.get("OPENSEARCH_PASSWORD", "")
    if user and not password:
        raise UsageError(f"{address}: no password for user {user!r}; put it into OPENSEARCH_PASSWORD")
    return (user, password) if user else None


def shortened(what: object) -> str:
    """Return what a server or a library said on one line of bearable length."""
    shown = " ".join(str(what).split())
    return shown if len(shown) <= 300 else f"{shown[:297]}..."


def reason_of(error: Any) -> tuple[str, str]:
    """Return (type, reason) of a server's error object: the innermost cause, which says most."""
    if not isinstance(error, Mapping):
        return "", shortened(error)
    inner = error.get("caused_by") or next(iter(error.get("root_cause") or ()), None)
    if not inner:
        failed = next(iter(error.get("failed_shards") or ()), None)
        inner = failed.get("reason") if failed else None
    if inner and inner is not error and inner.get("reason"):
        return str(error.get("type", "")), reason_of(inner)[1]
    return str(error.get("type", "")), shortened(error.get("reason", error))


def failure(status: int, info: Any, where: str) -> HybridSearchError:
    """Turn a server's error answer into an error of ours.

    :param info: the decoded body, or its ``error`` object.
    :param where: the server or the index, for the message.
    """
    body = info.get("error", info) if isinstance(info, Mapping) else info
    kind, reason = reason_of(body)
    told = f"{where}: {kind or status}: {reason}"
    if kind == "index_not_found_exception":
        return IndexNotFound(f"{told}; check the index's name, or load data into it")
    if kind == "resource_already_exists_exception":
        return IndexExists(f"{told}; open it, or delete it first")
    return SearchIndexError(f"{told}{_advice(status, kind)}")


def _advice(status: int, kind: str) -> str:
    if kind == "cluster_block_exception":
        return "; the index is blocked: look at its settings index.blocks.*, and at the disk's free space"
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return "; the server does not take this user and password: set OPENSEARCH_USER and OPENSEARCH_PASSWORD"
        case HTTPStatus.FORBIDDEN:
            return "; give the user the rights for it"
        case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE:
            return "; the server is overloaded or starting: try again later"
    return ""
