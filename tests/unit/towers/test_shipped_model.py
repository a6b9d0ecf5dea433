"""The general English model that comes with the package: whole, small, and it reads."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import hybrid_search
from hybrid_search import Document, LoadOptions
from hybrid_search.cli import cli
from hybrid_search.loading.sources import Corpus
from hybrid_search.loading.target import NewIndex
from hybrid_search.models import inspect_model
from hybrid_search.opening import create_index
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.onnx.packed import check_packed, pack_tower, sample_texts
from hybrid_search.towers.shipped import default_model
from hybrid_search.towers.tokenizer import TextTokenizer

DOCUMENTS = (
    "A physician treats illnesses and injuries of people.",
    "The automobile needs petrol and four wheels to move along a road.",
    "Bread rises because yeast makes gas in the dough.",
    "Interest rates set by the central bank make borrowing dearer.",
)
QUESTIONS = (
    "who do I see when I feel sick",
    "what does a car run on",
    "why does a loaf get bigger before baking",
    "cost of loans",
)


@pytest.fixture(scope="module")
def folder() -> Path:
    found = default_model()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Iterator[OnnxEncoder]:
    return OnnxEncoder.load(folder)


def test_it_is_at_most_sixteen_megabytes_and_every_file_is_what_was_written(folder: Path) -> None:
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 16_000_000
    described = inspect_model(folder)
    assert described["tower"]["encoder"] == "rec"
    assert described["defaults"]["weigh"] is True


def test_questions_find_their_answers_with_hardly_a_word_in_common(encoder: OnnxEncoder) -> None:
    scores = encoder.encode_queries(QUESTIONS) @ encoder.encode_documents(DOCUMENTS).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_the_order_of_words_matters_to_it(encoder: OnnxEncoder) -> None:
    one, other = encoder.encode_documents(["the dog bites the man on the leg", "the man bites the leg on the dog"])
    assert one @ other < 0.999


def test_a_language_that_it_does_not_know_does_no_harm(encoder: OnnxEncoder) -> None:
    vectors = encoder.encode_documents(["漢字かな", "", "zzxqv blorp", "🦀"])
    assert np.isfinite(vectors).all()
    assert set(np.linalg.norm(vectors, axis=1).round(3).tolist()) <= {0.0, 1.0}


def test_packed_for_a_server_it_gives_the_same_vectors(folder: Path, encoder: OnnxEncoder) -> None:
    texts = [*sample_texts(TextTokenizer.from_file(folder / "tokenizer.json"))[:60], *DOCUMENTS]
    assert check_packed(pack_tower(folder, "document"), encoder, texts) > 0.9999


def test_its_name_is_enough_to_show_it(encoder: OnnxEncoder) -> None:
    shown = CliRunner().invoke(cli, ["info", "en", "--format", "json"])
    assert json.loads(shown.output)["fingerprint"] == encoder.fingerprint


def test_without_a_word_of_a_model_an_index_has_its_vectors(tmp_path: Path) -> None:
    data = Corpus("answers", lambda: iter([Document(f"d{n}", text) for n, text in enumerate(DOCUMENTS)]))
    report = hybrid_search.load(data, tmp_path / "index")
    assert report.added == 4
    assert (report.weights, report.weighed_by) == ((0.5, 0.5), 0)  # too few to make queries of
    assert report.not_weighed == "fewer than 30 queries can be made of the documents"
    with hybrid_search.open(tmp_path / "index") as retriever:
        found = [retriever.search(text, k=1, mode="knn")[0].id for text in QUESTIONS]
    assert found == ["d0", "d1", "d2", "d3"]


def test_a_load_that_ended_before_the_towers_were_stored_is_mended_by_the_same_load(
    folder: Path, tmp_path: Path
) -> None:
    at = tmp_path / "index"
    create_index(at, NewIndex.prepared(folder, LoadOptions()).settings).close()
    report = hybrid_search.load(Corpus("one", lambda: iter([Document("a", DOCUMENTS[0])])), at)
    assert report.documents == 1
    with hybrid_search.open(at) as retriever:
        assert retriever.search(QUESTIONS[0], mode="knn")[0].id == "a"


def of_ids(draw: random.Random) -> list[list[str]]:
    """Documents of 20 random ids each."""
    return [["".join(draw.choices("0123456789abcdef", k=12)) for _ in range(20)] for _ in range(60)]


def in_a_made_up_language(draw: random.Random) -> list[list[str]]:
    """Documents of four sentences of eight words, out of two hundred words of no language."""
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    words = ["".join(draw.choices(syllables, k=4)) for _ in range(200)]
    return [[f"{word}." if place % 8 == 7 else word for place, word in enumerate(draw.choices(words, k=32))]
            for _ in range(60)]  # fmt: skip


@pytest.mark.parametrize("made", [of_ids, in_a_made_up_language])
def test_where_it_can_t_help_it_does_no_harm_and_load_says_what_it_saw(
    made: Callable[[random.Random], list[list[str]]], tmp_path: Path
) -> None:
    draw = random.Random(0)
    texts = made(draw)
    (data := tmp_path / "data").mkdir()
    lines = [json.dumps({"id": f"d{number}", "text": " ".join(words)}) for number, words in enumerate(texts)]
    (data / "documents.jsonl").write_text("\n".join(lines) + "\n")
    ran = CliRunner().invoke(cli, ["load", "jsonl", "--path", str(data), "--to", str(tmp_path / "index")])
    assert ran.exit_code == 0, ran.output
    assert re.search(r"The towers read \d\d+% of the words of the first texts in pieces", ran.output), ran.output
    assert "BM25 has 0.90 of the weight and k-NN 0.10." in ran.output
    asked = [" ".join(word.strip(".") for word in draw.sample(words, 3)) for words in texts]
    with hybrid_search.open(tmp_path / "index") as retriever:
        right = {}
        for mode in ("bm25", "hybrid"):
            found = retriever.search_many(asked, 1, mode=mode)
            right[mode] = sum(hits[0].id == f"d{number}" for number, hits in enumerate(found))
    assert right["hybrid"] >= right["bm25"] - 3
    assert right["bm25"] >= 50


@pytest.mark.parametrize("file", ["query.onnx", "document.onnx"])
def test_its_graphs_read_the_rows_of_a_matrix_from_the_file_of_weights(folder: Path, file: str) -> None:
    constants = onnx.load(str(folder / file), load_external_data=False).graph.initializer
    matrices = [tensor for tensor in constants if tensor.name.endswith(".matrix")]
    assert matrices
    assert [tensor.name for tensor in matrices if not tensor.external_data] == []
