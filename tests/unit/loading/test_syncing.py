"""Documents that left the data set leave the index: never more of them than is certain."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

import hybrid_search
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import UsageError
from hybrid_search.loaders.intake import Intake
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.loading.load import LoadOptions
from hybrid_search.loading.sources import Corpus, in_types
from hybrid_search.loading.sync import Present, Synced, load_in_sync
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document


class Asked:
    """Agrees, or not, and remembers what it was asked."""

    def __init__(self, *, agrees: bool) -> None:
        self.questions: list[tuple[int, int]] = []
        self._agrees = agrees

    def __call__(self, count: int, before: int) -> bool:
        self.questions.append((count, before))
        return self._agrees


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of the documents d0 to d19."""
    folder = tmp_path / "index"
    with closing(EmbeddedEngine.create(folder, IndexSettings())) as engine:
        engine.add([Document(f"d{number}", f"text {number}") for number in range(20)], None)
        engine.commit()
    return folder


def ids(index: Path) -> set[str]:
    with closing(EmbeddedEngine.open(index)) as engine:
        return {document.id for document in engine.documents()}


def numbered(numbers: Sequence[int] | range) -> set[str]:
    return {f"d{number}" for number in numbers}


def synced(index: Path, lines: Sequence[str], asked: Asked | None = None) -> Synced:
    """Synchronise the index with a file of JSON lines."""
    file = index.parent / "documents.jsonl"
    file.write_text("".join(line + "\n" for line in lines))
    reject = Intake(lambda rejection: None)
    dataset = open_dataset("jsonl", file, reject=reject)
    options = LoadOptions(lexical_only=True)
    return load_in_sync(dataset, index, reject=reject, options=options, may_remove=asked or Asked(agrees=False))


def lines(numbers: Sequence[int] | range) -> list[str]:
    return [json.dumps({"id": f"d{number}", "text": f"text {number}"}) for number in numbers]


def test_what_left_the_data_set_leaves_the_index_and_what_is_new_comes(index: Path) -> None:
    done = synced(index, lines(range(2, 22)))
    assert (done.removed, done.not_synced) == (2, "")
    assert (done.load.added, done.load.unchanged, done.load.documents) == (2, 18, 20)
    assert ids(index) == numbered(range(2, 22))


def test_the_library_synchronises_as_the_command_does(index: Path) -> None:
    def in_sync(lines: Sequence[str]) -> Synced:
        file = index.parent / "documents.jsonl"
        file.write_text("".join(line + "\n" for line in lines))
        with hybrid_search.rejecting(index.parent / "rejected", allow=hybrid_search.Allowance.parse("1")) as reject:
            data = hybrid_search.open_dataset("jsonl", file, reject=reject)
            return hybrid_search.load_in_sync(data, index, reject=reject)

    unread = in_sync([*lines(range(2, 22)), "{broken"])
    assert unread.removed == 0
    assert unread.not_synced.startswith("1 of the data set's records could not be read")
    done = in_sync(lines(range(2, 22)))
    assert (done.removed, done.not_synced, done.load.documents) == (2, "", 20)
    assert ids(index) == numbered(range(2, 22))


def test_nothing_is_synchronised_without_knowing_what_could_not_be_read(index: Path) -> None:
    data = Corpus("data", lambda: iter([Document("d1", "text 1")]))
    with pytest.raises(UsageError, match=r"does not count what could not be read; open the data set with"):
        hybrid_search.load_in_sync(data, index, reject=print)  # type: ignore[arg-type]
    assert ids(index) == numbered(range(20))


def test_a_removal_of_more_than_a_tenth_is_asked_for_with_its_size(index: Path) -> None:
    asked = Asked(agrees=False)
    refused = synced(index, lines(range(3, 20)), asked)
    assert asked.questions == [(3, 20)]
    assert (refused.removed, refused.not_synced) == (0, "3 of 20 documents would be removed, more than a tenth")
    assert ids(index) == numbered(range(20))
    assert synced(index, lines(range(3, 20)), Asked(agrees=True)).removed == 3
    assert ids(index) == numbered(range(3, 20))


def test_another_data_set_does_not_hide_how_much_it_would_remove_by_its_size(index: Path) -> None:
    asked = Asked(agrees=False)
    synced(index, lines(range(100, 1_000)), asked)
    assert asked.questions == [(20, 20)]
    assert numbered(range(20)) < ids(index)


