"""A search beside a commit of another process, between the commit of the store and that of the caches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes import AXIS_SETTINGS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.embedded.search import committed, tail
from hybrid_search.engines.embedded.search.caches import Caches
from hybrid_search.engines.embedded.store.store import Store
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MODES, Mode
from hybrid_search.types import Document

OLD = [Document("a", "cat"), Document("b", "cat cat dog")]
NEW = Document("a", "dog")


@contextmanager
def half_committed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Replace document ``a`` from another engine, whose caches follow when the event is set.

    So little would be read from the store by the reader itself, were it not more than is allowed here.
    """
    monkeypatch.setattr(tail, "MOST", 0)
    follow, go_on, stored = Caches.follow, threading.Event(), threading.Event()
    writer = Retriever(AxisEncoder(), EmbeddedEngine.open(folder, writable=True))

    def wait_and_follow(self: Caches) -> None:
        stored.set()
        go_on.wait(30)
        follow(self)

    monkeypatch.setattr(Caches, "follow", wait_and_follow)
    adding = threading.Thread(target=writer.add, args=([NEW],))
    adding.start()
    assert stored.wait(30)
    monkeypatch.setattr(Caches, "follow", follow)
    try:
        yield go_on
    finally:
        go_on.set()
        adding.join(30)
        writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
        retriever.add(OLD)
    return tmp_path / "index"


@pytest.mark.parametrize("mode", MODES)
def test_a_reader_does_not_miss_a_document_that_another_process_is_replacing(
    folder: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Retriever(AxisEncoder(), EmbeddedEngine.open(folder)) as reader:
        assert {hit.id for hit in reader.search("cat dog", mode=mode)} == {"a", "b"}
        with half_committed(folder, monkeypatch) as go_on:
            threading.Timer(0.2, go_on.set).start()
            hits = reader.search("cat dog", mode=mode)
    assert {hit.id: hit.text for hit in hits} == {"a": "dog", "b": "cat cat dog"}


def test_a_writer_that_takes_too_long_is_waited_for_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committed, "_PATIENCE", 0.2)
    with (
        Retriever(AxisEncoder(), EmbeddedEngine.open(folder)) as reader,
        half_committed(folder, monkeypatch),
    ):
        assert [hit.id for hit in reader.search("cat dog", mode="bm25")] == ["b"]
        monkeypatch.setattr(committed, "_PATIENCE", 30.0)
        began = time.monotonic()
        assert [hit.id for hit in reader.search("cat dog", mode="bm25")] == ["b"]
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("mode", MODES)
def test_a_hit_has_the_text_that_was_ranked(folder: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Retriever(AxisEncoder(), EmbeddedEngine.open(folder)) as reader,
        Retriever(AxisEncoder(), EmbeddedEngine.open(folder, writable=True)) as writer,
    ):
        fetch, replaced = Store.documents_at, []

        def replaced_before(store: Store, rows: Sequence[int]) -> list[Document | None]:
            if not replaced:
                replaced.append(writer.add([NEW]))
            return fetch(store, rows)

        monkeypatch.setattr(Store, "documents_at", replaced_before)
        hits = reader.search("cat", 1, mode=mode)
    assert [(hit.id, hit.rank, hit.text) for hit in hits] == [("b", 1, "cat cat dog")]
