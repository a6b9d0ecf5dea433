"""One writable index, many threads and tasks: what was acknowledged is there once, whatever became of the others."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from asked import by_both, by_text, by_vector
from fakes import AXIS_SETTINGS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine, damage
from hybrid_search.engines.embedded.search.committed import SharedLock
from hybrid_search.engines.embedded.store.row_ids import RowIds
from hybrid_search.errors import StorageError, UsageError
from hybrid_search.filters import Term
from hybrid_search.retrieval.async_retriever import AsyncRetriever
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

SETTINGS = IndexSettings(dimension=2, fingerprint="towers")
ONE = np.array([[1, 0]], np.float32)


@pytest.fixture(autouse=True)
def hasty() -> Iterator[None]:
    """Let threads take turns after almost every instruction."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine.create(tmp_path / "index", SETTINGS) as engine:
        yield engine


def found(engine: EmbeddedEngine) -> tuple[set[str], set[str], set[str]]:
    stored = [document.id for document in engine.documents()]
    lexical, dense = by_text(engine, ["text"], 1000)[0].ids, by_vector(engine, ONE, 1000)[0].ids
    assert len(set(stored)) == len(stored)
    assert len(set(lexical)) == len(lexical)
    assert len(set(dense)) == len(dense)
    return set(stored), set(lexical), set(dense)


def test_each_of_many_additions_at_once_is_found_from_when_it_returns(engine: EmbeddedEngine) -> None:
    def add(number: int) -> None:
        engine.add([Document(f"{number:03}", f"text only{number}", metadata={"n": number})], ONE)
        engine.commit()
        assert by_text(engine, [f"only{number}"], 5)[0].ids == (f"{number:03}",)
        assert f"{number:03}" in by_vector(engine, ONE, 1000)[0].ids
        assert by_text(engine, ["text"], 5, Term("n", number))[0].ids == (f"{number:03}",)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    everything = {f"{number:03}" for number in range(40)}
    assert found(engine) == (everything, everything, everything)
    assert engine.verify() == []


def test_any_mix_of_changes_at_once_ends_as_each_thread_left_its_own_documents(engine: EmbeddedEngine) -> None:
    """Each thread has ids of its own, so the right end is known: a plain dict says it."""

    def work(thread: int) -> dict[str, str]:
        chance, mine = random.Random(thread), dict[str, str]()
        for step in range(10):
            ids = [f"{thread}-{chance.randrange(6)}" for _ in range(chance.randrange(1, 4))]
            if chance.random() < 0.3:
                assert engine.delete(ids) == len(mine.keys() & set(ids))
                mine = {id: text for id, text in mine.items() if id not in ids}
            else:
                added = {id: f"text of {id} in step{step}" for id in ids}
                assert engine.add([Document(*one) for one in added.items()], np.repeat(ONE, len(added), axis=0)) == []
                mine |= added
            if chance.random() < 0.6:
                engine.commit()
                documents = engine.get(list(mine))
                assert [document and document.text for document in documents] == list(mine.values())
        engine.commit()
        return mine

    with ThreadPoolExecutor(6) as pool:
        expected = {id: text for mine in pool.map(work, range(4)) for id, text in mine.items()}
    assert {document.id: document.text for document in engine.documents()} == expected
    assert found(engine) == (expected.keys(), expected.keys(), expected.keys())
    assert engine.verify() == []


