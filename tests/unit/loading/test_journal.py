"""The journal of a load: its form on the disk, what it fits, that one process has it."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import pytest

from hybrid_search.errors import DataError, IndexLocked, UsageError
from hybrid_search.loading.journal import Digest, Journal
from hybrid_search.types import Document


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path))
    return Journal("opensearch://h:9200/a", "jsonl /data")


def digest_of(*documents: Document) -> Digest:
    digest = Digest()
    for document in documents:
        digest.add(document)
    return digest


def test_it_lies_in_the_cache_and_has_this_form(journal: Journal, tmp_path: Path) -> None:
    journal.write(journal.begun("uuid", checked=True), now=True)
    assert journal.path.parent == tmp_path / "loads"
    assert json.loads(journal.path.read_text()) == {
        "format_version": 1, "location": "opensearch://h:9200/a", "dataset": "jsonl /data", "index": "uuid",
        "documents": 0, "digest": "", "added": 0, "unchanged": 0, "rejected": 0, "checked": True,
    }  # fmt: skip


def test_another_location_or_data_set_has_another_journal(journal: Journal) -> None:
    others = [Journal("opensearch://h:9200/b", "jsonl /data"), Journal("opensearch://h:9200/a", "jsonl /other")]
    assert len({journal.path, *(other.path for other in others)}) == 3


def test_it_is_written_now_and_then_and_read_back(journal: Journal) -> None:
    entry = journal.begun("uuid", checked=False)
    journal.write(entry)
    journal.write(entry.__class__(location="x", dataset="y", index="z"))  # too soon after the first
    assert journal.read() == entry == journal.resumed("uuid")
    journal.remove()
    assert journal.read() is None
    assert journal.resumed("uuid") is None


def test_a_journal_of_an_index_that_is_gone_is_refused(journal: Journal) -> None:
    journal.write(journal.begun("uuid", checked=False), now=True)
    with pytest.raises(UsageError, match=r"of an index opensearch://h:9200/a that is gone.*without `resume`"):
        journal.resumed("other")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "can't be read"), ('{"format_version": 2, "location": "", "dataset": "", "index": ""}', "has format 2")],
)
def test_a_journal_that_is_damaged_or_newer_is_refused(journal: Journal, content: str, message: str) -> None:
    journal.path.parent.mkdir()
    journal.path.write_text(content)
    with pytest.raises(UsageError, match=message):
        journal.read()


def test_the_data_set_must_begin_with_the_same_documents(journal: Journal) -> None:
    one, two = Document("a", "x"), Document("b", "y", "t", {"n": 1})
    entry = journal.begun("uuid", checked=False)
    entry = entry.__class__(**{**_fields(entry), "documents": 2, "digest": digest_of(one, two).value})
    journal.check_same(entry, 2, digest_of(one, two))
    for seen, digest in [
        (1, digest_of(one)),
        (2, digest_of(two, one)),
        (2, digest_of(one, Document("b", "y", "t", {"n": 2}))),
    ]:
        with pytest.raises(DataError, match=r"first 2 documents are not those that were loaded"):
            journal.check_same(entry, seen, digest)


def test_texts_that_are_no_unicode_have_a_digest_too() -> None:
    assert digest_of(Document("a", "\ud800")).value != digest_of(Document("a", "")).value


def test_one_process_at_a_time(journal: Journal) -> None:
    with (
        journal.locked(),
        pytest.raises(IndexLocked, match="another process is loading this data set"),
        Journal("opensearch://h:9200/a", "jsonl /data").locked(),
    ):
        pass


def _fields(entry: object) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}  # type: ignore[attr-defined]


def test_a_load_leaves_no_lock_and_clears_away_those_of_killed_ones(journal: Journal) -> None:
    folder = journal.path.parent
    folder.mkdir()
    (folder / "0123456789abcdef.lock").touch()  # killed before it had acknowledged anything
    (folder / "fedcba9876543210.lock").touch()
    (folder / "fedcba9876543210.json").write_text("{}")  # may be resumed
    other = Journal("opensearch://h:9200/other", "jsonl /data")
    with other.locked(), journal.locked():
        assert journal.path.with_suffix(".lock").exists()
        assert other.path.with_suffix(".lock").exists()
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["fedcba9876543210.json", "fedcba9876543210.lock", "guard.lock"]


def test_of_many_threads_one_at_a_time_has_the_lock_although_each_removes_it(journal: Journal) -> None:
    inside: list[int] = []
    most: list[int] = []

    def load(number: int) -> None:
        for _ in range(30):
            with contextlib.suppress(IndexLocked), Journal("opensearch://h:9200/a", "jsonl /data").locked():
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) > 30
    assert set(most) == {1}
