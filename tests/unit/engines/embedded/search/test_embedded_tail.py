"""Small commits: they write the database alone, and are searched with the rest as if all were one index."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from asked import by_text

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.embedded.search import tail
from hybrid_search.engines.embedded.store.manifest import Manifest
from hybrid_search.filters.parser import parse_filter
from hybrid_search.settings.index import Bm25, IndexSettings
from hybrid_search.types import Document, Ranking

QUERIES = ["w0", "w1 w5", "w2 w2 w17 w40", "w0 w1 w2 w3 w4 w5 w6 w7", "w299 w7", "w250", "late w3", "late"]
PAIRS = [Bm25(k1=1.2, b=0.75), Bm25(k1=0.9, b=0.4)]


def texts(count: int, seed: int = 7) -> list[Document]:
    """Short texts of few words, so that many tie; w0 is in nearly all of them, and every third has a field."""
    drawn = random.Random(seed)
    weights = [1 / (number + 1) for number in range(300)]
    made = (
        drawn.choices([f"w{number}" for number in range(300)], weights, k=drawn.randint(1, 30)) for _ in range(count)
    )
    return [Document(f"d{number}", " ".join(words), "", {"third": number % 3}) for number, words in enumerate(made)]


def add_each(engine: EmbeddedEngine, documents: Sequence[Document]) -> None:
    for document in documents:
        engine.add([document], None)
        engine.commit()


def asked(engine: EmbeddedEngine, k: int, bm25: Bm25) -> list[Ranking]:
    every = by_text(engine, QUERIES, k, bm25=bm25)
    return every + by_text(engine, QUERIES, k, bm25=bm25, filter=parse_filter("third = 1"))


def assert_alike(ours: Sequence[Ranking], theirs: Sequence[Ranking]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.scores == pytest.approx(other.scores, rel=2e-6)
        assert one.ids == other.ids


@pytest.mark.parametrize("bm25", PAIRS, ids=str)
def test_documents_that_came_one_by_one_rank_as_in_an_index_made_at_once(tmp_path: Path, bm25: Bm25) -> None:
    # Longer than the others and with a word of their own, so that every number of the statistics moves.
    late = [Document(f"e{number}", f"late w{number} " * 20, "", {"third": 1}) for number in range(8)]
    early, middle = texts(900)[:890], texts(900)[890:]
    with (
        EmbeddedEngine.create(tmp_path / "one by one", IndexSettings()) as ours,
        EmbeddedEngine.create(tmp_path / "at once", IndexSettings()) as theirs,
    ):
        ours.add(early, None)
        ours.commit()
        add_each(ours, middle + late)
        theirs.add(early + middle + late, None)
        theirs.commit()
        for k in (1, 10, 120):
            assert_alike(asked(ours, k, bm25), asked(theirs, k, bm25))


def test_what_was_replaced_and_deleted_ranks_as_after_the_next_opening(tmp_path: Path) -> None:
    place = tmp_path / "index"
    first, again = texts(300), texts(300, seed=8)
    with EmbeddedEngine.create(place, IndexSettings()) as engine:
        engine.add(first, None)
        engine.commit()
        engine.add([Document("new", "w1 w2 w1"), *again[:5]], None)
        engine.commit()
        engine.add([Document("new", "w1 w5"), again[3]], None)
        engine.delete(["d0", "d200", "d201"])
        engine.commit()
        before = asked(engine, 40, PAIRS[1])
        assert engine.count() == 298
        assert engine.verify() == []
    with EmbeddedEngine.open(place) as engine:
        assert_alike(asked(engine, 40, PAIRS[1]), before)
        assert engine.verify() == []


def test_a_small_commit_writes_the_database_and_many_are_brought_into_the_caches_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "MOST", 5)
    place = tmp_path / "index"

    def caches() -> dict[str, int]:
        return {
            str(path.relative_to(place)): path.stat().st_mtime_ns
            for folder in ("lexical", "forward", "dense")
            for path in (place / folder).glob("*")
        }

    with EmbeddedEngine.create(place, IndexSettings()) as engine:
        engine.add(texts(10), None)
        engine.commit()
        before = caches()
        add_each(engine, [Document(f"e{number}", "late") for number in range(5)])
        assert caches() == before
        add_each(engine, [Document("e5", "late")])
        assert caches() != before
        assert len(by_text(engine, ["late"], 10)[0]) == 6
        before = caches()
        engine.delete(["d1", "e5"])
        engine.commit()
        assert caches() == before
        assert engine.verify() == []
        assert len(by_text(engine, ["late"], 10)[0]) == 5


def test_another_process_finds_what_came_last_and_so_does_the_next_one_after_a_crash(tmp_path: Path) -> None:
    place = tmp_path / "index"
    with EmbeddedEngine.create(place, IndexSettings()) as writer:
        writer.add(texts(50), None)
        writer.commit()
        with EmbeddedEngine.open(place) as reader:
            add_each(writer, [Document("e1", "late w3"), Document("d7", "late")])
            writer.delete(["d8"])
            writer.commit()
            expected = asked(writer, 60, PAIRS[0])
            assert_alike(asked(reader, 60, PAIRS[0]), expected)
        with EmbeddedEngine.open(place) as reader:
            assert_alike(asked(reader, 60, PAIRS[0]), expected)
        shutil.copytree(place, tmp_path / "crashed")
    for _ in range(2):
        with EmbeddedEngine.open(tmp_path / "crashed") as reader:
            assert_alike(asked(reader, 60, PAIRS[0]), expected)
            assert reader.verify() == []


def test_a_reader_that_meets_a_writer_among_its_files_finds_no_document_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tantivy has taken in the tail, and its manifest does not say so yet."""
    place = tmp_path / "index"
    with EmbeddedEngine.create(place, IndexSettings()) as writer:
        writer.add(texts(50), None)
        writer.commit()
        add_each(writer, [Document("e1", "late w3")])
        before = Manifest.read(place / "lexical")
    assert before is not None
    replace(before, clean=False).write(place / "lexical")
    monkeypatch.setattr("hybrid_search.engines.embedded.store.locks.WriterLock.for_checking", lambda *_, **__: None)
    with EmbeddedEngine.open(place) as reader:
        assert by_text(reader, ["late"], 10)[0].ids == ("e1",)
        found = by_text(reader, ["w0 w1 w2 w3 late"], 100)[0].ids
        assert len(found) == len(set(found))


@pytest.mark.parametrize("bm25", PAIRS, ids=str)
def test_documents_that_tie_at_the_cut_are_told_apart_by_id_whatever_better_ones_are_gone(
    tmp_path: Path, bm25: Bm25
) -> None:
    alike = [Document(f"d{number:03}", "apple pear plum") for number in reversed(range(400))]
    gone = [Document(f"gone{number}", "apple") for number in range(20)]
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(bm25=bm25)) as engine:
        engine.add(gone + alike, None)
        engine.commit()
        engine.delete([document.id for document in gone])
        engine.commit()
        [ranking] = by_text(engine, ["apple"], 10)
        assert list(ranking.ids) == [f"d{number:03}" for number in range(10)]
