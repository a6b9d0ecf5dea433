"""Models without training: random towers, saved as a training run saves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.checkpoint import save_checkpoint
from hybrid_search.towers.model_card import ServingDefaults
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.towers.tokenizer import train_tokenizer
from hybrid_search.towers.word_vectors import WordVectors

__all__ = ["make_cross_encoder", "make_model"]

_CONFIG = TowerConfig(hidden=8, dimension=16, embedding_dimension=16, head_hidden=8, dropout=0.0)


def make_model(folder: Path, texts: Sequence[str], *, seed: int) -> Path:
    """Write a checkpoint that knows the words of the texts; other seeds give other vectors."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(texts, vocabulary=2_000, min_frequency=1)
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((tokenizer.vocabulary_size, 16)).astype(np.float32)
    vectors[0] = 0
    counts = random.integers(1, 50, tokenizer.vocabulary_size)
    towers = TwoTower(_CONFIG, tokenizer.vocabulary_size, counts=counts).eval()
    untrained = WordVectors(vectors, counts)
    save_checkpoint(folder, towers, tokenizer, untrained=untrained, training={}, defaults=ServingDefaults())
    return folder


def make_cross_encoder(folder: Path, *, labels: int = 1) -> Path:
    """Write a cross-encoder of random weights that knows single letters; without labels a bare encoder.

    Needs the extra ``rerank``.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    letters = [chr(number) for number in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, num_labels=labels, initializer_range=1.0,
    )  # fmt: skip
    (BertForSequenceClassification if labels else BertModel)(config).eval().save_pretrained(folder)
    return folder
