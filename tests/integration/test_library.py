"""The library as a backend uses it: the README's own lines, several readers, a second writer."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from asked import by_vector
from conftest import ROOT, Home

import hybrid_search
from hybrid_search.errors import IndexLocked, IndexNotFound
from hybrid_search.towers.onnx.encoder import OnnxEncoder


@pytest.fixture
def index(home: Home, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(home.index, tmp_path / "index"))


def test_the_readme_s_lines_run_as_they_stand(index: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    code = block.replace("quickstart/index", str(index))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "note-1" in done.stdout


def test_the_training_page_s_lines_run_as_they_stand(home: Home, tmp_path: Path) -> None:
    block, _ = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), flags=re.S)
    shutil.copytree(home.data, tmp_path / "my-data")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "query.onnx").exists()


def test_a_model_s_onnx_file_and_tokenizer_encode_without_this_package_as_the_training_page_says(
    home: Home, tmp_path: Path
) -> None:
    _, block = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), flags=re.S)
    assert "hybrid_search" not in block
    code = f"{block}\nnp.save({str(tmp_path / 'vectors.npy')!r}, vectors)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=home.path, check=False)
    assert done.returncode == 0, done.stderr
    (text,) = re.findall(r'tokenizer\.encode\("(.*?)"', block)
    expected = OnnxEncoder.load(home.model).encode_queries([text])
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), expected, atol=1e-5)


def test_the_example_backend_adds_finds_and_removes_its_notes(index: Path) -> None:
    done = run_example(index, "how often is the signing key rotated")
    assert done.returncode == 0, done.stderr
    mine, theirs = done.stdout.splitlines()
    assert mine.startswith("note-1 ")
    assert mine.endswith("Rotate the signing key every ninety days.")
    assert theirs.startswith("note-2 ")
    with hybrid_search.open(index) as retriever:
        assert retriever.get(["note-1", "note-2"]) == [None, None]


def test_the_example_backend_answers_an_error_with_a_status_and_its_message(tmp_path: Path) -> None:
    missing = run_example(tmp_path / "nowhere", "signing key")
    assert (missing.returncode, missing.stderr[:4]) == (1, "404 ")


def run_example(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "examples" / "backend.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_document_is_found_in_both_legs_as_soon_as_it_was_added(index: Path) -> None:
    with hybrid_search.open(index, writable=True) as retriever:
        report = retriever.add([hybrid_search.Document(id="new", text="A glacier of honey flows downhill at noon.")])
        assert report.added == 1
        for mode in ("bm25", "knn", "hybrid"):
            hits = retriever.search("glacier of honey flows at noon", k=20, mode=mode)
            assert [hit.id for hit in hits].count("new") == 1


def test_a_reader_sees_what_a_writer_commits(index: Path) -> None:
    with hybrid_search.open(index) as reader, hybrid_search.open(index, writable=True) as writer:
        assert not any(hit.id == "late" for hit in reader.search("zeppelin", k=5, mode="bm25"))
        writer.add([hybrid_search.Document(id="late", text="A zeppelin lands.")])
        assert [hit.id for hit in reader.search("zeppelin", k=5, mode="bm25")] == ["late"]


def test_a_second_writer_is_refused_by_the_name_of_the_first(index: Path) -> None:
    with hybrid_search.open(index, writable=True):
        code = f"import hybrid_search; hybrid_search.open({str(index)!r}, writable=True)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert IndexLocked.__name__ in done.stderr
    import os

    assert str(os.getpid()) in done.stderr


def test_no_index_is_said_with_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound, match=r"documents\.sqlite"):
        hybrid_search.open(tmp_path / "nowhere")


def test_the_asynchronous_twin_gives_the_same_hits(index: Path) -> None:
    async def ask() -> list[str]:
        async with hybrid_search.AsyncRetriever(hybrid_search.open(index)) as retriever:
            answers = await asyncio.gather(*(retriever.search("honey in the comb", k=3) for _ in range(8)))
        assert all(answer == answers[0] for answer in answers)
        return [hit.id for hit in answers[0]]

    with hybrid_search.open(index) as retriever:
        assert asyncio.run(ask()) == [hit.id for hit in retriever.search("honey in the comb", k=3)]


def test_a_megabyte_an_emoji_and_a_blank_document_end_well(index: Path) -> None:
    with hybrid_search.open(index, writable=True) as retriever:
        report = retriever.add(
            [
                hybrid_search.Document(id="long", text="gneiss " * 150_000),
                hybrid_search.Document(id="emoji", text="🎻🎻 😀"),
                hybrid_search.Document(id="blank", text="   "),
            ],
            allow_rejected=True,
        )
        assert report.added == 2
        assert report.rejected[0].field == "text"
        assert retriever.search("gneiss", k=1)[0].id == "long"
        assert retriever.get(["emoji", "blank"])[1] is None


def test_swapping_the_towers_changes_the_ranking(home: Home, index: Path) -> None:
    with hybrid_search.open(index) as retriever:
        texts = [document.searchable_text for document in retriever.engine.documents()]
        right = by_vector(retriever.engine, retriever.encode_queries(texts[:20]), 10)
        wrong = by_vector(retriever.engine, retriever.encode_documents(texts[:20]), 10)
    assert [ranking.ids for ranking in right] != [ranking.ids for ranking in wrong]
