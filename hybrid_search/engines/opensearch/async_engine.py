"""The searches of the OpenSearch engine for ``asyncio``: the same plans, executed by the asynchronous client."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_search.engines.documents import ids_of
from hybrid_search.engines.opensearch.search.reading import Reading
from hybrid_search.engines.opensearch.transport.async_client import AsyncClient
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.plan import carried_out_async
from hybrid_search.location import Address
from hybrid_search.search import Search
from hybrid_search.types import Document, Hit, Matches

__all__ = ["AsyncOpenSearchEngine"]


class AsyncOpenSearchEngine:
    """Searches an index on a server without blocking the event loop; made by :meth:`OpenSearchEngine.asynchronous`.

    For one event loop. Methods, arguments and errors are those of :class:`OpenSearchEngine`.

    :raises MissingExtra: if the extra ``async`` is not installed.
    """

    def __init__(self, reading: Reading, address: Address, connection: Connection) -> None:
        self._reading = reading
        self._client = AsyncClient(address, connection)

    async def search(self, search: Search) -> list[list[Hit]]:
        """Answer queries."""
        return await carried_out_async(self._reading.search(search), self._client.send)

    async def matches(self, search: Search, facets: Sequence[str] = (), most_values: int = 10) -> list[Matches]:
        """Count what matches each query."""
        return await carried_out_async(self._reading.matches(search, facets, most_values), self._client.send)

    async def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch committed documents by id."""
        return await carried_out_async(self._reading.documents(ids_of(ids)), self._client.send)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
