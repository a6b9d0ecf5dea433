"""Errors as problem details (RFC 9457), from the same tree as the library's errors."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from hybrid_search.errors import (
    AccessDenied,
    DataError,
    HybridSearchError,
    IndexLocked,
    IndexNotFound,
    Overloaded,
    PartialAlias,
    StorageError,
    Unreachable,
    UnsupportedCapability,
    UsageError,
)

__all__ = [
    "MEDIA_TYPE",
    "Busy",
    "Draining",
    "Forbidden",
    "InvalidRequest",
    "KeyMissing",
    "NoJudgements",
    "NotJson",
    "Problem",
    "ReadOnly",
    "TimedOut",
    "TooLarge",
    "Unknown",
    "UnknownPath",
    "WrongMethod",
    "problem_of",
]

MEDIA_TYPE = "application/problem+json"


class ServiceError(HybridSearchError):
    """A request was not carried out, for a reason that only a service has."""


class TooLarge(ServiceError):
    """The request is larger than the service takes."""


class NotJson(ServiceError):
    """The request's body is not said to be JSON."""


class KeyMissing(ServiceError):
    """The request has no valid API key."""


class Forbidden(ServiceError):
    """The API key does not give this right."""


class ReadOnly(ServiceError):
    """The service changes no documents."""


class NoJudgements(ServiceError):
    """The service notes no judgements."""


class InvalidRequest(ServiceError):
    """The request does not fit the schema."""


class UnknownPath(ServiceError):
    """There is nothing at this path."""


class WrongMethod(ServiceError):
    """The path does not take the request's method."""


class Unknown(ServiceError):
    """There is no such document."""


class TooSlow(ServiceError):
    """The request took too long to arrive."""


class Busy(ServiceError):
    """The service has as many requests as it takes; the same request may succeed later."""


class Draining(ServiceError):
    """The service is ending."""


class TimedOut(ServiceError):
    """The answer took longer than the service waits."""


_STATUS: tuple[tuple[type[HybridSearchError], HTTPStatus], ...] = (
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (NotJson, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (KeyMissing, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (ReadOnly, HTTPStatus.FORBIDDEN),
    (NoJudgements, HTTPStatus.FORBIDDEN),
    (InvalidRequest, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UnknownPath, HTTPStatus.NOT_FOUND),
    (WrongMethod, HTTPStatus.METHOD_NOT_ALLOWED),
    (Unknown, HTTPStatus.NOT_FOUND),
    (TooSlow, HTTPStatus.REQUEST_TIMEOUT),
    (Busy, HTTPStatus.SERVICE_UNAVAILABLE),
    (Draining, HTTPStatus.SERVICE_UNAVAILABLE),
    (TimedOut, HTTPStatus.GATEWAY_TIMEOUT),
    (PartialAlias, HTTPStatus.SERVICE_UNAVAILABLE),  # the alias is the operator's, not the client's
    (UsageError, HTTPStatus.BAD_REQUEST),
    (DataError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (IndexNotFound, HTTPStatus.SERVICE_UNAVAILABLE),
    (IndexLocked, HTTPStatus.SERVICE_UNAVAILABLE),
    (Overloaded, HTTPStatus.SERVICE_UNAVAILABLE),
    (Unreachable, HTTPStatus.SERVICE_UNAVAILABLE),
    (AccessDenied, HTTPStatus.BAD_GATEWAY),
    (StorageError, HTTPStatus.INSUFFICIENT_STORAGE),
    (UnsupportedCapability, HTTPStatus.NOT_IMPLEMENTED),
)
"""Error class -> status; the first class that fits decides, and any other error is 500."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem's details, as they are sent.

    :ivar type: names the error's class: ``urn:hybrid-search:FilterError``.
    :ivar title: what this class of error means, in one sentence.
    :ivar detail: the error's message: what is wrong, the value, what to do.
    :ivar instance: names the request, as in the log and in the header ``X-Request-ID``.
    :ivar errors: of a body that does not fit the schema: where, and what.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    instance: str = ""
    errors: tuple[Mapping[str, Any], ...] = ()

    def headers(self) -> dict[str, str]:
        """The headers that belong to it."""
        more = {"content-type": MEDIA_TYPE}
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            more["retry-after"] = "1"
        if self.status == HTTPStatus.UNAUTHORIZED:
            more["www-authenticate"] = "Bearer"
        if self.status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT):
            more["connection"] = "close"  # the rest of the body is not read
        return more

    def body(self) -> bytes:
        """The details as JSON."""
        return msgspec.json.encode(self)


def problem_of(error: HybridSearchError, request_id: str = "") -> Problem:
    """Return an error as a problem's details."""
    kind = type(error)
    fits = (status for one, status in _STATUS if isinstance(error, one))
    status = next(fits, HTTPStatus.INTERNAL_SERVER_ERROR)
    title = (kind.__doc__ or kind.__name__).partition("\n")[0]
    return Problem(f"urn:hybrid-search:{kind.__name__}", title, status, str(error), _instance(request_id))


def unexpected(request_id: str) -> Problem:
    """Return the details of an error that nobody foresaw: the log has it, the client gets the request's name."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    detail = "an unexpected error; the service's log has it under the request's id"
    return Problem("about:blank", status.phrase, status, detail, _instance(request_id))


_OF_FRAMEWORK = {
    HTTPStatus.NOT_FOUND: UnknownPath("there is nothing at this path; /docs lists the paths that there are"),
    HTTPStatus.METHOD_NOT_ALLOWED: WrongMethod(
        "this path does not take the request's method; the header Allow names one"
    ),
}


def of_status(status: int, detail: str, request_id: str) -> Problem:
    """Return the details of what the web framework refuses: an unknown path, another method, a body too deep to read.

    :raises ValueError: if there is no such status.
    """
    if error := _OF_FRAMEWORK.get(HTTPStatus(status)):
        return problem_of(error, request_id)
    if status == HTTPStatus.BAD_REQUEST:
        return invalid(({"field": "body", "reason": "can't be read as JSON: it is nested too deeply"},), request_id)
    return Problem("about:blank", HTTPStatus(status).phrase, status, detail, _instance(request_id))


def is_json(content_type: str) -> bool:
    """Return whether a header ``Content-Type`` says that the body is JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def not_json(content_type: str) -> NotJson:
    """Return the error of a body with another ``Content-Type``, or with none.

    It is not read as JSON all the same: a page of another origin may send such a request without asking first.
    """
    said = f"is {content_type}" if content_type else "is missing"
    return NotJson(f"the header Content-Type {said}; send the body as JSON with Content-Type: application/json")


def invalid(errors: tuple[Mapping[str, Any], ...], request_id: str) -> Problem:
    """Return the details of a request that does not fit the schema."""
    first = errors[0] if errors else {"field": "body", "reason": "is invalid"}
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    told = problem_of(InvalidRequest(f"{first['field']} {first['reason']}{more}; see /docs"), request_id)
    return msgspec.structs.replace(told, errors=errors)


def _instance(request_id: str) -> str:
    return f"urn:request:{request_id}" if request_id else ""
