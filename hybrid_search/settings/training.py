"""Settings of the towers and of their training, stored in every checkpoint."""

from __future__ import annotations

from typing import Literal, get_args

from hybrid_search.settings.base import Setting, require
from hybrid_search.settings.index import Similarity

__all__ = [
    "EncoderKind",
    "LossKind",
    "NegativeSource",
    "Pooling",
    "RefreshLoss",
    "TowerConfig",
    "TowerSharing",
    "TrainConfig",
    "TripletMining",
    "WordVectorConfig",
]

EncoderKind = Literal["mean", "rnn", "gru", "lstm", "cnn", "transformer"]
Pooling = Literal["last", "mean", "max", "attention", "idf"]
TowerSharing = Literal["tied", "shared_embeddings", "separate"]
LossKind = Literal["infonce", "triplet", "contrastive", "residual", "margin_mse", "kl", "align"]
RefreshLoss = Literal["infonce", "margin_mse", "kl"]
TripletMining = Literal["given", "batch_hard", "semi_hard"]
NegativeSource = Literal["random", "in_row", "bm25", "dense"]


class WordVectorConfig(Setting, frozen=True):
    """How word2vec is trained (gensim). One worker makes it reproducible; more are faster.

    :ivar algorithm: ``random`` trains none and starts from small random vectors; ``teacher`` takes the vectors that
        :attr:`TrainConfig.teacher` gives each word.
    :ivar epochs: passes over the corpus; 0 for as many as show it about 10 million tokens (CBOW, which is several
        times as fast: 80 million), 3 to 30.
    :ivar sample: words with a larger share of the corpus are thinned out (word2vec's subsampling).
    :ivar whiten: give all directions of the vectors the same spread, where the corpus has tokens enough.
    """

    algorithm: Literal["skipgram", "cbow", "random", "teacher"] = "skipgram"
    window: int = 5
    negative: int = 5
    epochs: int = 0
    learning_rate: float = 0.025
    workers: int = 1
    sample: float = 1e-3
    whiten: bool = True

    def check(self) -> None:
        """Check ranges, and what contradicts what."""
        require(self.window >= 1, "window", self.window, "at least 1")
        require(self.epochs >= 0, "epochs", self.epochs, "0 (by the size of the corpus) or more")
        require(0 <= self.sample <= 1, "sample", self.sample, "from 0 (none is thinned out) to 1")
        require(self.workers >= 1, "workers", self.workers, "at least 1")


_MOST_IN_A_TOWER = {
    "hidden": 4_096,
    "layers": 16,
    "kernel": 64,
    "head_hidden": 16_384,
    "dimension": 16_000,  # OpenSearch's limit
    "embedding_dimension": 4_096,
    "max_query_tokens": 4_096,
    "max_document_tokens": 16_384,
}


class TowerConfig(Setting, frozen=True):
    """The shape of the two towers. Everything here decides a vector, so all of it enters the fingerprint.

    :ivar encoder: ``mean`` is the baseline without a recurrent net; ``transformer`` needs the extra and ``trunk``.
    :ivar bidirectional_queries: false reads queries, which are short, forwards alone where documents are read in both
        directions by a tower of their own; without effect on other towers.
    :ivar residual: add the frequency-weighted mean of the word vectors to the encoder's pooled states.
    :ivar head_layers: fully connected layers (ReLU between them) after pooling.
    :ivar dimension: length of the vectors that come out.
    :ivar max_query_tokens: longer queries are cut here, longer documents at ``max_document_tokens``.
    """

    encoder: EncoderKind = "gru"
    bidirectional: bool = True
    bidirectional_queries: bool = True
    hidden: int = 128
    layers: int = 1
    kernel: int = 3
    pooling: Pooling = "mean"
    residual: bool = True
    head_layers: int = 1
    head_hidden: int = 256
    dropout: float = 0.1
    layer_norm: bool = False
    dimension: int = 192
    embedding_dimension: int = 192
    towers: TowerSharing = "shared_embeddings"
    max_query_tokens: int = 32
    max_document_tokens: int = 160
    similarity: Similarity = "cosine"
    sif_a: float = 1e-4
    trunk: str = ""

    def check(self) -> None:
        """Check ranges, and what contradicts what."""
        for name, most in _MOST_IN_A_TOWER.items():
            require(1 <= getattr(self, name) <= most, name, getattr(self, name), f"from 1 to {most}")
        require(0 <= self.head_layers <= 16, "head_layers", self.head_layers, "from 0 to 16")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "from 0 to below 1")
        require(self.sif_a > 0, "sif_a", self.sif_a, "above 0")
        require(
            (self.encoder == "transformer") == bool(self.trunk),
            "trunk",
            self.trunk,
            "given with encoder 'transformer' and only then",
        )

    @property
    def queries_are_read_forwards_alone(self) -> bool:
        """Whether the query tower lacks the backward direction that the document tower has."""
        has_two_directions = self.encoder in ("rnn", "gru", "lstm") and self.bidirectional and self.towers != "tied"
        return has_two_directions and not self.bidirectional_queries


