"""The arms of the study ``claims``: each differs from the base in one thing.

Steps are fixed per arm, so that a second run does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig

__all__ = ["BASE", "BASE_ARM", "CLAIMS", "WORD_VECTORS", "Arm", "Study"]

BASE = "base"
WORD_VECTORS = WordVectorConfig(algorithm="cbow", epochs=15, window=8)

TOWERS = TowerConfig(
    encoder="mean", dimension=128, embedding_dimension=128, hidden=64, max_document_tokens=96, dropout=0.0
)
TRAINING = TrainConfig(
    max_steps=300, batch_size=32, self_supervised=1.0, embedding_learning_rate=3e-3, residual_share=1.0,
    vocabulary=30_000, validation_share=0.0, patience=0, max_samples=10_000, word_vectors=WORD_VECTORS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train.

    :ivar question: the claim it belongs to.
    :ivar about: what differs from the base, for the table.
    :ivar towers: of :class:`TowerConfig`, likewise ``training`` of :class:`TrainConfig`.
    :ivar pairs: how many labelled pairs; 0 for pairs out of documents (title or first sentence, and the rest).
    :ivar start: the word vectors, ``word2vec`` or ``random``.
    :ivar refreshed: hard negatives of the second half come from the base arm's own ranking.
    :ivar hybrid: measure the fusion with BM25 too, with the best of the weights tried.
    :ivar gone: measured when there was such a thing; not trained again.
    :ivar cut: that many numbers of the trained vectors are measured, the first ones; 0 for all.
    """

    question: str
    about: str
    towers: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    pairs: int = 10_000
    start: str = "word2vec"
    refreshed: bool = False
    hybrid: bool = False
    gone: bool = False
    cut: int = 0

    def settings(self, seed: int) -> tuple[TowerConfig, TrainConfig]:
        """Return the settings of a run."""
        return TOWERS.replace(**self.towers), TRAINING.replace(**self.training, seed=seed)


@dataclass(frozen=True, slots=True)
class Study:
    """Arms that are measured and written down together.

    :ivar name: of the file of results and of the page.
    :ivar references: what a question's arms are compared with, if not the base.
    """

    name: str
    arms: Mapping[str, Arm]
    references: Mapping[str, str]


BASE_ARM = Arm("", "weighted mean, shared table, fine-tuned word2vec, InfoNCE, one BM25 negative, 10,000 pairs")


def _net(about: str, steps: int, **towers: Any) -> Arm:
    settings = {"residual": False, "bidirectional": False, **towers}
    return Arm("encoder", about, towers=settings, training={"max_steps": steps, "residual_share": 0.0})


ARMS: Mapping[str, Arm] = {
    BASE: BASE_ARM,
    "untrained": Arm("word vectors", "word2vec, nothing trained", training={"max_steps": 1, "learning_rate": 1e-9,
                                                                    "embedding_learning_rate": 1e-9}),
    "long": Arm("encoder", "weighted mean, 600 steps", training={"max_steps": 600}),
    "longer": Arm(
        "encoder", "weighted mean, 1,200 steps (the time of the nets below)",
        training={"max_steps": 1_200, "epochs": 40},
    ),
    "rnn": _net("RNN", 500, encoder="rnn"),
    "gru": _net("GRU", 280, encoder="gru"),
    "lstm": _net("LSTM", 350, encoder="lstm"),
    "bigru": _net("BiGRU", 130, encoder="gru", bidirectional=True),
    "bigru_residual": _net("weighted mean + BiGRU", 130, encoder="gru", bidirectional=True, residual=True),
    "bigru_late": Arm(
        "encoder", "weighted mean for 400 steps, then + BiGRU", towers={"encoder": "gru", "bidirectional": True},
        training={"max_steps": 445, "residual_share": 0.9},
    ),
    "tied": Arm("sharing", "one network for both sides", towers={"towers": "tied"}),
    "separate": Arm("sharing", "nothing shared", towers={"towers": "separate"}),
    "frozen": Arm("word vectors", "word2vec, frozen", training={"frozen_steps": -1}),
    "random": Arm("word vectors", "random, fine-tuned", start="random"),
    "triplet_given": Arm(
        "loss", "triplet (margin .2), the BM25 negative", training={"loss": "triplet", "triplet_mining": "given"}
    ),
    "triplet_hard": Arm(
        "loss", "triplet (margin .2), the hardest of the batch",
        training={"loss": "triplet", "triplet_mining": "batch_hard"},
    ),
    "infonce": Arm("loss", "InfoNCE, as the base", hybrid=True),
    "contrastive": Arm("loss", "contrastive (margin .5)", training={"loss": "contrastive", "margin": 0.5}, hybrid=True),
    "residual": Arm("loss", "residual (CLEAR; margin .2, BM25 weighs .02), taken away since", gone=True),
    "residual_clear": Arm("loss", "residual (CLEAR; margin 1, BM25 weighs .1), taken away since", gone=True),
    "no_negatives": Arm("negatives", "in-batch ones alone", training={"hard_negatives": 0}),
    "random_negatives": Arm("negatives", "one random", training={"negatives": ((0.0, {"random": 1.0}),)}),
    "refreshed": Arm(
        "negatives", "one BM25, then one of the base's own ranking", refreshed=True,
        training={"negatives": ((0.0, {"bm25": 1.0}), (0.5, {"dense": 1.0}))},
    ),
    "pairs_0": Arm("pairs", "0 (pairs out of documents alone)", pairs=0),
    "pairs_100": Arm("pairs", "100", pairs=100),
    "pairs_1000": Arm("pairs", "1,000", pairs=1_000),
}  # fmt: skip

CLAIMS = Study("claims", ARMS, {"encoder": "longer"})
