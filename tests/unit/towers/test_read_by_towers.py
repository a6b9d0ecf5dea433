"""A text that is cut for the towers, or has no word that they know, is counted and said."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.loading.load import load
from hybrid_search.models import inspect_index, inspect_model
from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
from hybrid_search.towers.coverage import ReadByTowers, pieces_of, read_by_towers
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.tokenizer import TextTokenizer, train_tokenizer
from hybrid_search.training.train import TrainRequest, train
from hybrid_search.types import Document

TOWERS = TowerConfig(
    encoder="mean", dimension=16, embedding_dimension=16, hidden=8, head_hidden=8, max_document_tokens=5
)
CONFIG = TrainConfig(
    batch_size=8, max_steps=8, evaluate_every=4, min_frequency=1, vocabulary=300,
    word_vectors=WordVectorConfig(algorithm="random"),
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return train_tokenizer(["one two three four five six"] * 3, vocabulary=60, min_frequency=1)


def test_documents_that_are_cut_and_those_without_a_known_word_are_counted(tokenizer: TextTokenizer) -> None:
    texts = ["one two three", "one two three four", "", "...", "ж" * 200, "one ж", "six five four three two"]
    read = read_by_towers([Document(str(i), text) for i, text in enumerate(texts)], tokenizer, 3)
    assert read == ReadByTowers(documents=7, longest=3, cut=2, unknown=3)
    assert read.notes() == [
        "2 of 7 documents have more than the 3 tokens that the towers read; what comes after these is found by BM25 "
        "alone",
        "the towers know no word of 3 of 7 documents; they are found by BM25 alone",
    ]
    assert read_by_towers([Document("d", "one two")], tokenizer, 3).notes() == []


@given(st.lists(st.integers(0, 9), max_size=40))
def test_a_document_is_cut_if_it_has_more_words_than_are_read(tokenizer: TextTokenizer, lengths: list[int]) -> None:
    documents = [Document(str(i), " ".join(["two"] * length)) for i, length in enumerate(lengths)]
    read = read_by_towers(documents, tokenizer, 5)
    assert (read.cut, read.unknown) == (sum(n > 5 for n in lengths), sum(n == 0 for n in lengths))


def write(folder: Path, texts: list[str]) -> None:
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    (folder / "documents.jsonl").write_text("\n".join(lines) + "\n")
    queries = [json.dumps({"id": f"q{i}", "text": text}) for i, text in enumerate(texts[:20])]
    (folder / "queries.jsonl").write_text("\n".join(queries) + "\n")
    judged = [f"q{i}\td{i}\t1" for i in range(20)]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(judged) + "\n")


def test_train_load_and_info_say_how_many_documents_are_cut(tmp_path: Path) -> None:
    texts = [" ".join(f"w{i + j}" for j in range(24 if i % 4 == 0 else 20)) for i in range(40)]
    write(tmp_path / "data", texts)
    towers = TOWERS.replace(max_document_tokens=20)
    data = open_dataset("jsonl", tmp_path / "data", reject=print)
    summary = train(data, tmp_path / "model", TrainRequest(towers=towers, config=CONFIG, split="none"))
    assert any("10 of 40 documents have more than the 20 tokens that the towers read" in note for note in summary.notes)
    counted = {"documents": 40, "longest": 20, "cut": 10, "unknown": 0}
    assert inspect_model(tmp_path / "model")["read_by_towers"] == counted
    report = load(data, tmp_path / "index", model=tmp_path / "model")
    assert (report.added, report.cut) == (40, 10)
    assert load(data, tmp_path / "index").cut == 0  # nothing was encoded again
    assert inspect_index(str(tmp_path / "index"))["read_by_towers"] == counted
    pieces = pieces_of(tmp_path / "model")
    cut = open_dataset("jsonl", tmp_path / "data" / "documents.jsonl", reject=print, config="passages", pieces=pieces)
    report = load(cut, tmp_path / "passages", model=tmp_path / "model")
    assert (report.added, report.cut) == (50, 0)


@pytest.mark.parametrize("letters", ["acgt", "搜索引擎", "🎉🎈"])
def test_towers_of_a_corpus_without_a_word_know_nothing_and_say_so(tmp_path: Path, letters: str) -> None:
    draw = random.Random(0)
    write(tmp_path / "data", ["".join(draw.choices(letters, k=150)) for _ in range(40)])
    data = open_dataset("jsonl", tmp_path / "data", reject=print)
    summary = train(data, tmp_path / "model", TrainRequest(towers=TOWERS, config=CONFIG))
    assert summary.vocabulary_size == 2
    assert any(note.endswith("searching is by BM25 alone") for note in summary.notes)
    assert not OnnxEncoder.load(tmp_path / "model").encode_documents(["".join(letters * 40)]).any()
    assert load(data, tmp_path / "index", model=tmp_path / "model").documents == 40
    with EmbeddedEngine.open(tmp_path / "index") as engine:
        assert engine.count() == 40
