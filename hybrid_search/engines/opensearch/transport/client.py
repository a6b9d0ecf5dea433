"""The one door to a server: requests out, JSON in, every failure as an error of ours."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import msgspec
import urllib3
from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException
from opensearchpy.serializer import JSONSerializer

from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.connection_settings import resolved
from hybrid_search.engines.opensearch.transport.failures import translated
from hybrid_search.engines.opensearch.transport.plan import Request, is_repeatable, pauses
from hybrid_search.errors import MissingExtra, SearchIndexError, UsageError
from hybrid_search.location import Address

__all__ = ["NDJSON", "Client", "Undecoded", "credentials"]


NDJSON = {"content-type": "application/x-ndjson"}

_log = logging.getLogger(__name__)
# The library warns of every answer that is not success; they become errors here, and nobody should read them twice.
logging.getLogger("opensearch").addHandler(logging.NullHandler())


class Undecoded(JSONSerializer):
    """Leaves answers as they came: whoever reads one knows its parts, which is several times as fast."""

    def loads(self, s: str) -> Any:
        """Mark a text as JSON that was not decoded yet."""
        return msgspec.Raw(s.encode("utf-8", "surrogatepass"))  # bytes that are no UTF-8 are found when it is read


class Client:
    """A connection pool to one cluster, safe to use from many threads.

    :param connection: None for what :func:`.connection_settings.resolved` puts together.
    """

    def __init__(self, address: Address, connection: Connection | None = None) -> None:
        self._server = address.server
        self.connection = connection = connection or resolved(address)
        self._hurried = threading.Event()
        arguments: dict[str, Any] = {
            **connection.arguments(address),
            **_signer(connection),
            "timeout": urllib3.Timeout(connect=connection.connect_timeout, read=connection.read_timeout),
            "pool_maxsize": connection.max_connections,
            "serializer": Undecoded(),
        }
        if not connection.verify:  # said once, by the connection
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._client = OpenSearch(**arguments)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **parameters: Any) -> Any:
        """Send one request; returns the decoded answer (for HEAD whether there is such a thing).

        A request that may be repeated is, within the connection's limits, when the server is overloaded or the network
        fails.

        :param parameters: of the URL; ``request_timeout`` is not sent, and is the seconds that this request may take.
        :raises HybridSearchError: if there is no answer, or one that is not success.
        """
        data = None if body is None else msgspec.json.encode(body)
        return self._decoded(self._perform(method, path, data, {}, parameters))

    def once(self, method: str, path: str, body: Mapping[str, Any] | None = None, **parameters: Any) -> Any:
        """Send one request as :meth:`call`, but never again: for one that must not arrive late."""
        data = None if body is None else msgspec.json.encode(body)
        return self._decoded(self._perform(method, path, data, {}, parameters, again=False))

    def lines(self, path: str, lines: Iterable[Mapping[str, Any] | bytes], **parameters: Any) -> Any:
        """Post newline-delimited JSON; lines that are bytes are sent as they are.

        :raises HybridSearchError: as :meth:`call`.
        """
        encoded = [line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines]
        return self._decoded(self._perform("POST", path, b"\n".join([*encoded, b""]), NDJSON, parameters))

    def send(self, request: Request) -> bytes:
        """Send one request of a plan; returns the body of the answer as it came.

        :raises HybridSearchError: as :meth:`call`.
        """
        headers = NDJSON if request.in_lines else {}
        answer = self._perform(request.method, request.path, request.body or None, headers, request.parameters)
        return bytes(answer) if isinstance(answer, msgspec.Raw) else str(answer).encode()

    @contextmanager
    def persistent(self, retries: int) -> Iterator[None]:
        """Send requests that may be repeated at least so many times more inside the block, or until told to hurry."""
        before = self.connection
        self.connection = replace(before, retries=max(retries, before.retries))
        try:
            yield
        finally:
            self.connection = before
            self._hurried.clear()

    def hurry(self) -> None:
        """Wait no more before another try, and make none, until the end of :meth:`persistent`."""
        self._hurried.set()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _decoded(self, answer: Any) -> Any:
        try:
            return msgspec.json.decode(answer) if isinstance(answer, msgspec.Raw) else answer
        except (msgspec.DecodeError, RecursionError) as error:
            raise SearchIndexError(f"{self._server}: the answer is no JSON ({error}); is a proxy between?") from error

    def _perform(
        self,
        method: str,
        path: str,
        data: bytes | None,
        headers: Mapping[str, str],
        parameters: Mapping[str, Any],
        *,
        again: bool = True,
    ) -> Any:
        waits = pauses(self.connection.retries if again and is_repeatable(method, path) else 0)
        while True:
            try:
                return self._client.transport.perform_request(
                    method, path, params=dict(parameters), body=data, headers=dict(headers)
                )
            except OpenSearchException as error:
                # The original is not chained: its text may hold the request's headers.
                told = translated(error, self._server)
            pause = next(waits, None)
            if pause is None or not (isinstance(told, SearchIndexError) and told.retryable):
                raise told from None
            _log.info("%s; again in %.1f s", told, pause)
            if self._hurried.wait(pause):
                raise told from None


def _signer(connection: Connection) -> dict[str, Any]:
    if not connection.aws_region:
        return {}
    from opensearchpy import Urllib3AWSV4SignerAuth

    from hybrid_search.engines.opensearch.transport.client import credentials

    return {"http_auth": Urllib3AWSV4SignerAuth(credentials(connection), connection.aws_region, connection.aws_service)}


def credentials(connection: Connection) -> Any:
    """Find credentials as Amazon's own tools do: environment, profile, instance role; they renew themselves.

    :raises MissingExtra: without boto3.
    :raises UsageError: if there are none.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise MissingExtra("boto3", "aws") from error
    try:
        found = boto3.Session(profile_name=connection.aws_profile or None).get_credentials()
    except BotoCoreError as error:
        raise UsageError(f"AWS credentials: {error}") from error
    if found is None:
        raise UsageError(
            "aws_region is given, and there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or name a profile in aws_profile"
        )
    return found
