"""A retriever that goes along with an alias: what moves is played by a list of real engines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from fakes import AXIS_SETTINGS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import PartialAlias, SearchIndexError, UsageError
from hybrid_search.retrieval.alias_retriever import AliasFollower
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.open_index import OpenIndex
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MODES, Search
from hybrid_search.types import Document, Hit


class Alias:
    """Stands for one of two indexes, ``old`` at first; each holds one document that is named after it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kind: type[EmbeddedEngine] = EmbeddedEngine
        self.target = "old"
        self.fault: Exception | None = None
        self.opened: list[OpenIndex] = []
        self.names: dict[int, str] = {}
        for name in ("old", "new"):
            with EmbeddedEngine.create(folder / name, AXIS_SETTINGS) as engine:
                Retriever(AxisEncoder(), engine).add([Document(name, "cat")])

    def open(self) -> OpenIndex:
        index = OpenIndex(AxisEncoder(), self.kind.open(self.folder / self.target))
        self.opened.append(index)
        self.names[id(index)] = self.target
        return index

    def moved(self, index: OpenIndex) -> bool:
        if self.fault:
            raise self.fault
        return self.names[id(index)] != self.target

    def following(self, check_every: float = 0.0) -> Retriever:
        return Retriever.through(AliasFollower(self.open(), self.open, self.moved, check_every=check_every))


def is_closed(index: OpenIndex) -> bool:
    try:
        index.engine.count()
    except UsageError as error:
        return "closed" in str(error)
    return False


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


@pytest.fixture
def alias(tmp_path: Path) -> Iterator[Alias]:
    alias = Alias(tmp_path)
    yield alias
    for index in alias.opened:
        index.engine.close()


def test_the_next_search_after_a_move_is_answered_by_the_new_index(alias: Alias) -> None:
    with alias.following() as retriever:
        assert ids(retriever.search("cat")) == ["old"]
        alias.target = "new"
        assert ids(retriever.search("cat")) == ["new"]
        assert retriever.engine is alias.opened[1].engine
        assert retriever.get(["new"]) == [Document("new", "cat")]
        assert retriever.rankings(["cat"], 1)[0].ids == ("new",)
    assert [is_closed(index) for index in alias.opened] == [True, True]


def test_between_two_looks_at_the_alias_the_old_index_answers_and_refresh_looks_at_once(alias: Alias) -> None:
    with alias.following(check_every=3_600) as retriever:
        alias.target = "new"
        assert ids(retriever.search("cat")) == ["old"]
        assert retriever.refresh()
        assert ids(retriever.search("cat")) == ["new"]
        assert not retriever.refresh()


def test_while_the_alias_cannot_be_looked_at_the_old_index_answers(
    alias: Alias, caplog: pytest.LogCaptureFixture
) -> None:
    with alias.following() as retriever:
        alias.target, alias.fault = "new", SearchIndexError("nobody answers")
        assert ids(retriever.search("cat")) == ["old"]
        assert "nobody answers" in caplog.text
        with pytest.raises(SearchIndexError, match="nobody answers"):
            retriever.refresh()
        alias.fault = None
        assert ids(retriever.search("cat")) == ["new"]


def test_a_call_at_work_ends_in_the_index_that_it_began_in(alias: Alias) -> None:
    with alias.following() as retriever:
        began, moved = threading.Event(), threading.Event()
        seen: list[str] = []

        class Slow(AxisEncoder):
            def encode_queries(self, texts):
                began.set()
                assert moved.wait(10)
                return super().encode_queries(texts)

        alias.opened[0].encoder = Slow()
        worker = threading.Thread(target=lambda: seen.extend(ids(retriever.search("cat"))))
        worker.start()
        assert began.wait(10)
        alias.target = "new"
        assert ids(retriever.search("cat")) == ["new"]
        moved.set()
        worker.join(10)
        assert seen == ["old"]
        assert [is_closed(index) for index in alias.opened] == [True, False]


def test_an_index_that_was_dropped_since_the_last_look_is_left(alias: Alias) -> None:
    with alias.following(check_every=3_600) as retriever:

        def gone(*_: object) -> None:
            raise SearchIndexError("all shards failed")

        alias.opened[0].engine.search = gone  # type: ignore[method-assign, assignment]
        with pytest.raises(SearchIndexError, match="all shards failed"):
            retriever.search("cat")
        alias.target, alias.fault = "new", SearchIndexError("nobody answers")
        with pytest.raises(SearchIndexError, match="all shards failed"):
            retriever.search("cat")
        alias.fault = None
        assert ids(retriever.search("cat")) == ["new"]


def test_a_closed_one_says_so(alias: Alias) -> None:
    retriever = alias.following()
    retriever.close()
    retriever.close()
    for use in (lambda: retriever.search("cat"), retriever.refresh):
        with pytest.raises(UsageError, match="closed"):
            use()


