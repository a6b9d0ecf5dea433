"""The one loop that encodes and adds, on a real index."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import UsageError
from hybrid_search.indexing import Indexed, index_corpus, vectors_of
from hybrid_search.protocols import Vectors
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document, MetadataValue


def test_each_batch_is_told_with_what_the_index_refused_and_all_is_committed_at_the_end(tmp_path: Path) -> None:
    with EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS) as engine:
        batches = list(index_corpus(engine, AxisEncoder(), [*PETS, Document("", "no id")], batch_size=4))
        assert [(batch.read, batch.new, len(batch.rejected)) for batch in batches] == [(4, 4, 0), (2, 2, 1)]
    with EmbeddedEngine.open(tmp_path / "index") as reader:
        assert reader.count() == 5
        assert reader.get(["d3"]) == [PETS[2]]


def test_what_is_not_new_is_read_and_not_added(tmp_path: Path) -> None:
    with EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS) as engine:
        (batch,) = index_corpus(engine, AxisEncoder(), PETS, only_new=lambda batch: batch[:2])
        assert batch == Indexed(read=5, new=2, rejected=[])
        assert engine.count() == 2


@pytest.mark.parametrize(("commit_every", "seen"), [(2, [0, 2, 4]), (None, [0, 0, 0])])
def test_it_commits_now_and_then_or_at_the_end_alone(tmp_path: Path, commit_every: int | None, seen: list[int]) -> None:
    with EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS) as engine:
        counts = []
        for _ in index_corpus(engine, AxisEncoder(), PETS, batch_size=2, commit_every=commit_every):
            with EmbeddedEngine.open(tmp_path / "index") as reader:
                counts.append(reader.count())
        assert counts == seen
        assert engine.count() == 5


def test_a_document_whose_text_is_no_string_is_refused_and_the_others_are_added(tmp_path: Path) -> None:
    broken = Document("d9", 5)  # type: ignore[arg-type]
    with EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS) as engine:
        (batch,) = index_corpus(engine, AxisEncoder(), [PETS[0], broken, PETS[1]])
        assert (batch.new, len(batch.rejected), engine.count()) == (3, 1, 2)


def test_without_an_encoder_there_are_no_vectors() -> None:
    assert vectors_of(None, PETS) is None
    vectors = vectors_of(AxisEncoder(), PETS)
    assert vectors is not None
    assert vectors.shape == (5, 4)


def passages(count: int, text: str, **more: MetadataValue) -> list[Document]:
    return [
        Document(f"d#p{number}", text, metadata={"passage_of": "d", "passage": number, "passages": count, **more})
        for number in range(1, count + 1)
    ]


def test_the_passages_of_a_document_stay_when_its_next_version_is_refused(tmp_path: Path) -> None:
    with Retriever(None, EmbeddedEngine.create(tmp_path / "index", IndexSettings())) as retriever:
        retriever.add(passages(3, "old", year=2001))
        assert retriever.add(passages(1, "new", year="last"), allow_rejected=True).added == 0
        assert [one.text for one in retriever.get(["d#p1", "d#p2", "d#p3"]) if one] == ["old"] * 3
        retriever.add(passages(1, "new", year=2002))
        assert [one and one.text for one in retriever.get(["d#p1", "d#p2", "d#p3"])] == ["new", None, None]


@pytest.mark.parametrize(
    ("of", "count", "added"), [("\ud800", 1, 1), ("x" * 520, 1, 2), ("d", 10**30, 1), ("d", 10**18, 2)]
)
def test_what_a_passage_says_of_its_document_ends_nothing_and_takes_no_memory(
    tmp_path: Path, of: str, count: int, added: int
) -> None:
    lying = Document("d#p1", "word", metadata={"passage_of": of, "passage": 1, "passages": count})
    with Retriever(None, EmbeddedEngine.create(tmp_path / "index", IndexSettings())) as retriever:
        assert (
            retriever.add([lying, Document("other", "word", metadata={"passage_of": "e"})], allow_rejected=True).added
            == added
        )
        assert retriever.get(["d", "other"])[1] is not None
        assert retriever.delete(["d"]) == added - 1


HUGE = 10**5_000
"""Python writes out no integer of so many digits."""


@pytest.mark.parametrize("part", ["id", "text", "metadata", "value", "words", "name"])
def test_a_number_of_too_many_digits_is_refused_alone_wherever_it_stands(tmp_path: Path, part: str) -> None:
    metadata: dict[str, Any] = {"value": {"n": HUGE}, "words": {"n": (HUGE,)}, "name": {HUGE: 1}}
    lying = Document("a", "word", metadata=metadata.get(part, {}))
    lying = replace(lying, **{part: HUGE}) if part not in metadata else lying
    with Retriever(None, EmbeddedEngine.create(tmp_path / "index", IndexSettings())) as retriever:
        report = retriever.add([lying, Document("b", "word")], allow_rejected=True)
        assert (report.added, len(report.rejected)) == (1, 1)
        assert "too large to show" in report.rejected[0].reason
        for asked in ({"k": HUGE}, {"offset": HUGE}, {"min_score": HUGE}):
            with pytest.raises(UsageError, match="too large to show"):
                retriever.search("word", **asked)


class Slow(AxisEncoder):
    """Tells which thread encodes, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[int] = []
        self.own_thread: list[bool] = []

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        self.encoded.append(len(texts))
        self.own_thread.append(threading.current_thread() is not threading.main_thread())
        return super().encode_documents(texts)


def test_later_batches_are_encoded_beside_the_adding_and_one_alone_is_not(tmp_path: Path) -> None:
    several, one = Slow(), Slow()
    with EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS) as engine:
        assert [batch.read for batch in index_corpus(engine, several, PETS, batch_size=2)] == [2, 2, 1]
        assert [batch.read for batch in index_corpus(engine, one, PETS)] == [5]
    assert (several.encoded, several.own_thread) == ([2, 2, 1], [True] * 3)
    assert (one.encoded, one.own_thread) == ([5], [False])


@pytest.mark.parametrize(("before", "whole"), [(0, 0), (3, 2), (5, 4)])
def test_whole_batches_read_before_an_error_are_added(tmp_path: Path, before: int, whole: int) -> None:
    def read() -> Iterator[Document]:
        yield from PETS[:before]
        raise OSError("the file ends here")

    with EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS) as engine:
        with pytest.raises(OSError, match="the file ends here"):
            list(index_corpus(engine, AxisEncoder(), read(), batch_size=2))
        engine.commit()
        assert engine.count() == whole


def test_the_last_version_counts_also_where_it_is_the_one_that_the_index_has(tmp_path: Path) -> None:
    old, new = Document("d1", "a cat"), Document("d1", "a dog")
    with EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS) as engine:
        list(index_corpus(engine, AxisEncoder(), [old]))
        for batch_size in (1, 2):
            list(
                index_corpus(
                    engine,
                    AxisEncoder(),
                    [new, old],
                    batch_size=batch_size,
                    only_new=lambda batch: [one for one in batch if engine.get(["d1"]) != [one]],
                )
            )
            assert engine.get(["d1"]) == [old]
