"""The client of a server: sends requests, decodes answers, translates every failure to this package's errors."""

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
from hybrid_search.engines.opensearch.transport.plan import Request, is_repeatable, pauses, traced
from hybrid_search.errors import MissingExtra, SearchIndexError, UsageError
from hybrid_search.location import Address

__all__ = ["NDJSON", "Client", "Undecoded", "credentials"]


NDJSON = {"content-type": "application/x-ndjson"}

_log = logging.getLogger(__name__)
# The library logs a warning for each error answer; these become errors here, and should not appear twice.
logging.getLogger("opensearch").addHandler(logging.NullHandler())


class Undecoded(JSONSerializer):
    """Leaves answers undecoded: readers know the parts that they need, which is several times as fast."""

    def loads(self, s: str) -> Any:
        """Mark a text as JSON that is not decoded yet."""
        return msgspec.Raw(s.encode("utf-8", "surrogatepass"))  # invalid UTF-8 is detected when it is decoded


class Client:
    """A connection pool to one cluster. Thread-safe.

    :param connection: None for the result of :func:`.connection_settings.resolved`.
    """

    def __init__(self, address: Address, connection: Connection | None = None) -> None:
        self._server = address.server
        self._host = address.host, address.port
        self.connection = connection = connection or resolved(address)
        self._hurried = threading.Event()
        arguments: dict[str, Any] = {
            **connection.arguments(address),
            **_signer(connection),
            "timeout": urllib3.Timeout(connect=connection.connect_timeout, read=connection.read_timeout),
            "pool_maxsize": connection.max_connections,
            "serializer": Undecoded(),
        }
        if not connection.verify:  # the connection itself warns of that, once
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._client = OpenSearch(**arguments)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **parameters: Any) -> Any:
        """Send one request; return the decoded answer (for HEAD: whether the object exists).

        Repeatable requests are retried, within the connection's limits, after overload or a failure of the network.

        :param parameters: of the URL; ``request_timeout`` is not sent: seconds that this request may take.
        :raises HybridSearchError: if there is no answer, or an error answer.
        """
        data = None if body is None else msgspec.json.encode(body)
        return self._decoded(self._perform(method, path, data, {}, parameters))

    def once(self, method: str, path: str, body: Mapping[str, Any] | None = None, **parameters: Any) -> Any:
        """As :meth:`call`, but never retried: for requests that must not arrive late."""
        data = None if body is None else msgspec.json.encode(body)
        return self._decoded(self._perform(method, path, data, {}, parameters, again=False))

    def lines(self, path: str, lines: Iterable[Mapping[str, Any] | bytes], **parameters: Any) -> Any:
        """Post newline-delimited JSON; lines given as bytes are sent unchanged.

        :raises HybridSearchError: as :meth:`call`.
        """
        encoded = [line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines]
        return self._decoded(self._perform("POST", path, b"\n".join([*encoded, b""]), NDJSON, parameters))

    def send(self, request: Request) -> bytes:
        """Send one request of a plan; return the body of the answer, not decoded.

        :raises HybridSearchError: as :meth:`call`.
        """
        headers = NDJSON if request.in_lines else {}
        answer = self._perform(request.method, request.path, request.body or None, headers, request.parameters)
        return bytes(answer) if isinstance(answer, msgspec.Raw) else str(answer).encode()

    @contextmanager
    def persistent(self, retries: int) -> Iterator[None]:
        """Retry repeatable requests at least this often inside the block, until :meth:`hurry` is called."""
        before = self.connection
        self.connection = replace(before, retries=max(retries, before.retries))
        try:
            yield
        finally:
            self.connection = before
            self._hurried.clear()

    def hurry(self) -> None:
        """End the pause of a retry and all further retries, until the end of :meth:`persistent`."""
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
        with traced(self._host, method, path, data):
            while True:
                try:
                    return self._client.transport.perform_request(
                        method, path, params=dict(parameters), body=data, headers=dict(headers)
                    )
                except OpenSearchException as error:
                    # The original is not chained: its text may contain the request's headers.
                    failure = translated(error, self._server)
                pause = next(waits, None)
                if pause is None or not (isinstance(failure, SearchIndexError) and failure.retryable):
                    raise failure from None
                _log.info("%s; again in %.1f s", failure, pause)
                if self._hurried.wait(pause):
                    raise failure from None


def _signer(connection: Connection) -> dict[str, Any]:
    if not connection.aws_region:
        return {}
    from opensearchpy import Urllib3AWSV4SignerAuth

    return {"http_auth": Urllib3AWSV4SignerAuth(credentials(connection), connection.aws_region, connection.aws_service)}


def credentials(connection: Connection) -> Any:
    """Find credentials as Amazon's own tools do: environment, profile, instance role; they are renewed automatically.

    :raises MissingExtra: if boto3 is not installed.
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
