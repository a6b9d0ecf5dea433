"""The searches of the OpenSearch engine for ``asyncio``: the same plans, carried out by the client that waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hybrid_search.engines.documents import ids_of
from hybrid_search.engines.opensearch.search.reading import Reading
from hybrid_search.engines.opensearch.transport.async_client import AsyncClient
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.plan import Plan, carried_out_async
from hybrid_search.filters import Filter
from hybrid_search.location import Address
from hybrid_search.protocols import DenseQueries
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.types import Document, Hit, Ranking

__all__ = ["AsyncOpenSearchEngine"]

T = TypeVar("T")


class AsyncOpenSearchEngine:
    """Searches an index on a server without blocking the event loop; made by :meth:`OpenSearchEngine.asynchronous`.

    For one event loop. Its methods, their arguments and errors are :class:`OpenSearchEngine`'s.

    :raises MissingExtra: if the extra ``async`` is not installed.
    """

    def __init__(self, reading: Reading, address: Address, connection: Connection) -> None:
        self._reading = reading
        self._client = AsyncClient(address, connection)

    async def search_lexical(
        self, texts: Sequence[str], k: int, filter: Filter | None = None, *, bm25: Bm25 | None = None
    ) -> list[Ranking]:
        """Rank by BM25."""
        return await self._carried_out(self._reading.search_lexical(texts, k, filter, bm25=bm25))

    async def search_dense(self, vectors: DenseQueries, k: int, filter: Filter | None = None) -> list[Ranking]:
        """Rank by vector similarity."""
        return await self._carried_out(self._reading.search_dense(vectors, k, filter))

    async def search_hybrid(
        self,
        texts: Sequence[str],
        vectors: DenseQueries,
        k: int,
        *,
        fusion: Fusion | None = None,
        filter: Filter | None = None,
        offset: int = 0,
        bare: bool = False,
    ) -> list[list[Hit]]:
        """Fuse both legs on the server."""
        return await self._carried_out(
            self._reading.search_hybrid(texts, vectors, k, fusion=fusion, filter=filter, offset=offset, bare=bare)
        )

    async def hits(self, ranking: Ranking, *, first_rank: int = 1, leg: str | None = None) -> list[Hit]:
        """Fetch the documents of (a page of) a ranking."""
        return await self._carried_out(self._reading.hits(ranking, first_rank=first_rank, leg=leg))

    async def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch committed documents by id."""
        return await self._carried_out(self._reading.documents(ids_of(ids)))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _carried_out(self, plan: Plan[T]) -> T:
        return await carried_out_async(plan, self._client.send)
