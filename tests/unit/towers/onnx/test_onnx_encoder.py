"""Encoding without torch: the same vectors as torch gives, alone or in a batch, with the tower that was asked for."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tiny_towers import TEXTS, small_config, small_towers

from hybrid_search.errors import UsageError
from hybrid_search.towers.checkpoint import load_towers, save_checkpoint
from hybrid_search.towers.model_card import ServingDefaults
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.onnx.export import TOLERANCE, check_export, export_tower
from hybrid_search.towers.padding import pad_ids
from hybrid_search.towers.tokenizer import TextTokenizer
from hybrid_search.towers.word_vectors import WordVectors

SHAPES = [
    *itertools.product(["rnn", "gru", "lstm", "rec"], [False, True], [1, 2]),
    *itertools.product(["mean", "cnn"], [False], [1, 2]),
]


@pytest.mark.parametrize(("encoder", "bidirectional", "layers"), SHAPES)
def test_every_encoder_computes_the_same_in_onnx(
    tmp_path: Path, encoder: str, bidirectional: bool, layers: int
) -> None:
    pooling = "last" if layers == 1 else "attention"
    config = small_config(encoder=encoder, bidirectional=bidirectional, layers=layers, pooling=pooling)
    tower = small_towers(config).query_tower
    export_tower(tower, tmp_path / "tower.onnx", {})
    assert check_export(tower, tmp_path / "tower.onnx", 30) <= TOLERANCE


@pytest.mark.parametrize("pooling", ["mean", "max", "idf"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_every_pooling_computes_the_same_in_onnx(tmp_path: Path, pooling: str, similarity: str) -> None:
    tower = small_towers(small_config(pooling=pooling, similarity=similarity, head_layers=2)).query_tower
    export_tower(tower, tmp_path / "tower.onnx", {})
    assert check_export(tower, tmp_path / "tower.onnx", 30) <= TOLERANCE


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("pooling", ["idf", "mean"])
@pytest.mark.parametrize("adapted", [False, True])
def test_a_tower_of_queries_computes_the_same_in_few_operators(
    tmp_path: Path, layers: int, pooling: str, adapted: bool
) -> None:
    similarity = "cosine" if pooling == "idf" else "dot"
    config = small_config(
        encoder="rec", layers=layers, pooling=pooling, similarity=similarity, residual=False, adapted=adapted,
        bidirectional=False,
    )  # fmt: skip
    tower = small_towers(config).query_tower
    export_tower(tower, tmp_path / "tower.onnx", {})
    assert check_export(tower, tmp_path / "tower.onnx", 30) <= TOLERANCE
    operators = [node.op_type for node in onnx.load(tmp_path / "tower.onnx").graph.node]
    assert len([name for name in operators if name != "Constant"]) <= 32 + 26 * layers + 5 * adapted
    assert operators.count("Scan") == layers


def test_vectors_are_those_of_torch(checkpoint: Path) -> None:
    towers, tokenizer, _ = load_towers(checkpoint)
    encoder = OnnxEncoder.load(checkpoint)
    ids = torch.from_numpy(pad_ids(tokenizer.encode(TEXTS, 160)))
    with torch.no_grad():
        np.testing.assert_allclose(encoder.encode_queries(TEXTS), towers.encode_queries(ids).numpy(), atol=1e-5)
        np.testing.assert_allclose(encoder.encode_documents(TEXTS), towers.encode_documents(ids).numpy(), atol=1e-5)


def test_a_text_has_one_vector_alone_and_in_a_batch_of_any_lengths(checkpoint: Path) -> None:
    encoder = OnnxEncoder.load(checkpoint, threads=2)
    texts = [" ".join(TEXTS[:count]) for count in (1, 8, 3, 5)] * 60 + ["", "жизнь"]
    batch = encoder.encode_documents(texts)
    alone = np.concatenate([encoder.encode_documents([text]) for text in texts])
    np.testing.assert_allclose(batch, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "pooling"),
    [
        ("gru", "mean"),
        ("gru", "attention"),
        ("lstm", "last"),
        ("rnn", "max"),
        ("rec", "idf"),
        ("cnn", "mean"),
        ("mean", "idf"),
    ],
)
def test_a_text_has_one_vector_to_the_last_bit_whatever_it_is_encoded_with(
    tmp_path: Path, tokenizer: TextTokenizer, encoder: str, pooling: str
) -> None:
    """The vector alone is the right one: of texts of 1 to 40 tokens, in batches of many sizes and orders."""
    both_ways = encoder in ("gru", "lstm", "rnn", "rec")
    sizes = {"hidden": 48, "dimension": 64, "embedding_dimension": 64, "head_hidden": 50, "max_document_tokens": 40}
    config = small_config(encoder=encoder, bidirectional=both_ways, pooling=pooling, **sizes)
    towers = TwoTower(config, tokenizer.vocabulary_size, counts=np.ones(tokenizer.vocabulary_size, int)).eval()
    untrained = WordVectors(
        np.zeros((tokenizer.vocabulary_size, 64), np.float32), np.ones(tokenizer.vocabulary_size, int)
    )
    save_checkpoint(tmp_path / "model", towers, tokenizer, untrained=untrained, training={}, defaults=ServingDefaults())
    encode = OnnxEncoder.load(tmp_path / "model", threads=2).encode_documents
    words = " ".join(TEXTS).split()
    chance = random.Random(2)
    texts = [" ".join(chance.choices(words, k=chance.randrange(1, 41))) for _ in range(120)]
    alone = {text: encode([text])[0].tobytes() for text in texts}
    for size in (120, 2, 3, 17, 64):
        chance.shuffle(texts)
        together = encode(texts[:size])
        assert [vector.tobytes() for vector in together] == [alone[text] for text in texts[:size]]


def test_a_query_and_a_document_of_one_text_come_from_different_towers(checkpoint: Path) -> None:
    encoder = OnnxEncoder.load(checkpoint)
    queries, documents = encoder.encode_queries(TEXTS), encoder.encode_documents(TEXTS)
    assert np.abs(queries - documents).max(axis=1).min() > 1e-3


def test_queries_and_documents_are_cut_at_their_own_lengths(checkpoint: Path) -> None:
    encoder = OnnxEncoder.load(checkpoint)
    beginning = " ".join(["cat"] * 32)
    longer = beginning + " engine" * 40
    assert np.array_equal(encoder.encode_queries([beginning]), encoder.encode_queries([longer]))
    assert not np.allclose(encoder.encode_documents([beginning]), encoder.encode_documents([longer]))


@pytest.mark.parametrize("texts", [[""], ["жизнь", "  ", "😀"], ["r" * 500]])
def test_a_text_without_a_known_word_is_the_zero_vector(checkpoint: Path, texts: list[str]) -> None:
    encoder = OnnxEncoder.load(checkpoint)
    assert not encoder.encode_queries(texts).any()
    assert not encoder.encode_documents(texts).any()


def test_no_texts_give_no_rows(checkpoint: Path) -> None:
    assert OnnxEncoder.load(checkpoint).encode_documents([]).shape == (0, 8)


def test_a_text_of_a_megabyte_is_cut_and_encoded(checkpoint: Path) -> None:
    vectors = OnnxEncoder.load(checkpoint).encode_documents(["the cat chases " * 70_000, "the cat"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_threads_may_share_an_encoder(checkpoint: Path) -> None:
    encoder = OnnxEncoder.load(checkpoint)
    wanted = encoder.encode_queries(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: encoder.encode_queries([text])[0], TEXTS * 20))
    np.testing.assert_allclose(found, np.tile(wanted, (20, 1)), atol=1e-5)


def test_the_encoder_says_what_it_is(checkpoint: Path) -> None:
    encoder = OnnxEncoder.load(checkpoint)
    assert (encoder.dimension, encoder.similarity) == (8, "cosine")
    assert encoder.fingerprint == encoder.card.fingerprint


def test_encoding_needs_no_training_library(checkpoint: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from hybrid_search.towers.onnx.encoder import OnnxEncoder\n"
        "from hybrid_search.towers.untrained import UntrainedEncoder\n"
        "folder = Path(sys.argv[1])\n"
        "OnnxEncoder.load(folder).encode_queries(['the cat'])\n"
        "UntrainedEncoder.load(folder).encode_queries(['the cat'])\n"
        "sys.exit(','.join({'torch', 'gensim', 'scipy', 'datasets'} & set(sys.modules)) or 0)\n"
    )
    root = Path(__file__).parents[4]
    result = subprocess.run(
        [sys.executable, "-c", program, str(checkpoint)], cwd=root, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("threads", [-1, 1_025, 1.5, "2"])
def test_a_number_of_threads_that_none_can_be_is_refused_at_once(checkpoint: Path, threads: Any) -> None:
    with pytest.raises(UsageError, match=r"threads is .*; give 0 \(one per core\) to 1,024"):
        OnnxEncoder.load(checkpoint, threads=threads)
