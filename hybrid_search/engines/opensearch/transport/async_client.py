"""The client of a server for ``asyncio``: as :mod:`client`, but without blocking the event loop."""

from __future__ import annotations

import asyncio
import logging
from importlib.util import find_spec
from typing import Any

import msgspec
from opensearchpy.exceptions import OpenSearchException

from hybrid_search.engines.opensearch.transport.client import NDJSON, Undecoded
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.failures import translated
from hybrid_search.engines.opensearch.transport.plan import Request, is_repeatable, pauses, traced
from hybrid_search.errors import MissingExtra, SearchIndexError
from hybrid_search.location import Address

__all__ = ["AsyncClient"]

_log = logging.getLogger(__name__)


class AsyncClient:
    """A connection pool to one cluster, for one event loop.

    :raises MissingExtra: if the extra ``async`` is not installed.
    """

    def __init__(self, address: Address, connection: Connection) -> None:
        if find_spec("aiohttp") is None:
            raise MissingExtra("aiohttp", "async")
        from opensearchpy import AsyncOpenSearch

        self._server = address.server
        self._host = address.host, address.port
        self._connection = connection
        arguments: dict[str, Any] = {
            **connection.arguments(address),
            **_signer(connection),
            # The library takes only one number here, for the whole request.
            "timeout": connection.connect_timeout + connection.read_timeout,
            "pool_maxsize": connection.max_connections,
            "serializer": Undecoded(),
        }
        self._client = AsyncOpenSearch(**arguments)

    async def send(self, request: Request) -> bytes:
        """Send one request of a plan; return the body of the answer, not decoded.

        Repeatable requests are retried, as by :class:`~hybrid_search.engines.opensearch.transport.client.Client`.

        :raises HybridSearchError: if there is no answer, or an error answer.
        """
        with traced(self._host, request.method, request.path, request.body):
            return await self._attempted(request)

    async def _attempted(self, request: Request) -> bytes:
        waits = pauses(self._connection.retries if is_repeatable(request.method, request.path) else 0)
        while True:
            try:
                answer = await self._client.transport.perform_request(
                    request.method,
                    request.path,
                    params=dict(request.parameters),
                    body=request.body or None,
                    headers=dict(NDJSON) if request.in_lines else {},
                )
                return bytes(answer) if isinstance(answer, msgspec.Raw) else str(answer).encode()
            except OpenSearchException as error:
                # The original is not chained: its text may contain the request's headers.
                failure = translated(error, self._server)
            pause = next(waits, None)
            if pause is None or not (isinstance(failure, SearchIndexError) and failure.retryable):
                raise failure from None
            _log.info("%s; again in %.1f s", failure, pause)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _signer(connection: Connection) -> dict[str, Any]:
    if not connection.aws_region:
        return {}
    from opensearchpy import AWSV4SignerAsyncAuth

    from hybrid_search.engines.opensearch.transport.client import credentials

    return {"http_auth": AWSV4SignerAsyncAuth(credentials(connection), connection.aws_region, connection.aws_service)}
