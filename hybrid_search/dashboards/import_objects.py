"""Imports saved objects into OpenSearch Dashboards, and checks its answer."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
import urllib3
from urllib3.filepost import encode_multipart_formdata

from hybrid_search.engines.opensearch.transport import Connection, resolved, shortened
from hybrid_search.errors import AccessDenied, SearchIndexError, Unreachable, UnsupportedCapability, UsageError
from hybrid_search.location import Address, without_password

__all__ = ["DashboardsAddress", "Imported", "import_objects"]

_PORT = 5601
_FILE = "hybrid-search.ndjson"
_MOST_TOLD = 5
_OF_ALL = ("global", "private")
"""Tenants that exist for every user."""


@dataclass(frozen=True, slots=True)
class DashboardsAddress:
    """The address of Dashboards, such as ``http://localhost:5601``, with its base path, if any."""

    address: Address
    path: str

    @classmethod
    def parse(cls, url: str) -> DashboardsAddress:
        """Parse a URL.

        :raises UsageError: if it is not a URL of Dashboards, or contains a password.
        """
        shown, advice = without_password(url), "give the address in the browser, such as http://localhost:5601"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise UsageError(f"{shown}: the URL can't be read; {advice}") from None
        if parts.password is not None:
            raise UsageError("a URL must not hold a password; put it into OPENSEARCH_PASSWORD")
        if parts.scheme not in ("http", "https") or not host:
            raise UsageError(f"{shown}: not the URL of Dashboards; {advice}")
        path = parts.path.rstrip("/")
        for page in ("/app", "/s/"):  # paths of pages, as in a browser's address bar
            path = path.partition(page)[0]
        tls = parts.scheme == "https"
        return cls(Address(host, port or (443 if tls else _PORT), "", tls=tls, user=parts.username or ""), path)

    def __str__(self) -> str:
        return f"{self.address.server}{self.path}"


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    :ivar server: the address of Dashboards.
    :ivar taken: number of imported objects.
    :ivar replaced: how many of them existed before.
    """

    server: str
    taken: int
    replaced: int


def import_objects(url: str, lines: bytes, *, tenant: str = "") -> Imported:
    """Import saved objects, replacing existing objects with the same ids.

    :param url: of Dashboards; credentials and TLS settings are resolved as for a server.
    :param lines: the objects, one JSON object a line.
    :param tenant: of the security plugin: ``global``, ``private`` or a name; empty for the user's own choice.
    :raises UsageError: if the user does not have the tenant: Dashboards would silently use the global one.
    :raises AccessDenied: if authentication fails, or the user lacks the right to write.
    :raises Unreachable: if nothing answers.
    :raises UnsupportedCapability: if the server is not OpenSearch Dashboards.
    :raises SearchIndexError: if an object was refused or dropped, with the reasons.
    """
    dashboards = DashboardsAddress.parse(url)
    with _session(dashboards, resolved(dashboards.address), tenant) as session:
        if tenant and tenant not in _OF_ALL:
            _check_tenant(session, tenant)
        answer = session.imported(lines)
    sent = {(one["type"], one["id"]) for one in map(msgspec.json.decode, lines.splitlines())}
    results: Sequence[Mapping[str, Any]] = answer.get("successResults", [])
    # Objects that were dropped are missing from both lists, so the results are compared with what was sent.
    lost = sent - {(one["type"], one["id"]) for one in results}
    reasons = {(one["type"], one["id"]): _reason(one.get("error", {})) for one in answer.get("errors", [])}
    if lost or reasons:
        names = sorted(lost | reasons.keys())
        shown = [f"{kind}:{id} ({reasons.get((kind, id), 'no reason given')})" for kind, id in names[:_MOST_TOLD]]
        more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
        raise SearchIndexError(
            f"{dashboards}: {len(names)} of {len(sent)} objects were not taken: {', '.join(shown)}{more}; "
            f"look at the reasons, then import again: what was taken is replaced"
        )
    return Imported(str(dashboards), len(sent), sum(bool(one.get("overwrite")) for one in results))


@dataclass(frozen=True, slots=True)
class _Session:
    dashboards: DashboardsAddress
    pool: urllib3.PoolManager
    headers: Mapping[str, str]

    def imported(self, lines: bytes) -> Mapping[str, Any]:
        body, kind = encode_multipart_formdata({"file": (_FILE, lines, "application/ndjson")})
        path = "/api/saved_objects/_import?overwrite=true"
        status, answer = self.answer("POST", path, body, {"content-type": kind})
        return _checked(status, answer, str(self.dashboards))

    def answer(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        try:
            answer = self.pool.request(
                method,
                f"{self.dashboards}{path}",
                body=body,
                headers={**self.headers, **(headers or {})},
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            # Not chained: its text may contain the request.
            raise _network_failure(error, self.dashboards) from None
        return answer.status, answer.data


@contextmanager
def _session(dashboards: DashboardsAddress, connection: Connection, tenant: str) -> Iterator[_Session]:
    if connection.aws_region:
        raise UnsupportedCapability(
            f"{dashboards}: Dashboards of AWS take no signed imports; export to a file, and import it in the browser "
            "(Dashboards Management, Saved objects)"
        )
    if not (tenant.isascii() and tenant.isprintable()):
        raise UsageError(
            f"tenant is {tenant!r}; names of tenants travel in a header, which takes printable ASCII alone"
        )
    headers = {"osd-xsrf": "true", **_credentials(connection)} | ({"securitytenant": tenant} if tenant else {})
    timeout = urllib3.Timeout(connect=connection.connect_timeout, read=connection.read_timeout)
    tls = connection.tls() if dashboards.address.tls else None
    if tls is not None and not connection.verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    with urllib3.PoolManager(timeout=timeout, retries=False, ssl_context=tls) as pool:
        yield _Session(dashboards, pool, headers)


def _check_tenant(session: _Session, tenant: str) -> None:
    """Check that the user has the tenant: for an unknown one Dashboards silently uses the global tenant."""
    status, answer = session.answer("GET", "/api/v1/auth/authinfo")
    if status in (401, 302):
        _checked(status, answer, str(session.dashboards))
    try:
        decoded = msgspec.json.decode(answer)
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    tenants = decoded.get("tenants") if isinstance(decoded, dict) and status == 200 else None
    if not isinstance(tenants, dict):
        raise UsageError(
            f"tenant is {tenant!r}, but {session.dashboards} has no tenants (status {status}): its security plugin is "
            "not there, or multitenancy is off; leave the tenant out"
        )
    if tenant not in tenants:
        raise UsageError(
            f"tenant is {tenant!r}, which {session.dashboards} does not have for this user; there are "
            f"{', '.join(sorted({*_OF_ALL, *map(str, tenants)}))}"
        )
    if not tenants[tenant]:
        raise AccessDenied(
            f"{session.dashboards}: this user may read the tenant {tenant!r}, not write to it; give the user the right "
            "to, or choose another",
            status=403,
        )


def _credentials(connection: Connection) -> dict[str, str]:
    if connection.token:
        return {"authorization": f"Bearer {connection.token}"}
    if connection.user:
        pair = base64.b64encode(f"{connection.user}:{connection.password}".encode()).decode()
        return {"authorization": f"Basic {pair}"}
    return {}


def _checked(status: int, answer: bytes, where: str) -> Mapping[str, Any]:
    if status in (401, 302):
        raise AccessDenied(
            f"{where}: Dashboards does not take this user and password ({status}); give user=NAME with "
            f"OPENSEARCH_PASSWORD or password_file=FILE",
            status=status,
        )
    try:
        decoded = msgspec.json.decode(answer)
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    reason = shortened(decoded.get("message") or decoded.get("error") or "") if isinstance(decoded, dict) else ""
    if status == 403:
        raise AccessDenied(
            f"{where}: {reason or 'forbidden'}; give the user the rights to write in this tenant", status=403
        )
    if status in (502, 503, 504):
        raise Unreachable(f"{where}: Dashboards is not ready ({status} {reason}); try again in a moment")
    # Error bodies of Dashboards have a ``statusCode``; those of other servers, such as OpenSearch, don't.
    if not isinstance(decoded, dict) or status == 404 or (status != 200 and "statusCode" not in decoded):
        raise UnsupportedCapability(
            f"{where}: this is no OpenSearch Dashboards (status {status}{', ' + reason if reason else ''}); give its "
            f"address, port {_PORT} unless it was changed, and the path that it is served under"
        )
    if status != 200:
        raise SearchIndexError(f"{where}: {status}: {reason}", status=status)
    if "successCount" not in decoded:
        raise UnsupportedCapability(f"{where}: the answer is not that of an import; is it OpenSearch Dashboards?")
    return decoded


def _reason(error: Mapping[str, Any]) -> str:
    missing = [f"{one.get('type')}:{one.get('id')}" for one in error.get("references", [])]
    kind = str(error.get("type", "")).replace("_", " ")
    return (
        shortened(" ".join(filter(None, (kind, ", ".join(missing), str(error.get("message") or "")))))
        or "no reason given"
    )


def _network_failure(error: urllib3.exceptions.HTTPError, where: DashboardsAddress) -> SearchIndexError:
    cause = shortened(str(getattr(error, "reason", None) or error).rpartition(": ")[2] or type(error).__name__)
    if isinstance(error, urllib3.exceptions.SSLError):
        return SearchIndexError(
            f"{where}: the TLS connection failed ({cause}); name the certificate of the server's own authority with "
            f"ca_certs=FILE or OPENSEARCH_CA_CERTS, and give http:// for a server without TLS"
        )
    return Unreachable(f"nothing answers at {where} ({cause}); check the address, and that Dashboards runs")
