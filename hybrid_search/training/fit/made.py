"""Chooses the legs' weights for documents without judged queries: by queries that are made out of the documents.

A sentence of 5 to 30 words is taken out of each of some documents. It is a query, and the document without it is its
one answer, among all documents of the sample. Where too few documents have a sentence to spare, a run of 3 to 8 words
is taken out of others. The weight with the best nDCG@10 is chosen; runs flatter the towers, so by them half of the way
is gone. Why this rule, and how it does on judged queries: docs/studies/fusion_weight.md. It is meant for towers that
were not trained on these documents.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.documents import sift
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import HybridSearchError
from hybrid_search.indexing import BATCH, index_corpus
from hybrid_search.protocols import Encoder, Engine, Progress, Vectors
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.streams import in_batches
from hybrid_search.training.fit.defaults import ranked_legs
from hybrid_search.training.fit.table import GRID, weighted
from hybrid_search.training.fit.weights import best_fusion
from hybrid_search.types import Document, Judgement, Query

__all__ = ["FEWEST_MADE", "MadeFit", "Weighing", "fit_on_made_queries", "sampling"]

MOST_DOCUMENTS = 5_000
_MOST_LOOKED_AT = 4 * MOST_DOCUMENTS  # of an index that is weighed by what it holds
MOST_MADE = 600  # by a quarter of them, the choice moved with their sample
FEWEST_MADE = 30
"""With fewer queries than these the weights stay as they are."""

_SHORTEST, _LONGEST = 5, 30  # words of a made query
_FEWEST_SENTENCES = 3  # of a document that may lose one
_RUN, _BESIDE = (3, 8), 4  # words of a run; of its document as many are left, and these
_DRAWN = 0.5  # part of the way that a choice by runs alone is moved back to the weights before
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class MadeFit:
    """The chosen weights, and what they were chosen by.

    :ivar queries: number of made queries.
    :ivar documents: number of documents that they were searched in.
    :ivar bm25: nDCG@10 of BM25 alone on the made queries.
    :ivar knn: of k-NN alone.
    :ivar hybrid: with the chosen weights.
    """

    fusion: Fusion
    queries: int
    documents: int
    bm25: float
    knn: float
    hybrid: float


def sampling(documents: Iterable[Document], kept: list[Document], *, seed: int = 0) -> Iterator[Document]:
    """Yield the documents unchanged, and keep a sample of at most 5,000 of them (Vitter's algorithm R)."""
    draw = random.Random(seed)
    for number, document in enumerate(documents):
        if len(kept) < MOST_DOCUMENTS:
            kept.append(document)
        elif (place := draw.randrange(number + 1)) < MOST_DOCUMENTS:
            kept[place] = document
        yield document


class Weighing:
    """The weights that an index still lacks: watches what is loaded, and chooses them afterwards.

    An index notes whether it has been weighed, so that a load which is killed before that leaves it to the next one.
    """

    def __init__(self, engine: Engine, encoder: Encoder | None, *, later: bool = False) -> None:
        self._engine, self._encoder, self._later = engine, encoder, later
        self._is_due = encoder is not None and not engine.settings.weighed
        self._is_new = self._is_due and not later and not engine.count()
        self._sample: list[Document] = []

    def watching(self, documents: Iterator[Document]) -> Iterator[Document]:
        """Yield the documents unchanged, and keep a sample of them if it will be needed."""
        return sampling(documents, self._sample) if self._is_new else documents

    def done(self, progress: Progress) -> tuple[MadeFit | None, str]:
        """Choose the weights, if that is due, and write them into the index; :func:`fit_on_made_queries` says how.

        :return: the choice, and why there is none although it was due. No failure ends the load that it belongs to.
        """
        if self._encoder is None or not self._is_due:
            return None, ""
        if self._later:
            return None, "that was left to a later load"
        try:
            if not self._is_new:
                deque(sampling(islice(self._engine.documents(), _MOST_LOOKED_AT), self._sample), maxlen=0)
            fit = fit_on_made_queries(self._sample, self._encoder, self._engine.settings, progress, self._engine)
            if fit:  # even with the weights that it has: that it is weighed is noted, too
                self._engine.set_fusion(fit.fusion, asked_for=False)
                self._engine.commit()
        except (HybridSearchError, OSError, RuntimeError, ValueError) as error:  # the libraries' own, too
            return None, str(error)
        return fit, "" if fit else f"fewer than {FEWEST_MADE} queries can be made of the documents"


class _Knowing:
    """An encoder that takes vectors from an index which holds the same texts; it encodes the others."""

    def __init__(self, encoder: Encoder, held: Engine, documents: Sequence[Document]) -> None:
        self.fingerprint, self.dimension, self.similarity = encoder.fingerprint, encoder.dimension, encoder.similarity
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}
        for ids in in_batches([document.id for document in documents], BATCH):
            vectors = held.vectors(ids)
            found = (one for one in held.get(ids) if one is not None and one.id in vectors)
            self._known.update((one.searchable_text, vectors[one.id]) for one in found)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._encoder.encode_queries(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        others = [text for text in texts if text not in self._known]
        encoded = iter(self._encoder.encode_documents(others)) if others else iter(())
        rows = [self._known[text] if text in self._known else next(encoded) for text in texts]
        return np.array(rows, np.float32).reshape(len(texts), self.dimension)


def fit_on_made_queries(
    documents: Sequence[Document],
    encoder: Encoder,
    settings: IndexSettings,
    progress: Progress,
    held: Engine | None = None,
) -> MadeFit | None:
    """Choose the weights of the two legs.

    :param documents: a sample of those that the index holds.
    :param settings: of that index; its method, combination, window and BM25 are used.
    :param held: that index, whose vectors are taken instead of encoding again what it holds; of the same model.
    :return: None if the documents give fewer than 30 queries.
    """
    # What an index refuses no leg could find.
    left, queries, runs = _made(sift(documents, None, settings.fields).documents)
    if len(queries) < FEWEST_MADE:
        return None
    with tempfile.TemporaryDirectory(prefix="hybrid-search-") as folder:
        own = settings.replace(faiss="Flat", fields={})
        with Retriever(encoder, EmbeddedEngine.create(Path(folder) / "index", own)) as retriever:
            knowing = _Knowing(encoder, held, left) if held else encoder
            with progress("weighing the legs by queries made of the documents", len(left)) as task:
                for batch in index_corpus(retriever.engine, knowing, left):
                    task.advance(batch.read)
            legs = ranked_legs(retriever, queries, settings.bm25, frozenset())
    judgements = [Judgement(query.id, query.id, 1) for query in queries]
    best, curve = best_fusion(*legs, judgements, settings.fusion)
    fusion = _drawn(best, settings.fusion, runs / len(queries))
    return MadeFit(
        fusion, len(queries), len(left), bm25=curve[1.0], knn=curve[0.0], hybrid=curve[fusion.weights[0]]
    )  # fmt: skip


def _drawn(best: Fusion, before: Fusion, runs: float) -> Fusion:
    """Move weights back towards those before, by the share of the queries that are runs."""
    if not runs:
        return best
    way = best.weights[0] + _DRAWN * runs * (before.weights[0] - best.weights[0])
    return weighted(before, min(GRID, key=lambda weight: (abs(weight - way), -weight)))


_Taken = tuple[str, str] | None
"""What is left of a text, and the query that was taken out of it."""


def _made(documents: Sequence[Document]) -> tuple[list[Document], list[Query], int]:
    """Return the documents, some without a sentence or a run of words, and these as queries with their ids.

    :return: the runs' number, too; they are the last ones.
    """
    draw = random.Random(0)
    left = {document.id: document.searchable_text for document in documents}
    order = list(left)
    draw.shuffle(order)
    queries: dict[str, Query] = {}
    sentences = 0
    for take in (_sentence, _run):
        sentences = len(queries)
        for id in order:
            if len(queries) == MOST_MADE:
                break
            if id not in queries and (taken := take(left[id], draw)):
                left[id], text = taken
                queries[id] = Query(id, text)
    return [Document(id, text) for id, text in left.items()], list(queries.values()), len(queries) - sentences


def _sentence(text: str, draw: random.Random) -> _Taken:
    sentences = [part for part in _SENTENCE_END.split(text) if part.strip()]
    fit = [place for place, one in enumerate(sentences) if _SHORTEST <= len(one.split()) <= _LONGEST]
    if len(sentences) < _FEWEST_SENTENCES or not fit:
        return None
    place = draw.choice(fit)
    return " ".join(sentences[:place] + sentences[place + 1 :]), sentences[place]


def _run(text: str, draw: random.Random) -> _Taken:
    words, count = text.split(), draw.randint(*_RUN)
    if len(words) < 2 * count + _BESIDE:
        return None
    place = draw.randrange(len(words) - count)
    return " ".join(words[:place] + words[place + count :]), " ".join(words[place : place + count])
