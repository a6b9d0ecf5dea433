"""How fast does ONNX Runtime encode passages and single queries with the default towers?

Speed does not depend on what the weights have learnt, so the towers are the untrained default over a vocabulary of the
real corpus.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from benchmarks.harness import milliseconds, passages, real_queries, write_result
from hybrid_search.towers.checkpoint import save_checkpoint
from hybrid_search.towers.model_card import ServingDefaults
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.tokenizer import train_tokenizer
from hybrid_search.towers.word_vectors import WordVectors
from hybrid_search.training.recipes import DEFAULT, RECIPES

WORDS = 80


def main() -> None:
    """Encode 8,000 passages of exactly 80 words, then 2,000 queries one at a time."""
    words = " ".join(document.text for document in passages()).split()
    texts = [" ".join(words[at : at + WORDS]) for at in range(0, 8_000 * WORDS, WORDS)]
    queries = real_queries(2_000)
    with tempfile.TemporaryDirectory() as folder:
        model = untrained_model(Path(folder) / "model", texts)
        encoder = OnnxEncoder.load(model)
        encoder.encode_documents(texts[:256])
        started = time.perf_counter()
        encoder.encode_documents(texts)
        seconds = time.perf_counter() - started
        figures = {
            "passages/s (80 words)": round(len(texts) / seconds),
            "one query ms": milliseconds(lambda query: encoder.encode_queries([query]), queries),
            "model MB": round(sum(file.stat().st_size for file in model.iterdir()) / 1e6, 1),
        }
    write_result("encoding", figures, command="python -m benchmarks.encoding")


def untrained_model(folder: Path, texts: list[str]) -> Path:
    """Write a checkpoint of the default recipe's towers with random weights over a vocabulary of the texts."""
    settings = RECIPES[DEFAULT].settings()
    training = settings.training
    tokenizer = train_tokenizer(texts, vocabulary=training.vocabulary, min_frequency=training.min_frequency)
    torch.manual_seed(0)
    towers = TwoTower(settings.towers, tokenizer.vocabulary_size)
    table = towers.query_tower.embedding.weight.detach().numpy()
    counts = torch.ones(tokenizer.vocabulary_size, dtype=torch.int64).numpy()
    save_checkpoint(
        folder, towers, tokenizer, untrained=WordVectors(table, counts), training={}, defaults=ServingDefaults()
    )
    return folder


if __name__ == "__main__":
    main()
