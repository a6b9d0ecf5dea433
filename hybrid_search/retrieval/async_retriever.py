"""The retriever for ``asyncio``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar, Unpack

from hybrid_search.engines.documents import ids_of
from hybrid_search.errors import SearchIndexError, UsageError, shown
from hybrid_search.indexing import fetched
from hybrid_search.passages import OF
from hybrid_search.protocols import AsyncEngine, AwaitableEngine
from hybrid_search.retrieval.adding import AddReport
from hybrid_search.retrieval.open_index import OpenIndex
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MatchArguments, Mode, Search, SearchArguments, facets_of, only
from hybrid_search.tracing import retrieval
from hybrid_search.types import Document, Hit, Matches

__all__ = ["AsyncRetriever"]

Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class _Awaited:
    """The asynchronous searches of one index, and the number of calls that use them."""

    index: OpenIndex
    engine: AsyncEngine
    users: int = 0


class AsyncRetriever:
    """The retriever for ``asyncio``, for one event loop.

    For an index on a server, even behind an alias, a search awaits the network; only encoding the query, reranking and
    opening another index run in a worker thread. For a folder, and for changes, each call runs in a worker thread.

    The methods, their arguments and errors are :class:`Retriever`'s.

    :raises MissingExtra: for an index on a server, if the extra ``async`` is not installed.
    :raises UsageError: if the argument is not a retriever.
    """

    def __init__(self, retriever: Retriever) -> None:
        if not isinstance(retriever, Retriever):
            raise UsageError(f"retriever is {shown(retriever)}; give what hybrid_search.open(LOCATION) returns")
        self.retriever = retriever
        self._closed = False
        index = retriever.source.current
        self._awaited = _awaited(index) if isinstance(index.engine, AwaitableEngine) else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def search(
        self,
        query: str,
        k: int = 5,
        *,
        mode: Mode | None = None,
        **given: Unpack[SearchArguments],
    ) -> list[Hit]:
        """Answer one query; see :meth:`Retriever.search_many`."""
        [hits] = await self.search_many([query], k, mode=mode, **given)
        return hits

    async def search_many(
        self,
        queries: Sequence[str],
        k: int = 5,
        *,
        mode: Mode | None = None,
        **given: Unpack[SearchArguments],
    ) -> list[list[Hit]]:
        """Answer queries in one batch; see :meth:`Retriever.search_many`."""
        if self._awaited is None:
            return await asyncio.to_thread(partial(self.retriever.search_many, queries, k, mode=mode, **given))
        search = Search.of(queries, k, mode, **self.retriever.completed(only(SearchArguments, given)))

        async def answered(index: OpenIndex, engine: AsyncEngine) -> list[list[Hit]]:
            hits = await engine.search(await _ready(index, search))
            if search.second is None:
                return index.finished(search, hits)
            return await asyncio.to_thread(index.finished, search, hits)

        with retrieval(search.texts, k, mode or self.retriever.source.current.default_mode):
            return await self._read(answered)

    async def matches(
        self,
        query: str,
        k: int = 5,
        *,
        facets: Sequence[str] = (),
        facet_size: int = 10,
        mode: Mode | None = None,
        **given: Unpack[MatchArguments],
    ) -> Matches:
        """Count the documents that match a query; see :meth:`Retriever.matches`."""
        names = facets_of(facets, facet_size)
        search = Search.of([query], k, mode, **only(MatchArguments, given))
        if self._awaited is None:
            return await asyncio.to_thread(self.retriever.counted, search, names, facet_size)

        async def answered(index: OpenIndex, engine: AsyncEngine) -> Matches:
            [found] = await engine.matches(await _ready(index, search), names, facet_size)
            return found

        return await self._read(answered)

    async def add(
        self, documents: Iterable[Document], *, batch_size: int = 1_024, allow_rejected: bool = False
    ) -> AddReport:
        """Encode, add and commit documents; see :meth:`Retriever.add`."""
        ask = partial(self.retriever.add, batch_size=batch_size, allow_rejected=allow_rejected)
        return await asyncio.to_thread(ask, documents)

    async def delete(self, ids: Sequence[str]) -> int:
        """Delete documents and commit; see :meth:`Retriever.delete`."""
        return await asyncio.to_thread(self.retriever.delete, ids)

    async def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id; see :meth:`Retriever.get`."""
        if self._awaited is None:
            return await asyncio.to_thread(self.retriever.get, ids)
        checked_ids = ids_of(ids)

        async def answered(index: OpenIndex, engine: AsyncEngine) -> list[Document | None]:
            if OF in index.engine.settings.fields:  # of several requests, one after the other
                return await asyncio.to_thread(fetched, index.engine, checked_ids)
            return await engine.get(checked_ids)

        return await self._read(answered)

    async def neighbours(self, id: str, k: int = 5) -> list[Hit] | None:
        """Find the documents nearest to a document; see :meth:`Retriever.neighbours`."""
        return await asyncio.to_thread(self.retriever.neighbours, id, k)

    async def stats(self) -> dict[str, Any]:
        """Sizes and counts of the index; see :meth:`Retriever.stats`."""
        return await asyncio.to_thread(self.retriever.stats)

    async def close(self) -> None:
        """Close the index when all calls that use it have ended; see :meth:`Retriever.close`."""
        self._closed = True
        if self._awaited is not None and not self._awaited.users:
            await self._awaited.engine.close()
        await asyncio.to_thread(self.retriever.close)

    async def _read(self, ask: Callable[[OpenIndex, AsyncEngine], Awaitable[Answer]]) -> Answer:
        """Make a call; repeat it if it fails because the index was replaced and dropped."""
        async with self._lent() as first:
            try:
                return await ask(first.index, first.engine)
            except SearchIndexError:
                if not await asyncio.to_thread(self.retriever.source.has_left, first.index):
                    raise
        async with self._lent() as now:
            return await ask(now.index, now.engine)

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[_Awaited]:
        source = self.retriever.source
        if source.is_due:
            await asyncio.to_thread(source.look)
        if self._closed:
            raise UsageError("the retriever is closed; open it again")
        lease = source.lend()
        try:
            awaited = await self._taken(lease.index)
            try:
                yield awaited
            finally:
                awaited.users -= 1
                if not awaited.users and (self._closed or awaited is not self._awaited):
                    await awaited.engine.close()
        finally:
            if source.take_back(lease):
                await asyncio.to_thread(lease.index.engine.close)

    async def _taken(self, index: OpenIndex) -> _Awaited:
        """Return the searches of an index for a further call; new ones if the index has been replaced."""
        before = self._awaited
        now = before if before is not None and before.index is index else _awaited(index)
        self._awaited = now
        now.users += 1
        if before is not None and before is not now and not before.users:
            await before.engine.close()
        return now


async def _ready(index: OpenIndex, search: Search) -> Search:
    encodes = search.mode != "bm25" and index.encoder is not None
    return await asyncio.to_thread(index.ready, search) if encodes else index.ready(search)


def _awaited(index: OpenIndex) -> _Awaited:
    assert isinstance(index.engine, AwaitableEngine)
    return _Awaited(index, index.engine.asynchronous())