def test_a_record_that_could_not_be_read_keeps_everything(index: Path) -> None:
    done = synced(index, [*lines(range(2, 20)), '{"id": "d1", "text": "text'], Asked(agrees=True))
    assert done.removed == 0
    assert done.not_synced.startswith("1 of the data set's records could not be read")
    assert ids(index) == numbered(range(20))


def test_a_document_that_only_the_index_refuses_was_read(index: Path) -> None:
    typed = [json.dumps({"id": f"d{n}", "text": f"text {n}", "metadata": {"year": 2_000 + n}}) for n in range(2, 19)]
    wrong = json.dumps({"id": "d19", "text": "text 19", "metadata": {"year": "long ago"}})
    done = synced(index, [*typed, wrong])
    assert (done.load.rejected, done.removed) == (1, 2)
    assert ids(index) == numbered(range(2, 20))  # the d19 that was there before stays


def test_a_data_set_that_breaks_off_removes_nothing(index: Path) -> None:
    def documents() -> Iterator[Document]:
        yield Document("d0", "text 0")
        raise OSError("the share is gone")

    with pytest.raises(OSError, match="the share is gone"):
        load_in_sync(Corpus("broken", documents), index, reject=Intake(print), may_remove=Asked(agrees=True))
    assert ids(index) == numbered(range(20))


def test_a_data_set_without_a_document_empties_no_index(index: Path) -> None:
    done = load_in_sync(Corpus("none", lambda: iter(())), index, reject=Intake(print), may_remove=Asked(agrees=True))
    assert (done.removed, done.not_synced) == (0, "the data set gave no document")
    assert ids(index) == numbered(range(20))


def test_a_new_index_is_made_and_nothing_is_asked(tmp_path: Path) -> None:
    asked = Asked(agrees=False)
    done = synced(tmp_path / "new", lines(range(3)), asked)
    assert (done.load.added, done.removed, done.not_synced, asked.questions) == (3, 0, "", [])


def test_an_index_to_be_built_anew_needs_no_synchronisation(index: Path) -> None:
    with pytest.raises(UsageError, match="sync and recreate contradict one another"):
        load_in_sync(Corpus("x", lambda: iter(())), index, reject=Intake(print), options=LoadOptions(recreate=True))


def test_ids_are_known_once_the_stream_has_ended() -> None:
    present = Present()
    stream = present.watching(iter([Document("a", "x"), Document("ü", "y")]))
    next(stream)
    assert not present.is_complete
    assert list(stream) == [Document("ü", "y")]
    assert present.is_complete
    assert present.absent(iter(["b", "a", "ü", "u"])) == ["b", "u"]
    assert Present().absent(iter(["b"])) == ["b"]


def test_what_is_absent_among_many_is_told_without_sorting_all_of_them_for_each_thousand() -> None:
    present = Present()
    list(present.watching(Document(f"d{number}", "x") for number in range(200_000)))
    began = time.process_time()
    assert present.absent(f"d{number}" for number in range(0, 300_000, 3)) == [
        f"d{n}" for n in range(200_001, 300_000, 3)
    ]
    assert time.process_time() - began < 10  # a second; sorting for each thousand took thirty


def test_what_could_not_be_read_goes_too_if_that_is_wanted(index: Path) -> None:
    file = index.parent / "documents.jsonl"
    file.write_text("\n".join([*lines(range(1, 20)), '{"id": "d0", "text": "text']) + "\n")
    reject = Intake(lambda rejection: None)
    done = load_in_sync(open_dataset("jsonl", file, reject=reject), index, reject=reject, despite_rejected=True)
    assert (done.removed, done.not_synced) == (1, "")
    assert ids(index) == numbered(range(1, 20))


def test_values_of_metadata_are_read_as_the_types_that_were_declared() -> None:
    metadata = {"year": "2024", "price": "9.5", "new": "True", "code": 7, "odd": "x", "tags": ("a",), "other": "3"}
    types = {"year": "long", "price": "double", "new": "boolean", "code": "keyword", "odd": "long", "tags": "keyword"}
    [made] = in_types(iter([Document("a", "text", metadata=metadata)]), types)
    assert made.metadata == {
        "year": 2024, "price": 9.5, "new": True, "code": "7", "odd": "x", "tags": ("a",), "other": "3"
    }  # fmt: skip
