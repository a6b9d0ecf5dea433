"""Settings of the towers and of their training, stored in every checkpoint."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta

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

EncoderKind = Literal["mean", "rnn", "gru", "lstm", "rec", "cnn", "transformer"]
Pooling = Literal["last", "mean", "max", "attention", "idf"]
TowerSharing = Literal["tied", "shared_embeddings", "separate"]
LossKind = Literal["infonce", "triplet", "contrastive", "margin_mse", "kl", "align"]
RefreshLoss = Literal["infonce", "margin_mse", "kl"]
TripletMining = Literal["given", "batch_hard", "semi_hard"]
NegativeSource = Literal["random", "in_row", "bm25", "dense"]
Algorithm = Literal["skipgram", "cbow", "random", "teacher"]

_MIX = "a mix of random, in_row, bm25 and dense such as bm25:0.7,in_row:0.3, or stages such as random; 0.3@bm25"
_WINDOW = "FIRST-LAST, such as 5-100, with 1 <= first <= last"


class WordVectorConfig(Setting, frozen=True):
    """How word2vec is trained (gensim). One worker makes it reproducible; more are faster."""

    algorithm: Annotated[
        Algorithm,
        Meta(
            description="word2vec's algorithm; random trains none and starts from small random vectors, teacher takes "
            "the vectors that training.teacher gives each word."
        ),
    ] = "skipgram"
    window: Annotated[int, Meta(ge=1, description="word2vec's window, in tokens.")] = 5
    negative: Annotated[int, Meta(description="word2vec's negative samples.")] = 5
    epochs: Annotated[
        int,
        Meta(
            ge=0,
            description="word2vec's passes over the corpus; 0 for as many as show it about 10 million tokens (cbow, "
            "several times as fast: 80 million), 3 to 30.",
        ),
    ] = 0
    learning_rate: Annotated[float, Meta(description="word2vec's learning rate.")] = 0.025
    workers: Annotated[
        int, Meta(ge=1, description="word2vec's threads; more than one is faster and not reproducible.")
    ] = 1
    sample: Annotated[
        float,
        Meta(ge=0, le=1, description="Thin out words with a larger share of the corpus (subsampling); 0 for none."),
    ] = 1e-3
    whiten: Annotated[
        bool,
        Meta(
            description="Give all directions of the word vectors the same spread, where the corpus has tokens enough."
        ),
    ] = True


class TowerConfig(Setting, frozen=True):
    """The shape of the two towers. Everything here decides a vector, so all of it enters the fingerprint."""

    encoder: Annotated[
        EncoderKind,
        Meta(
            description="The network; rec is a recurrent one whose gates see the input only, mean the baseline without "
            "one; transformer needs the extra and trunk."
        ),
    ] = "gru"
    bidirectional: Annotated[bool, Meta(description="Read the text in both directions.")] = True
    bidirectional_queries: Annotated[
        bool,
        Meta(
            description="Read queries in both directions too; no reads them forwards alone, where documents are read "
            "in both directions by a tower of their own."
        ),
    ] = True
    hidden: Annotated[int, Meta(ge=1, le=4_096, description="Width of the recurrent (or convolutional) layers.")] = 128
    layers: Annotated[int, Meta(ge=1, le=16, description="Recurrent layers.")] = 1
    query_hidden: Annotated[
        int, Meta(ge=0, le=4_096, description="The query tower's hidden; 0 for that of documents.")
    ] = 0
    query_layers: Annotated[
        int, Meta(ge=0, le=16, description="The query tower's layers; 0 for as many as for documents.")
    ] = 0
    kernel: Annotated[int, Meta(ge=1, le=64, description="Width of the CNN's window, in tokens.")] = 3
    pooling: Annotated[Pooling, Meta(description="How a sequence of states becomes one vector.")] = "mean"
    residual: Annotated[
        bool,
        Meta(
            description="Add the frequency-weighted mean of the word vectors to the encoder's pooled states: the "
            "static path beside the network."
        ),
    ] = True
    head_layers: Annotated[
        int, Meta(ge=0, le=16, description="Fully connected layers (ReLU between them) after pooling.")
    ] = 1
    head_hidden: Annotated[int, Meta(ge=1, le=16_384, description="Width of those layers.")] = 256
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Dropout during training.")] = 0.1
    layer_norm: Annotated[bool, Meta(description="LayerNorm in the head.")] = False
    # 16,000 is OpenSearch's limit.
    dimension: Annotated[int, Meta(ge=1, le=16_000, description="Length of the vectors that come out.")] = 192
    embedding_dimension: Annotated[int, Meta(ge=1, le=4_096, description="Length of the word vectors.")] = 192
    towers: Annotated[TowerSharing, Meta(description="What the query and the document tower have in common.")] = (
        "shared_embeddings"
    )
    max_query_tokens: Annotated[int, Meta(ge=1, le=4_096, description="Queries are cut after this many tokens.")] = 32
    max_document_tokens: Annotated[
        int, Meta(ge=1, le=16_384, description="Documents are cut after this many tokens.")
    ] = 160
    similarity: Annotated[Similarity, Meta(description="How two vectors are compared.")] = "cosine"
    sif_a: Annotated[float, Meta(gt=0, description="Constant of the frequency weights a / (a + p).")] = 1e-4
    adapted: Annotated[
        bool,
        Meta(
            description="Add to each word vector, behind the network, a second one, which a run with "
            "training.adapt_steps has learnt."
        ),
    ] = False
    trunk: Annotated[
        str, Meta(description="A sentence-transformers model, name or folder, for the encoder transformer.")
    ] = ""

    def check(self) -> None:
        """Check what contradicts what."""
        require(
            (self.encoder == "transformer") == bool(self.trunk),
            "trunk",
            self.trunk,
            "given with encoder 'transformer' and only then",
        )
        for name in ("query_hidden", "query_layers"):
            value = getattr(self, name)
            require(not value or self.towers != "tied", name, value, "0 where both towers are one (towers=tied)")
        require(self.can_adapt or not self.adapted, "adapted", self.adapted, "no, as states are no longer word vectors")

    @property
    def can_adapt(self) -> bool:
        """Whether something that is added to word vectors can be added behind the network, too."""
        return self.residual or self.encoder in ("rec", "mean")

    @property
    def of_queries(self) -> TowerConfig:
        """The shape of the query tower alone: the document tower's, unless settings make it smaller."""
        if self.towers == "tied":
            return self
        has_directions = self.encoder in ("rnn", "gru", "lstm", "rec")
        return self.replace(
            bidirectional=self.bidirectional and (self.bidirectional_queries or not has_directions),
            hidden=self.query_hidden or self.hidden,
            layers=self.query_layers or self.layers,
        )


