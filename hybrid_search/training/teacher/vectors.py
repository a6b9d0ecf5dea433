"""A teacher's vectors of a corpus: encoded once, stored, and projected to the towers' dimension."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import ConfigError, DataError
from hybrid_search.protocols import Progress, Reporter
from hybrid_search.settings.training import TowerConfig, TrainConfig
from hybrid_search.storage import cache_folder
from hybrid_search.streams import in_batches
from hybrid_search.towers.tokenizer import UNK, TextTokenizer
from hybrid_search.towers.word_vectors import WordVectors
from hybrid_search.training.data.alignment import Alignment, principal_axes, unit_rows
from hybrid_search.training.data.arrays import Tokens
from hybrid_search.training.split import Split
from hybrid_search.training.teacher.model import Teacher, TransformerTeacher
from hybrid_search.training.teacher.vector_store import VectorStore

__all__ = [
    "FILE_SUFFIX",
    "AxesFit",
    "Lessons",
    "Teaching",
    "Texts",
    "axes_of_towers",
    "default_cache",
    "sentences_of",
    "study",
]

MOST_DOCUMENTS = 100_000
MOST_SENTENCES = 150_000
"""Sentences of a larger corpus are sampled; encoding this many takes about a core-hour."""

SHARES = {"queries": 0.3, "words": 0.15, "sentences": 0.1, "documents": 0.35}
"""Shares of a batch; that of sentences for each tower."""

BATCH = 4_096
FILE_SUFFIX = ".safetensors"
_TURNED_BY = 20_000
_END = re.compile(r"(?<=[.!?])\s+")
_FEWEST_WORDS, _MOST_WORDS = 4, 60

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts that the towers learn from: documents, sentences from them, queries."""

    documents: list[str]
    sentences: list[str]
    queries: list[str]

    @classmethod
    def of(cls, documents: Iterable[str], queries: Iterable[str], seed: int) -> Texts:
        """Collect distinct texts, and sample those that are too many."""
        generator = np.random.default_rng([seed, 3])
        kept = _sampled(list(dict.fromkeys(documents)), MOST_DOCUMENTS, generator)
        sentences = dict.fromkeys(sentence for document in kept for sentence in sentences_of(document))
        return cls(kept, _sampled(list(sentences), MOST_SENTENCES, generator), list(dict.fromkeys(queries)))


class Lessons:
    """A teacher's vectors, projected to the towers' dimension.

    :ivar axes: (D, dimension) the projection; rows are the teacher's components.
    """

    def __init__(self, store: VectorStore, texts: Texts, dimension: int, fit: AxesFit | None = None) -> None:
        self._store = store
        self._texts = texts
        vectors, known = store.get([*texts.documents, *texts.queries])
        if not known.any():
            raise DataError("the teacher's file has a vector for none of this data's texts; write it from these texts")
        self.axes = principal_axes(vectors[known], dimension)
        if fit:
            named = zip([*texts.documents, *texts.queries], known, strict=True)
            self.axes = fit(self.axes, [text for text, is_known in named if is_known], vectors[known])

    def alignment(self, tokenizer: TextTokenizer, tokens: Tokens) -> Alignment:
        """Combine the texts' tokens with their targets.

        Queries and words are for the query tower, documents for the document tower, sentences for both. Texts without a
        vector are left out.
        """
        texts = self._texts
        words = [*dict.fromkeys(_plain(token) for token in tokenizer.tokens()[UNK + 1 :])]
        kinds = (
            (texts.queries, "queries", True),
            (words, "words", True),
            (texts.sentences[::2], "sentences", True),
            (texts.documents, "documents", False),
            (texts.sentences[1::2], "sentences", False),
        )
        return Alignment.of([
            (*self._encoded(part, tokens.queries if is_query else tokens.documents), SHARES[name], is_query)
            for part, name, is_query in kinds
        ])  # fmt: skip

    def vectors_of(self, texts: Sequence[str]) -> tuple[Float32, NDArray[np.bool_]]:
        """Return the teacher's own vectors, scaled to length 1, and which texts have one."""
        vectors, known = self._store.get(texts)
        return unit_rows(vectors), known

    def word_vectors(self, tokenizer: TextTokenizer, counts: NDArray[np.int64], seed: int) -> WordVectors:
        """Return the teacher's vector of each token; a small random one for tokens without."""
        found, known = self._store.get([_plain(token) for token in tokenizer.tokens()])
        if not known[UNK + 1 :].any():
            raise DataError(
                "the teacher's file has no vectors of single words; write them too, or learn them from the documents "
                "with training.word_vectors.algorithm=cbow"
            )
        vectors = found @ self.axes
        generator = np.random.default_rng(seed)
        vectors[~known] = (generator.random((int((~known).sum()), vectors.shape[1])) - 0.5) / vectors.shape[1]
        vectors[: UNK + 1] = 0
        return WordVectors(vectors.astype(np.float32), counts)

    def _encoded(
        self, texts: Sequence[str], tokens: Callable[[Sequence[str]], Sequence[NDArray[np.int32]]]
    ) -> tuple[Sequence[NDArray[np.int32]], Float32]:
        vectors, known = self._store.get(texts)
        kept = [text for text, there in zip(texts, known, strict=True) if there]
        return tokens(kept), unit_rows(vectors[known] @ self.axes)


AxesFit = Callable[[Float32, Sequence[str], Float32], Float32]
"""From the principal axes, texts and the teacher's vectors of these to the axes that towers use."""