def test_an_alias_that_hides_a_part_is_answered_by_no_index_until_it_hides_nothing(alias: Alias) -> None:
    with alias.following() as retriever:
        alias.fault = PartialAlias("this alias shows only a part")
        retriever.source.check_every = 3_600  # it is looked at for every call all the same
        uses = (
            lambda: retriever.search("cat"),
            lambda: retriever.rankings(["cat"], 1),
            lambda: retriever.get(["old"]),
            lambda: retriever.add([Document("more", "cat")]),
            lambda: retriever.delete(["old"]),
            lambda: retriever.encode_queries(["cat"]),
        )
        for use in uses * 2:
            with pytest.raises(PartialAlias, match="only a part"):
                use()
        alias.fault = None
        assert ids(retriever.search("cat")) == ["old"]


class AwaitableEngine(EmbeddedEngine):
    """An index in a folder that plays one on a server: its searches are awaited."""

    def asynchronous(self) -> Awaited:
        return Awaited(self)


class Awaited:
    """Searches that wait until they may go on, and note that they were closed."""

    made: ClassVar[list[Awaited]] = []

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine = engine
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.fault: Exception | None = None
        self.closed = 0
        self.made.append(self)

    async def search(self, search: Search) -> list[list[Hit]]:
        assert not self.closed
        await self.go_on.wait()
        if self.fault:
            raise self.fault
        return self.engine.search(search)

    async def get(self, ids: Sequence[str]) -> list[Document | None]:
        return self.engine.get(ids)

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def awaited(alias: Alias, monkeypatch: pytest.MonkeyPatch) -> list[Awaited]:
    monkeypatch.setattr(Awaited, "made", [])
    alias.kind = AwaitableEngine
    return Awaited.made


def test_awaited_searches_follow_and_one_at_work_ends_in_the_index_that_it_began_in(
    alias: Alias, awaited: list[Awaited]
) -> None:
    async def session() -> None:
        async with AsyncRetriever(alias.following()) as retriever:
            assert ids(await retriever.search("cat")) == ["old"]
            [old] = awaited
            old.go_on.clear()
            at_work = asyncio.create_task(retriever.search("cat"))
            await asyncio.sleep(0.05)
            alias.target = "new"
            assert ids(await retriever.search("cat")) == ["new"]
            assert await retriever.get(["new"]) == [Document("new", "cat")]
            assert (old.closed, is_closed(alias.opened[0])) == (0, False)
            old.go_on.set()
            assert ids(await at_work) == ["old"]
            assert (old.closed, is_closed(alias.opened[0])) == (1, True)
        with pytest.raises(UsageError, match="closed"):
            await retriever.search("cat")

    asyncio.run(session())
    assert [one.closed for one in awaited] == [1, 1]
    assert [is_closed(index) for index in alias.opened] == [True, True]


def test_an_awaited_search_in_an_index_that_was_dropped_is_made_in_the_next(
    alias: Alias, awaited: list[Awaited]
) -> None:
    async def session() -> None:
        async with AsyncRetriever(alias.following(check_every=3_600)) as retriever:
            await retriever.search("cat")
            awaited[0].fault = SearchIndexError("all shards failed")
            with pytest.raises(SearchIndexError, match="all shards failed"):
                await retriever.search("cat")
            alias.target = "new"
            assert ids(await retriever.search("cat")) == ["new"]

    asyncio.run(session())
    assert [one.closed for one in awaited] == [1, 1]


def test_between_two_looks_an_awaited_search_needs_a_thread_for_its_encoding_alone(
    alias: Alias, awaited: list[Awaited], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_threads: list[object] = []
    to_thread = asyncio.to_thread

    async def noted(work: Callable[..., object], *given: object, **named: object) -> object:
        in_threads.append(work.__name__)
        return await to_thread(work, *given, **named)

    async def session() -> None:
        async with AsyncRetriever(alias.following(check_every=3_600)) as retriever:
            monkeypatch.setattr(asyncio, "to_thread", noted)
            found = await asyncio.gather(*(retriever.search("cat", mode=mode) for mode in MODES))
            assert [ids(hits) for hits in found] == [["old"]] * 3
            assert in_threads == ["ready", "ready"]

    asyncio.run(session())


def test_awaiting_an_alias_that_hides_a_part_is_refused_too(alias: Alias, awaited: list[Awaited]) -> None:
    async def session() -> None:
        async with AsyncRetriever(alias.following()) as retriever:
            alias.fault = PartialAlias("this alias shows only a part")
            for _ in range(2):
                with pytest.raises(PartialAlias, match="only a part"):
                    await retriever.search("cat")
            alias.fault = None
            assert ids(await retriever.search("cat")) == ["old"]

    asyncio.run(session())
