"""Translates errors of a server or the network to this package's errors, for both clients. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import msgspec
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import ConnectionTimeout, OpenSearchException, SerializationError, SSLError, TransportError

from hybrid_search.errors import (
    AccessDenied,
    HybridSearchError,
    IndexExists,
    IndexNotFound,
    Overloaded,
    SearchIndexError,
    Unreachable,
    shown,
)

__all__ = ["OVERLOADED", "TOKEN_ADVICE", "failure", "reason_of", "shortened", "taken_apart", "translated"]

OVERLOADED = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Statuses that may pass with time, unless the error names a block."""

_UNKNOWN_THERE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
"""What OpenSearch says in JSON; another server that does not know the path says it in its own way."""

TOKEN_ADVICE = (
    "give deploy --connector the one that serve-towers was started with, in HYBRID_SEARCH_TOWERS_TOKEN (after "
    "hybrid-search undeploy, where another one is deployed)"
)
"""Advice when towers outside the cluster reject the token."""

_OTHER_SERVER = "does not look like an OpenSearch server; check the address and the port"
_LONGEST = 300

# A pattern in the reason -> the advice; the first that matches counts.
_ADVICE = (
    (
        "maxClauseCount",
        "the query has more words than the server takes: shorten it, or raise indices.query.bool.max_clause_count in "
        "opensearch.yml",
    ),
    (
        "Model not ready|Failed to find model",
        "no node has the query tower in its memory: hybrid-search deploy loads it again",
    ),
    (
        "Error communicating with remote model",
        "the cluster's nodes get no answer from the towers behind the connector: start hybrid-search serve-towers "
        "there, or query without `in_cluster`",
    ),
)

# A pattern in OpenSSL's message -> the advice; the first that matches counts.
_TLS_ADVICE = (
    ("expired", "the server's certificate has expired: renew it on the server"),
    ("not yet valid", "the server's certificate is not valid yet: look at the clocks of both machines"),
    ("mismatch", "the server's certificate is for another name: use the name that it has, or renew it"),
    (
        "self-signed|self signed|local issuer|unknown ca",
        "the server's certificate is from an authority that is not known here: "
        "name its certificate with ca_certs=FILE or OPENSEARCH_CA_CERTS",
    ),
    (
        "wrong.version.number|record.layer|packet length",
        "the server does not speak TLS here: use opensearch:// for a server without TLS",
    ),
    (
        "certificate.required|handshake failure|bad certificate",
        "the server wants a client certificate: client_cert=FILE",
    ),
)


def translated(error: OpenSearchException, server: str) -> HybridSearchError:
    """Translate an exception of the client library.

    Callers must raise the result ``from None``: the original's text may contain the request's headers.

    :param server: for the message, such as ``http://localhost:9200``.
    """
    match error:
        case ConnectionTimeout():
            return Unreachable(
                f"{server} did not answer in time ({shortened(error.error)}); look at its load, or allow it more "
                f"with read_timeout=SECONDS or OPENSEARCH_READ_TIMEOUT"
            )
        case SSLError():
            return _tls_failure(error, server)
        case NoConnection():
            return _network_failure(error, server)
        case SerializationError():  # the library's text ends with the answer's media type
            kind = str(error).rpartition(": ")[2]
            return SearchIndexError(f"{server} {_OTHER_SERVER} (it answers with {shortened(kind)})")
        case TransportError() if error.info is None and error.status_code in _UNKNOWN_THERE:
            status = _number(error.status_code)
            return SearchIndexError(f"{server} {_OTHER_SERVER} (it answers {status} without JSON)", status=status)
        case TransportError():
            return failure(_number(error.status_code), error.info, server)
    return SearchIndexError(f"{server}: {shortened(error)}")