_QUEUE_NEEDS = "only infonce, and triplet with batch_hard or semi_hard mining, take negatives of other batches"


class TrainConfig(Setting, frozen=True):
    """How towers are trained. Stored in ``training.json``; does not enter the fingerprint.

    :ivar epochs: passes over the training examples at most; 0 for as many as make 600 steps, which suits small
        sets (with ``align``: 6 passes over the teacher's texts).
    :ivar max_samples: use at most this many training examples, 0 for all.
    :ivar threads: torch's, 0 for its own choice. One gives the same weights on any number of cores, is little slower
        than two for nets of this size, and does not suffer from other work on the machine (benchmarks/contention.py).
    :ivar device: where towers are trained; the rest is always done on the CPU.
    :ivar queue: the last so many vectors of earlier batches' documents are further negatives.
    :ivar teacher: whose vectors the loss ``align`` follows: a sentence-transformers model (name, folder, or the
        installed package that carries it) or a ``.safetensors`` file of vectors by text.
    :ivar vocabulary: most tokens the tokenizer may have.
    :ivar frozen_steps: word vectors stay frozen for this many steps; 0 fine-tunes from the start, -1 freezes for good.
    :ivar self_supervised: examples made out of documents alone, for each labelled one in a batch; 0 off. A distilling
        loss has none.
    :ivar residual_share: share of the steps, from the first on, that train the weighted mean of the word vectors alone
        (where the towers have that residual path); without the encoder a step costs a tenth.
    :ivar hard_negatives: per example and batch, beside the in-batch ones.
    :ivar negatives: the schedule: (start as a share of the run, source -> share of the hard negatives).
    :ivar rank_window: mined negatives come from these ranks, (first, last), 1-based.
    :ivar false_negative_margin: drop a mined negative scoring at least this share of the positive's score; 0 off.
    :ivar refresh: rounds after the first: hard negatives are mined again from an index of the towers so far, and
        training goes on with them; the best round is kept.
    :ivar refresh_loss: of those rounds after loss ``align``; ``margin_mse`` and ``kl`` follow the cosines of the
        teacher's vectors.
    :ivar lexical_weight: of BM25's score in the loss ``residual``, in cosines per BM25 point.
    :ivar validation_share: share of the training queries held out for early stopping and for fitting the fusion.
    :ivar validation_least: where that share is fewer than so many, a larger one is held out, up to a third: from a few
        dozen queries no fusion weight can be told from chance (docs/studies/fusion_weight.md).
    """

    loss: LossKind = "infonce"
    epochs: int = 0
    max_steps: int = 0
    max_samples: int = 0
    batch_size: int = 32
    learning_rate: float = 2e-3
    embedding_learning_rate: float = 5e-3
    warmup_share: float = 0.1
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    seed: int = 0
    threads: int = 1
    device: Literal["cpu", "cuda"] = "cpu"
    temperature: float = 0.05
    learn_temperature: bool = False
    margin: float = 0.2
    triplet_distance: Similarity = "cosine"
    triplet_mining: TripletMining = "batch_hard"
    lexical_weight: float = 0.02
    self_supervised: float = 4.0
    residual_share: float = 0.7
    hard_negatives: int = 1
    queue: int = 0
    negatives: tuple[tuple[float, dict[NegativeSource, float]], ...] = ((0.0, {"bm25": 1.0}),)
    rank_window: tuple[int, int] = (5, 100)
    false_negative_margin: float = 0.95
    refresh: int = 0
    refresh_loss: RefreshLoss = "infonce"
    teacher_scores: str = ""
    teacher: str = ""
    vocabulary: int = 50_000
    min_frequency: int = 3
    frozen_steps: int = 0
    word_vectors: WordVectorConfig = WordVectorConfig()
    validation_share: float = 0.1
    validation_least: int = 150
    validation_queries: int = 300
    validation_documents: int = 3_000
    evaluate_every: int = 100
    patience: int = 5
    checkpoint_every: int = 200

    def check(self) -> None:
        """Check ranges, and what contradicts what."""
        require(self.epochs >= 0, "epochs", self.epochs, "0 (600 steps) or more")
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        require(self.batch_size <= 65_536, "batch_size", self.batch_size, "at most 65536")
        require(self.self_supervised <= 64, "self_supervised", self.self_supervised, "at most 64")
        require(self.hard_negatives <= 64, "hard_negatives", self.hard_negatives, "at most 64")
        require(16 <= self.vocabulary <= 5_000_000, "vocabulary", self.vocabulary, "from 16 to 5000000")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2 (in-batch negatives need a partner)")
        require(0 <= self.queue <= 1_000_000, "queue", self.queue, "from 0 to 1000000")
        ranks = self.loss == "infonce" or (self.loss == "triplet" and self.triplet_mining != "given")
        require(not self.queue or ranks, "queue", self.queue, f"0 with loss {self.loss!r}: {_QUEUE_NEEDS}")
        require(self.max_samples >= 0, "max_samples", self.max_samples, "0 (all) or more")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        require(self.embedding_learning_rate >= 0, "embedding_learning_rate", self.embedding_learning_rate, ">= 0")
        require(self.temperature > 0, "temperature", self.temperature, "above 0")
        require(self.frozen_steps >= -1, "frozen_steps", self.frozen_steps, "-1 (always), 0 (never) or a step count")
        for name in (
            "max_steps",
            "clip_norm",
            "weight_decay",
            "threads",
            "margin",
            "hard_negatives",
            "patience",
            "self_supervised",
            "lexical_weight",
            "refresh",
            "validation_least",
        ):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("evaluate_every", "checkpoint_every", "validation_queries", "validation_documents"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("warmup_share", "residual_share"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")
        require(0 <= self.false_negative_margin <= 1, "false_negative_margin", self.false_negative_margin, "0 to 1")
        require(
            self.loss != "contrastive" or self.triplet_distance != "dot",
            "triplet_distance",
            self.triplet_distance,
            "cosine or l2 with loss 'contrastive' (it squares distances, and an inner product is none)",
        )
        require(
            self.triplet_mining != "given" or self.loss != "triplet" or self.hard_negatives > 0,
            "hard_negatives",
            self.hard_negatives,
            "at least 1 with triplet_mining 'given'",
        )
        require(0 <= self.validation_share < 1, "validation_share", self.validation_share, "from 0 to below 1")
        first, last = self.rank_window
        require(1 <= first <= last, "rank_window", self.rank_window, "(first, last) with 1 <= first <= last")
        require(bool(self.negatives) and self.negatives[0][0] == 0, "negatives", self.negatives, "a mix from 0 on")
        require(
            all(mix and all(v > 0 for v in mix.values()) for _, mix in self.negatives),
            "negatives",
            self.negatives,
            f"shares above 0 over {', '.join(get_args(NegativeSource))}",
        )
        require(
            self.loss not in ("margin_mse", "kl") or bool(self.teacher_scores),
            "teacher_scores",
            self.teacher_scores,
            f"a file of teacher scores with loss {self.loss!r}",
        )
        follows = self.refresh_loss == "infonce" or (self.loss == "align" and self.refresh > 0)
        require(follows, "refresh_loss", self.refresh_loss, "infonce, unless with --recipe distil and --refresh")
        require(
            bool(self.teacher) == (self.loss == "align" or self.word_vectors.algorithm == "teacher"),
            "teacher",
            self.teacher,
            "given (--teacher) with --recipe distil (loss 'align' or word vectors 'teacher'), and only then",
        )
