"""Towers outside the cluster, asked from this machine before anything is made: whether they are the index's."""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException

import msgspec

from hybrid_search.engines.opensearch.failures import TOKEN_ADVICE
from hybrid_search.errors import AccessDenied, ModelMismatch

__all__ = ["check_outside"]

_PATIENCE = 5.0  # seconds
_LONGEST = 1 << 16  # bytes of an answer
_PROBE = b'{"texts":["a"]}'

_log = logging.getLogger(__name__)


class _Served(msgspec.Struct):
    """What ``GET /`` answers; towers that somebody else wrote need not."""

    fingerprint: str


def check_outside(endpoint: str, token: str, fingerprint: str) -> None:
    """Check that the towers at an address take the token and are the index's.

    The cluster's nodes may reach an address that this machine does not, so that one which gives no answer, or another
    one than expected, is passed over: the vectors that come through the cluster are compared in any case.

    :param endpoint: a checked URL.
    :param token: that they want; empty for none.
    :param fingerprint: of the model that the index was built with.
    :raises AccessDenied: if they want another token.
    :raises ModelMismatch: if they are another model.
    """
    try:
        told = _answer(f"{endpoint}/", token)
        # Only this wants the token.
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
        served = msgspec.json.decode(told, type=_Served).fingerprint
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
    if token:  # not for whoever we are redirected to
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
        told: bytes = answer.read(_LONGEST)
        return told
