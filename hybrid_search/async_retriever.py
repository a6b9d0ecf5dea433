"""The retriever for ``asyncio``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Self

from hybrid_search.arguments import ids_of
from hybrid_search.errors import UsageError, shown
from hybrid_search.filters import Filter
from hybrid_search.protocols import AsyncEngine, AwaitableEngine
from hybrid_search.retriever import AddReport, Mode, Retriever
from hybrid_search.settings.index import Fusion
from hybrid_search.steps import carried_out_async
from hybrid_search.types import Document, Hit

__all__ = ["AsyncRetriever"]


class AsyncRetriever:
    """The retriever for ``asyncio``, for one event loop.

    On an index on a server a search awaits the network, and only the query's encoding runs in a worker thread. With a
    folder, with an alias that is followed, and for everything but searching, each call runs in a worker thread.

    The methods, their arguments and errors are :class:`Retriever`'s.

    :raises MissingExtra: for an index on a server, if the extra ``async`` is not installed.
    :raises UsageError: if it is given anything but a retriever.
    """

    def __init__(self, retriever: Retriever) -> None:
        if not isinstance(retriever, Retriever):
            raise UsageError(f"retriever is {shown(retriever)}; give what hybrid_search.open(LOCATION) returns")
        self.retriever = retriever
        engine = retriever.engine
        # One that follows an alias changes its engine between two calls, so it is left to itself.
        followed = type(retriever) is not Retriever
        self._engine: AsyncEngine | None = None
        if isinstance(engine, AwaitableEngine) and not followed:
            self._engine = engine.asynchronous()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def search(
        self,
        query: str,
        k: int = 5,
        *,
        mode: Mode = "hybrid",
        filter: Filter | str | None = None,
        offset: int = 0,
        fusion: Fusion | None = None,
    ) -> list[Hit]:
        """Answer one query; see :meth:`Retriever.search_many`."""
        return (await self.search_many([query], k, mode=mode, filter=filter, offset=offset, fusion=fusion))[0]

    async def search_many(
        self,
        queries: Sequence[str],
        k: int = 5,
        *,
        mode: Mode = "hybrid",
        filter: Filter | str | None = None,
        offset: int = 0,
        fusion: Fusion | None = None,
    ) -> list[list[Hit]]:
        """Answer queries in one batch; see :meth:`Retriever.search_many`."""
        retriever = self.retriever
        if self._engine is None:
            return await asyncio.to_thread(
                retriever.search_many, queries, k, mode=mode, filter=filter, offset=offset, fusion=fusion
            )
        steps = retriever.search_steps(queries, k, mode=mode, filter=filter, offset=offset, fusion=fusion)
        return await carried_out_async(steps, retriever.encoder, self._engine)

    async def add(self, documents: Iterable[Document], *, batch_size: int = 1_024) -> AddReport:
        """Encode, add and commit documents; see :meth:`Retriever.add`."""
        return await asyncio.to_thread(self.retriever.add, documents, batch_size=batch_size)

    async def delete(self, ids: Sequence[str]) -> int:
        """Delete documents and commit; see :meth:`Retriever.delete`."""
        return await asyncio.to_thread(self.retriever.delete, ids)

    async def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id; see :meth:`Retriever.get`."""
        if self._engine is not None:
            return await self._engine.get(ids_of(ids))
        return await asyncio.to_thread(self.retriever.get, ids)

    async def close(self) -> None:
        """Close the engine; see :meth:`Retriever.close`."""
        if self._engine is not None:
            await self._engine.close()
        await asyncio.to_thread(self.retriever.close)