def failure(status: int, info: Any, where: str) -> HybridSearchError:
    """Translate a server's error answer.

    :param info: the decoded body, or its ``error`` object.
    :param where: the server or the index, for the message.
    """
    body = info.get("error", info) if isinstance(info, Mapping) else info
    # The answer to HEAD has no body.
    kind, reason = reason_of(body) if body else ("", "the server gives no reason")
    message = f"{where}: {kind or status}: {reason.rstrip(';')}"
    if kind == "index_not_found_exception":
        return IndexNotFound(f"{message}; check the index's name, or load data into it", status=status)
    if kind == "resource_already_exists_exception":
        return IndexExists(
            f"{message}; if another process is making it now, wait for that; otherwise give another name, or drop it",
            status=status,
        )
    if kind == "cluster_block_exception" and status != HTTPStatus.SERVICE_UNAVAILABLE:
        # Also has status 429, and stays until somebody removes the block.
        return SearchIndexError(
            f"{message}; the index is blocked: look at its settings index.blocks.*, and at the disk's free space "
            f"(hybrid-search doctor names the command)",
            status=status,
        )
    if advice := next((advice for pattern, advice in _ADVICE if re.search(pattern, reason)), ""):
        return SearchIndexError(f"{message.rstrip('.')}; {advice}", status=status)
    if "remote service" in reason and status == HTTPStatus.UNAUTHORIZED:
        return AccessDenied(f"{message}; the towers behind the connector want a token: {TOKEN_ADVICE}", status=status)
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return AccessDenied(
                f"{where}: the server does not take this user and password or token (401); give user=NAME with "
                f"OPENSEARCH_PASSWORD or password_file=FILE, or OPENSEARCH_TOKEN",
                status=status,
            )
        case HTTPStatus.FORBIDDEN:
            return AccessDenied(f"{message}; give the user the rights for it", status=status)
    if status in OVERLOADED:
        return Overloaded(
            f"{message}; the server is overloaded or starting: try again later, or ask hybrid-search doctor",
            status=status,
        )
    return SearchIndexError(message, status=status)


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


def shortened(what: object) -> str:
    """Return a message of a server or a library as one line of limited length."""
    shown = " ".join(str(what).split())
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."


def _tls_failure(error: SSLError, server: str) -> HybridSearchError:
    message = str(error.error)
    advice = next(
        (advice for pattern, advice in _TLS_ADVICE if re.search(pattern, message, re.IGNORECASE)),
        "look at the server's certificate",
    )
    return SearchIndexError(f"{server}: the TLS connection failed: {advice} ({_openssl(message)})")


def _network_failure(error: NoConnection, server: str) -> HybridSearchError:
    message = str(error.error)
    if re.search("name or service|resolve|nodename|getaddrinfo", message, re.IGNORECASE):
        return Unreachable(f"{server}: there is no machine of this name; check the address")
    if re.search("closed connection without|reset by peer|aborted|disconnected", message, re.IGNORECASE):
        tls = "" if server.startswith("https") else "; use opensearchs:// if it wants TLS"
        return Unreachable(f"{server} closed the connection without an answer{tls} (the end of a restart, or a proxy)")
    tls = "" if server.startswith("https") else " (use opensearchs:// if it wants TLS)"
    return Unreachable(
        f"nothing answers at {server} ({_cause(message)}); check the address, and that the server runs{tls}"
    )


def _cause(message: str) -> str:
    """Leave out the library's object names: ``HTTPConnection(host='x', port=1): Failed …: [Errno 111] …``."""
    errno = re.search(r"\[Errno -?\d+\] ([^)'\"]+)", message)
    return shortened(errno[1] if errno else re.sub(r"^.*?Connection(?:Pool)?\([^)]*\): ", "", message))


def _openssl(message: str) -> str:
    reason = re.search(r"certificate verify failed: ([^(]+)", message) or re.search(r"\] ([^(]+)", message)
    return shortened(reason[1].strip() if reason else message)


def _number(status: object) -> int:
    return status if isinstance(status, int) else 0


_NOT_AS_EXPECTED = (
    LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError, msgspec.MsgspecError,
)  # fmt: skip
"""Errors when an answer lacks a part or has one of another type or an absurd number. A RuntimeError comes from an
exhausted generator."""


@contextmanager
def taken_apart(what: str) -> Iterator[None]:
    """Raise an error that names the answer when reading it fails; a context or a decorator.

    To be used around code that reads an answer, not around code that reads arguments.

    :param what: what the answer is about, such as ``the index's settings``.
    :raises SearchIndexError: in place of the error that a missing part or a wrong type causes.
    """
    try:
        yield
    except HybridSearchError:
        raise
    except _NOT_AS_EXPECTED as error:
        raise SearchIndexError(
            f"the server's answer about {what} is not what OpenSearch gives ({type(error).__name__}: "
            f"{shown(str(error))}); is a proxy between, or another kind of server?"
        ) from error
