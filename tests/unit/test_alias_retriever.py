"""A retriever that goes along with an alias: what moves is played by a list of retrievers over real engines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import AXIS_SETTINGS, AxisEncoder

from hybrid_search.alias_retriever import FollowingRetriever
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import PartialAlias, SearchIndexError, UsageError
from hybrid_search.retriever import Retriever
from hybrid_search.types import Document, Hit


class Alias:
    """Stands for one of two indexes, ``old`` at first; each holds one document that is named after it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = "old"
        self.fault: Exception | None = None
        self.opened: list[Retriever] = []
        self.names: dict[int, str] = {}
        for name in ("old", "new"):
            with EmbeddedEngine.create(folder / name, AXIS_SETTINGS) as engine:
                Retriever(AxisEncoder(), engine).add([Document(name, "cat")])

    def open(self) -> Retriever:
        retriever = Retriever(AxisEncoder(), EmbeddedEngine.open(self.folder / self.target))
        self.opened.append(retriever)
        self.names[id(retriever)] = self.target
        return retriever

    def moved(self, retriever: Retriever) -> bool:
        if self.fault:
            raise self.fault
        return self.names[id(retriever)] != self.target

    def following(self, check_every: float = 0.0) -> FollowingRetriever:
        return FollowingRetriever(self.open(), self.open, self.moved, check_every=check_every)


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


@pytest.fixture
def alias(tmp_path: Path) -> Iterator[Alias]:
    alias = Alias(tmp_path)
    yield alias
    for retriever in alias.opened:
        retriever.close()


def test_the_next_search_after_a_move_is_answered_by_the_new_index(alias: Alias) -> None:
    with alias.following() as retriever:
        assert ids(retriever.search("cat")) == ["old"]
        alias.target = "new"
        assert ids(retriever.search("cat")) == ["new"]
        assert retriever.engine is alias.opened[1].engine
        assert retriever.get(["new"]) == [Document("new", "cat")]
        assert retriever.rankings(["cat"], 1)[0].ids == ("new",)
    for opened in alias.opened:
        with pytest.raises(UsageError, match="closed"):
            opened.search("cat")


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
        with pytest.raises(UsageError, match="closed"):
            alias.opened[0].search("cat")


def test_an_index_that_was_dropped_since_the_last_look_is_left(alias: Alias) -> None:
    with alias.following(check_every=3_600) as retriever:

        def gone(*_: object, **__: object) -> None:
            raise SearchIndexError("all shards failed")

        alias.opened[0].search_many = gone  # type: ignore[method-assign, assignment]
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
        retriever.check_every = 3_600  # it is looked at for every call all the same
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