def axes_of_towers(own: Float32 | None, encode: Callable[[Sequence[str]], Float32]) -> AxesFit:
    """Return what finds the axes in which towers that are trained already are taught.

    :param own: the axes in which they learnt this teacher's vectors; None if they did not. The principal axes are then
        rotated so that the teacher's vectors of texts lie as near to the towers' own as a rotation can bring them
        (orthogonal Procrustes); inner products stay the teacher's.
    :param encode: the document tower.
    """

    def fit(axes: Float32, texts: Sequence[str], vectors: Float32) -> Float32:
        if own is not None and own.shape == axes.shape:
            return own
        rows = np.linspace(0, len(texts) - 1, min(len(texts), _TURNED_BY), dtype=np.int64)
        aims = unit_rows(vectors[rows] @ axes)
        left, _, right = np.linalg.svd((aims.T @ encode([texts[row] for row in rows])).astype(np.float64))
        return np.asarray(axes @ (left @ right), np.float32)

    return fit


def study(
    teacher: str,
    texts: Texts,
    tokenizer: TextTokenizer,
    *,
    dimension: int,
    cache: Path | None,
    reporter: Reporter,
    fit: AxesFit | None = None,
) -> Lessons:
    """Let a teacher encode the texts and the tokens; vectors encoded before are read from the cache.

    :param teacher: a ``.safetensors`` file of vectors by text, or a model.
    :param cache: folder of all teachers' vectors; None for :func:`default_cache`.
    :param fit: chooses the axes; None for the principal ones.
    :raises ModelNotFound: if there is no such model; it is only loaded if vectors are missing.
    """
    if teacher.endswith(FILE_SUFFIX):
        return Lessons(VectorStore(Path(teacher)), texts, dimension, fit)
    words = [_plain(token) for token in tokenizer.tokens()[UNK + 1 :]]
    distinct = [*dict.fromkeys([*texts.queries, *words, *texts.documents, *texts.sentences])]
    store = VectorStore((cache or default_cache()) / _folder_name(teacher))
    missing = store.missing(distinct)
    reporter.say(f"teacher {teacher}: {len(distinct):,} texts, {len(distinct) - len(missing):,} of them encoded before")
    if missing:
        _encode(TransformerTeacher(teacher), missing, store, reporter.progress)
    return Lessons(store, texts, dimension, fit)


class Teaching:
    """The teacher's part of a run; its vectors are made once, when the tokens are known."""

    def __init__(
        self,
        engine: EmbeddedEngine,
        split: Split,
        towers: TowerConfig,
        config: TrainConfig,
        *,
        cache: Path | None,
        reporter: Reporter,
        fit: AxesFit | None = None,
    ) -> None:
        """Take the arguments of :func:`study`; raises if new word vectors would not have the towers' dimension."""
        if fit is None and towers.embedding_dimension != towers.dimension:
            raise ConfigError(
                f"embedding_dimension is {towers.embedding_dimension}; with a teacher it must be the dimension, "
                f"{towers.dimension}"
            )
        self._engine, self._split, self._towers, self._config = engine, split, towers, config
        self._cache, self._reporter, self._fit = cache, reporter, fit
        self._lessons: Lessons | None = None

    def lessons(self, tokenizer: TextTokenizer) -> Lessons:
        """Encode what has no vector yet, once."""
        if self._lessons is None:
            split, config = self._split, self._config
            queries = [*(example.query.text for example in split.training), *split.queries]
            documents = (document.searchable_text for document in split.documents(self._engine))
            self._lessons = study(
                config.teacher, Texts.of(documents, queries, config.seed), tokenizer,
                dimension=self._towers.dimension, cache=self._cache, reporter=self._reporter, fit=self._fit,
            )  # fmt: skip
        return self._lessons

    def record(self) -> dict[str, Float32]:
        """Return the axes that the towers learn, by name, for a run that starts from them."""
        return {"axes": self._lessons.axes} if self._lessons and self._config.loss == "align" else {}

    def alignment(self, tokenizer: TextTokenizer, tokens: Tokens) -> Alignment | None:
        """Return the training data of the loss ``align``; None for other losses."""
        return self.lessons(tokenizer).alignment(tokenizer, tokens) if self._config.loss == "align" else None

    def word_vectors(self, tokenizer: TextTokenizer, counts: NDArray[np.int64]) -> WordVectors:
        """Return the teacher's vector of each token."""
        return self.lessons(tokenizer).word_vectors(tokenizer, counts, self._config.seed)


def default_cache() -> Path:
    """Return the folder of teachers' vectors."""
    return cache_folder("teachers")


def sentences_of(text: str) -> Iterator[str]:
    """Split a text after full stops, question and exclamation marks; yields sentences of 4 to 60 words."""
    for sentence in _END.split(text):
        if _FEWEST_WORDS <= len(sentence.split()) <= _MOST_WORDS:
            yield sentence


def _encode(teacher: Teacher, texts: list[str], store: VectorStore, progress: Progress) -> None:
    with progress(f"encoding with the teacher ({teacher.name})", len(texts)) as task:
        for batch in in_batches(texts, BATCH):
            store.add(batch, teacher.encode(batch))
            task.advance(len(batch))


def _folder_name(teacher: str) -> str:
    """Return a teacher's folder name: readable and unique."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", teacher)[-60:]
    return f"{readable}-{hashlib.sha256(teacher.encode()).hexdigest()[:8]}"


def _plain(token: str) -> str:
    return token.removeprefix("##")


def _sampled(items: list[str], most: int, generator: np.random.Generator) -> list[str]:
    if len(items) <= most:
        return items
    return [items[i] for i in sorted(generator.choice(len(items), most, replace=False).tolist())]
