"""One small corpus for all arms: prepared once in a work folder, and trained on in parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims.arms import BASE_ARM, Arm
from benchmarks.quality.sets import write_training_set
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.protocols import Reporter, silent
from hybrid_search.settings.training import NegativeSource
from hybrid_search.training.corpus import open_corpus
from hybrid_search.training.data.arrays import Corpus, Tokens, TrainingData, build_training_data
from hybrid_search.training.hard_negatives import collect_negatives
from hybrid_search.training.negatives.miner import Miner, Search
from hybrid_search.training.resume import WorkFolder
from hybrid_search.training.run import tokens_of
from hybrid_search.training.split import Split, gather
from hybrid_search.training.vocabulary import Vocabulary, learn_vocabulary
from hybrid_search.types import Document, Example, Query

__all__ = ["Prepared", "Words"]

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_TITLE_WORDS = 4

Negatives = Mapping[NegativeSource, Mapping[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Words:
    """A tokenizer, cut to each tower's length, and the word vectors of its tokens."""

    vocabulary: Vocabulary
    tokens: Tokens

    def vectors(self, start: str, seed: int) -> NDArray[np.float32]:
        """Return word2vec's vectors, or random ones of the same mean length."""
        known = self.vocabulary.word_vectors.vectors
        if start == "word2vec":
            return known
        drawn = np.random.default_rng(seed).standard_normal(known.shape).astype(np.float32)
        drawn *= np.linalg.norm(known, axis=1).mean() / np.linalg.norm(drawn, axis=1, keepdims=True)
        drawn[0] = 0
        return drawn


@dataclass
class Prepared:
    """The corpus, its words and BM25 negatives; stages that are done in ``folder`` are read back.

    Arms share one tokenizer and one set of word vectors, but for those that ask for other sizes of them.
    """

    folder: Path
    _words: dict[tuple[int, int], Words] = field(default_factory=dict)
    _built: dict[tuple[int, int, int, int], TrainingData] = field(default_factory=dict)

    def __post_init__(self) -> None:
        data = self.folder / "data"
        if not (data / "qrels" / "train.tsv").exists():
            write_training_set(data, labels="squad", pool=False)
        towers, self._config = BASE_ARM.settings(0)
        dataset = open_dataset("jsonl", data, reject=lambda rejection: None)
        self._work = WorkFolder(self.folder / "model")
        self._work.claim("train", towers, self._config)
        self.engine: EmbeddedEngine = open_corpus(dataset, self._work, Reporter())
        self._split: Split = gather(
            dataset, self.engine, self._config, split="train", queries_file=None, say=lambda text: None
        )

    def words(self, arm: Arm) -> Words:
        """Return an arm's words, learnt with the first seed by whoever asks first."""
        sizes = _sizes(arm)
        if sizes not in self._words:
            towers, config = arm.settings(0)
            folder = self._work.path / "words-{}-{}".format(*sizes)
            folder.mkdir(exist_ok=True)
            vocabulary = learn_vocabulary(
                lambda: self._split.texts(self.engine), folder, towers, config, count=0, progress=silent
            )
            self._words[sizes] = Words(vocabulary, tokens_of(vocabulary, towers))
        return self._words[sizes]

    def training_data(self, arm: Arm, seed: int, search: Search | None) -> TrainingData:
        """Build what an arm trains on.

        :param search: ranks the corpus by the base arm's towers; of an arm with refreshed negatives.
        """
        key = (arm.pairs, seed, *_sizes(arm))
        if search is None and key in self._built:
            return self._built[key]
        examples = self._examples(arm.pairs, seed)
        negatives = dict(self._bm25)
        if search is not None:
            miner = Miner(search, self.engine.get, source="dense", false_negative_margin=0.95, seed=seed)
            mined = miner.mine(examples, self._split.pairs.positives)
            negatives["dense"] = {query.query_id: [n.id for n in query.negatives] for query in mined}
        built = build_training_data(
            examples, self.words(arm).tokens, Corpus(self.engine.get, self.engine.documents()),
            positives=self._split.pairs.positives, negatives=negatives,
        )  # fmt: skip
        if search is None:
            self._built = {key: built}
        return built

    def documents(self) -> list[Document]:
        """Return the corpus."""
        return list(self.engine.documents())

    def _examples(self, pairs: int, seed: int) -> list[Example]:
        if not pairs:
            return list(_made(self.engine.documents()))
        examples = self._split.training
        chosen = np.random.default_rng(seed).permutation(len(examples))[:pairs]
        return [examples[i] for i in sorted(chosen)]

    @cached_property
    def _bm25(self) -> Negatives:
        return collect_negatives(
            self.engine, self._split.pairs, self._split.training, self._config,
            work=self._work, reporter=Reporter(),
        )  # fmt: skip


def _sizes(arm: Arm) -> tuple[int, int]:
    """Return how many words an arm knows, and of how many numbers their vectors are."""
    towers, config = arm.settings(0)
    return config.vocabulary, towers.embedding_dimension


def _made(documents: Iterator[Document]) -> Iterator[Example]:
    """Make a pair out of each document: its title if that says something, else its first sentence; and the rest."""
    for document in documents:
        first, rest = document.title, document.text
        if len(first.split()) < _TITLE_WORDS:
            first, _, rest = _SENTENCE.sub("\n", document.text, count=1).partition("\n")
        if first and rest:
            yield Example(Query(f"made {document.id}", first), Document(f"rest {document.id}", rest))