def test_an_error_in_one_threads_batch_takes_nothing_of_another_along(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch of one thread fails half way, between another's addition and its commit."""
    writer = engine._writer
    assert writer is not None
    engine.add([Document("mine", "text", metadata={"year": 1})], ONE)

    def failing() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(writer, "_put_vectors", lambda *_: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                engine.add([Document("mine", "text of another", metadata={"broken": 1})], ONE)

    run_in_thread(failing)
    engine.commit()
    assert [document.text for document in engine.documents()] == ["text"]
    assert engine.settings.fields == {"year": "long"}
    assert found(engine) == ({"mine"}, {"mine"}, {"mine"})
    assert engine.verify() == []


def test_a_thread_whose_changes_went_with_anothers_failure_is_told_at_its_commit(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = engine._writer
    assert writer is not None
    engine.add([Document("mine", "text")], ONE)

    def disk_is_full(*_: object) -> int:
        writer._database.writer.execute("ROLLBACK")  # as SQLite itself does over a full disk
        raise StorageError("the disk is full")

    def failing() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(writer, "_put_vectors", disk_is_full)
            with pytest.raises(StorageError, match="the disk is full"):
                engine.add([Document("other", "text")], ONE)
        engine.commit()  # this thread knows

    run_in_thread(failing)
    with pytest.raises(StorageError, match=r"not committed was lost.*the disk is full; add it again"):
        engine.commit()
    engine.add([Document("mine", "text")], ONE)
    engine.commit()
    assert found(engine) == ({"mine"}, {"mine"}, {"mine"})


def test_closing_beside_everything_else_is_an_error_for_the_others_and_loses_nothing(tmp_path: Path) -> None:
    for attempt in range(3):
        folder = tmp_path / f"index-{attempt}"
        engine = EmbeddedEngine.create(folder, SETTINGS)
        acknowledged: list[str] = []

        def add(thread: int, engine: EmbeddedEngine = engine, acknowledged: list[str] = acknowledged) -> None:
            for number in range(1000):
                engine.add([Document(f"{thread}-{number}", "text")], ONE)
                engine.commit()
                acknowledged.append(f"{thread}-{number}")
                by_both(engine, ["text"], ONE, 3)
                engine.get([f"{thread}-{number}"])

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(add, thread) for thread in range(4)]
            while len(acknowledged) < 4 + attempt:
                threading.Event().wait(0.001)
            engine.close()
            for one in running:
                with pytest.raises(UsageError, match="closed"):
                    one.result()
        assert damage(folder) == []
        with EmbeddedEngine.open(folder, writable=True) as again:  # the lock is free, whoever closed it
            stored, lexical, dense = found(again)
            assert stored == lexical == dense
            assert stored >= set(acknowledged)


def test_an_index_that_another_thread_closes_is_free_for_the_next_writer(tmp_path: Path) -> None:
    engine = EmbeddedEngine.create(tmp_path / "index", SETTINGS)
    run_in_thread(engine.close)
    EmbeddedEngine.open(tmp_path / "index", writable=True).close()
    assert not (tmp_path / "index" / "writer.json").exists()


def test_tasks_add_delete_and_search_at_once(tmp_path: Path) -> None:
    engine = EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)

    async def work(retriever: AsyncRetriever, number: int) -> None:
        added = [Document(f"{number:02}", f"cat only{number}"), Document(f"gone-{number:02}", f"cat only{number}")]
        assert (await retriever.add(added)).added == 2
        assert {hit.id for hit in await retriever.search(f"only{number}", mode="bm25")} == {one.id for one in added}
        assert await retriever.delete([f"gone-{number:02}"]) == 1
        assert await retriever.get([f"{number:02}", f"gone-{number:02}"]) == [added[0], None]

    async def everything() -> list[str]:
        async with AsyncRetriever(Retriever(AxisEncoder(), engine)) as retriever:
            await asyncio.gather(*(work(retriever, number) for number in range(12)))
            return [hit.id for hit in await retriever.search("cat", 50)]

    expected = [f"{number:02}" for number in range(12)]
    assert asyncio.run(everything()) == expected
    with EmbeddedEngine.open(tmp_path / "index", writable=True) as again:
        assert again.verify() == []
        assert sorted(document.id for document in again.documents()) == expected


def test_a_reader_that_refreshes_beside_batches_of_queries_does_not_stand_still(tmp_path: Path) -> None:
    """A batch of queries asks for worker threads in the middle of its search, while a refresh waits for its end."""
    folder = tmp_path / "index"
    with EmbeddedEngine.create(folder, SETTINGS) as writer, EmbeddedEngine.open(folder) as reader:
        writer.add([Document("000", "text")], ONE)
        writer.commit()
        stop = threading.Event()

        def search() -> None:
            while not stop.is_set():
                assert all("000" in one.ids for one in by_text(reader, ["text"] * 9, 100))

        threads = [threading.Thread(target=search, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(1, 9):
            writer.add([Document(f"{number:03}", "text")], ONE)
            writer.commit()
        stop.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()


def test_ids_learnt_by_many_threads_at_once_are_never_lost(engine: EmbeddedEngine) -> None:
    ids = [f"{number:04}" for number in range(600)]
    engine.add([Document(id, "text") for id in ids], np.repeat(ONE, 600, axis=0))
    engine.commit()

    for _ in range(20):
        known = RowIds(engine._store.database)

        def look_up(first: int, known: RowIds = known) -> None:
            for row in range(first, 601, 8):  # ascending, so that the arrays grow again and again
                assert known.ids(np.array([row])) == [ids[row - 1]]

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(look_up, range(1, 9)))
        rows = np.arange(1, 601)
        assert known.ids(rows) == ids
        assert known.there(rows).all()


def test_an_id_learnt_while_another_thread_grows_the_arrays_stays_known(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other thread comes between the copying of the ids and that of the marks that they are there."""
    engine.add([Document(f"{number:03}", "text") for number in range(99)], np.repeat(ONE, 99, axis=0))
    engine.commit()
    known, concatenate = RowIds(engine._store.database), np.concatenate
    known.ids(np.array([40]))
    other = threading.Thread(target=known.ids, args=(np.array([30]),))

    def interrupted(arrays: list[np.ndarray]) -> np.ndarray:
        copied = concatenate(arrays)
        if not other.ident:
            other.start()
            other.join(0.2)  # it may have to wait for this thread
        return copied

    with monkeypatch.context() as patched:
        patched.setattr(np, "concatenate", interrupted)
        known.ids(np.array([90]))
    other.join()
    assert known.ids(np.array([30, 40, 90])) == ["029", "039", "089"]


def test_an_index_does_not_go_along_into_a_forked_process(engine: EmbeddedEngine) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            engine.add([Document("a", "text")], ONE)
        except UsageError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as told:
        assert "before this process was forked; open it again" in told.read()


def run_in_thread(work: object) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()  # type: ignore[arg-type]


def test_searches_go_on_beside_many_writers(engine: EmbeddedEngine) -> None:
    """A commit keeps searches out; with one always waiting for its turn, none would ever come in."""
    ended = threading.Event()
    commits = [0] * 4

    def write(writer: int) -> None:
        while not ended.is_set():
            engine.add([Document(f"{writer}-{commits[writer]}", "text")], ONE)
            engine.commit()
            commits[writer] += 1

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, writer) for writer in range(4)]
        try:
            waited = []
            for _ in range(10):
                before = sum(commits)
                by_text(engine, ["text"], 3)
                waited.append(sum(commits) - before)
        finally:
            ended.set()
        for writer in writers:
            writer.result()
    # One that was running and one that was ahead; the rest is what threads do before and after the search.
    assert max(waited) <= 8, waited


def test_those_who_share_a_lock_and_those_who_are_alone_take_turns() -> None:
    lock, ended = SharedLock(), threading.Event()
    inside: list[str] = []

    def be(kind: str) -> None:
        with lock.alone() if kind == "alone" else lock.shared():
            inside.append(kind)
            ended.wait(10)

    with ThreadPoolExecutor(5) as pool:
        for number, kind in enumerate(("alone", "alone", "shared", "shared", "alone")):
            pool.submit(be, kind)
            while len(inside) + lock._waiting + lock._queued <= number:
                time.sleep(0.001)
        ended.set()
    assert inside == ["alone", "shared", "shared", "alone", "alone"]