_QUEUE_NEEDS = "only infonce, and triplet with batch_hard or semi_hard mining, take negatives of other batches"


class TrainConfig(Setting, frozen=True):
    """How towers are trained. Stored in ``training.json``; does not enter the fingerprint.

    :ivar threads: one gives the same weights on any number of cores, is little slower than two for nets of this size,
        and does not suffer from other work on the machine (benchmarks/contention.py).
    :ivar negatives: (start as a share of the run, source -> share of the hard negatives).
    :ivar validation_least: from a few dozen queries no fusion weight can be told from chance
        (docs/studies/fusion_weight.md).
    """

    loss: Annotated[LossKind, Meta(description="What is minimised.")] = "infonce"
    epochs: Annotated[
        int,
        Meta(
            ge=0,
            description="Most passes over the training examples; 0 for as many as make 600 steps (align: 6 passes over "
            "the teacher's texts).",
        ),
    ] = 0
    max_steps: Annotated[int, Meta(ge=0, description="Most steps, 0 for no limit.")] = 0
    adapt_steps: Annotated[
        int,
        Meta(
            ge=0,
            description="From a model: steps with the networks held, which learn a second vector for each word and the "
            "towers' last layers; no other steps follow. 0: train all of the towers.",
        ),
    ] = 0
    adapt_share: Annotated[
        float,
        Meta(gt=0, le=1, description="Share of what these steps change that is kept, of documents without labels."),
    ] = 0.2
    max_samples: Annotated[int, Meta(ge=0, description="Most training examples, 0 for all.")] = 0
    batch_size: Annotated[
        int,
        Meta(ge=2, le=65_536, description="Examples a step; the others of a batch are its in-batch negatives."),
    ] = 32
    learning_rate: Annotated[float, Meta(gt=0, description="Learning rate of everything but the word vectors.")] = 2e-3
    embedding_learning_rate: Annotated[float, Meta(ge=0, description="Learning rate of the word vectors.")] = 5e-3
    warmup_share: Annotated[
        float, Meta(ge=0, le=1, description="Share of the steps over which the learning rate rises.")
    ] = 0.1
    schedule: Annotated[
        Literal["constant", "linear", "cosine"], Meta(description="How the learning rate falls after that.")
    ] = "linear"
    clip_norm: Annotated[float, Meta(ge=0, description="Largest norm of a gradient, 0 for no limit.")] = 1.0
    weight_decay: Annotated[float, Meta(ge=0, description="AdamW's weight decay.")] = 0.0
    seed: Annotated[int, Meta(ge=0, description="Seed of everything that is drawn.")] = 0
    threads: Annotated[
        int,
        Meta(
            ge=0,
            description="torch threads, 0 for torch's own choice; one is little slower than two and reproducible.",
        ),
    ] = 1
    device: Annotated[
        Literal["cpu", "cuda"], Meta(description="Where the towers are trained; the rest is done on the CPU.")
    ] = "cpu"
    temperature: Annotated[float, Meta(gt=0, description="Temperature of InfoNCE and KL.")] = 0.05
    learn_temperature: Annotated[bool, Meta(description="Let InfoNCE learn its temperature.")] = False
    margin: Annotated[float, Meta(ge=0, description="Margin of the triplet and contrastive losses.")] = 0.2
    triplet_distance: Annotated[Similarity, Meta(description="Distance of the triplet and contrastive losses.")] = (
        "cosine"
    )
    triplet_mining: Annotated[TripletMining, Meta(description="Which negatives of a batch the triplet loss uses.")] = (
        "batch_hard"
    )
    self_supervised: Annotated[
        float,
        Meta(
            ge=0,
            le=64,
            description="Examples made out of documents alone, for each labelled one of a batch; 0 for none. A "
            "distilling loss has none.",
        ),
    ] = 4.0
    residual_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of the steps, from the first on, that train the mean of the word vectors alone, before "
            "the encoder joins; such a step costs a tenth.",
        ),
    ] = 0.7
    hard_negatives: Annotated[
        int, Meta(ge=0, le=64, description="Hard negatives an example, beside the in-batch ones.")
    ] = 1
    queue: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Vectors of earlier batches' documents kept as further negatives (infonce, triplet).",
        ),
    ] = 0
    negatives: Annotated[
        tuple[tuple[float, dict[NegativeSource, float]], ...],
        Meta(title=_MIX, description="Where hard negatives come from, and in which shares."),
    ] = ((0.0, {"bm25": 1.0}),)
    rank_window: Annotated[
        tuple[int, int], Meta(title=_WINDOW, description="Ranks from which negatives are mined.")
    ] = (5, 100)
    false_negative_margin: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Drop a mined negative scoring at least this share of the positive's score; 0 keeps all.",
        ),
    ] = 0.95
    refresh: Annotated[
        int,
        Meta(
            ge=0,
            description="Rounds that mine negatives again with the towers so far and train on; the best is kept.",
        ),
    ] = 0
    refresh_loss: Annotated[
        RefreshLoss,
        Meta(
            description="Loss of those rounds after the loss align (recipe distil): infonce contrasts the labels, the "
            "others follow the teacher's scores of what was mined."
        ),
    ] = "infonce"
    teacher_scores: Annotated[
        str, Meta(description="File of teacher scores (JSON lines or TSV) for margin_mse and kl.")
    ] = ""
    teacher: Annotated[
        str,
        Meta(
            description="For distil: a sentence-transformers model (name, folder, package) or a .safetensors file of "
            "vectors by text."
        ),
    ] = ""
    vocabulary: Annotated[int, Meta(ge=16, le=5_000_000, description="Most tokens of the tokenizer.")] = 50_000
    min_frequency: Annotated[int, Meta(description="Words rarer than this are cut into pieces.")] = 3
    frozen_steps: Annotated[
        int,
        Meta(ge=-1, description="Keep the word vectors frozen for so many steps; 0 trains them at once, -1 never."),
    ] = 0
    word_vectors: WordVectorConfig = WordVectorConfig()
    validation_share: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Share of the training queries held out for early stopping and fitting the fusion.",
        ),
    ] = 0.1
    validation_least: Annotated[
        int, Meta(ge=0, description="Hold out a larger share, up to a third, until it is so many queries.")
    ] = 150
    validation_queries: Annotated[int, Meta(ge=1, description="Most validation queries.")] = 300
    validation_documents: Annotated[int, Meta(ge=1, description="Documents of the validation corpus.")] = 3_000
    evaluate_every: Annotated[int, Meta(ge=1, description="Steps between validations.")] = 100
    patience: Annotated[
        int, Meta(ge=0, description="Validations without a gain before training stops; 0 for never.")
    ] = 5
    checkpoint_every: Annotated[int, Meta(ge=1, description="Steps between resume points.")] = 200

    def check(self) -> None:
        """Check what contradicts what."""
        ranks = self.loss == "infonce" or (self.loss == "triplet" and self.triplet_mining != "given")
        require(not self.queue or ranks, "queue", self.queue, f"0 with loss {self.loss!r}: {_QUEUE_NEEDS}")
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
        can_adapt = self.loss in ("infonce", "align")
        require(can_adapt or not self.adapt_steps, "adapt_steps", self.adapt_steps, f"0 with loss {self.loss!r}")
        first, last = self.rank_window
        require(1 <= first <= last, "rank_window", self.rank_window, _WINDOW)
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
        require(
            follows, "refresh_loss", self.refresh_loss, "infonce, unless with loss 'align' (recipe distil) and refresh"
        )
        require(
            bool(self.teacher) == (self.loss == "align" or self.word_vectors.algorithm == "teacher"),
            "teacher",
            self.teacher,
            "given with recipe distil (loss 'align' or word vectors 'teacher'), and only then",
        )
