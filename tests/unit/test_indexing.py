"""The one loop that encodes and adds, on a real index."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.indexing import Indexed, index_corpus, vectors_of
from hybrid_search.types import Document


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
