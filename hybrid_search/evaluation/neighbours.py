"""What the towers take for alike: the words nearest to a word, the documents nearest to a document.

A word is what the query tower makes of it alone, and the words it is compared with are those of a sample of documents.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_search.protocols import Vectors
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.types import Document, can_be_held

__all__ = ["Near", "nearest_to", "telling_words"]

_WORD = re.compile(r"[^\W\d_]{3,}")
_MOST_WORDS = 3_000
_LONGEST = 5_000
"""Characters of a document that are looked at for words."""

_LEAST_LETTERS = 5
_COMMON = 0.1
_WORDS, _DOCUMENTS = 8, 3


@dataclass(frozen=True, slots=True)
class Near:
    """What is nearest to a document or a word.

    :ivar to: the document's id, or the word.
    :ivar is_document: whether it is a document.
    :ivar found: ids of documents and their k-NN scores, or words and their cosines, nearest first; none for a word
        that the towers do not know.
    """

    to: str
    is_document: bool
    found: tuple[tuple[str, float], ...]


def telling_words(sample: Sequence[Document], number: int) -> list[str]:
    """Return frequent words that say something: of five letters or more, and in a tenth of the documents at most."""
    most = max(2, _COMMON * len(sample))
    counts = _frequencies(sample)
    fit = [word for word, count in counts.items() if len(word) >= _LEAST_LETTERS and 2 <= count <= most]
    return sorted(fit, key=lambda word: (-counts[word], word))[:number]


def nearest_to(retriever: Retriever, sample: Sequence[Document], names: Sequence[str]) -> list[Near]:
    """Find what is nearest to each name: the three nearest documents to the document of that id, if there is one.

    To any other text, taken as a word, the eight nearest of the sample's 3,000 most frequent words, without itself.

    :raises UsageError: if the retriever has no towers.
    """
    documents = {name: retriever.neighbours(name, _DOCUMENTS) for name in names if can_be_held(name)}
    words = [name for name in names if documents.get(name) is None]
    of_words = dict(zip(words, _nearest_words(retriever, sample, words), strict=True))
    found = []
    for name in names:
        hits = documents.get(name)
        pairs = of_words[name] if hits is None else [(hit.id, round(hit.score, 4)) for hit in hits]
        found.append(Near(name, hits is not None, tuple(pairs)))
    return found


def _nearest_words(
    retriever: Retriever, sample: Sequence[Document], words: Sequence[str]
) -> list[list[tuple[str, float]]]:
    counts = _frequencies(sample)
    others = sorted(counts, key=lambda word: (-counts[word], word))[:_MOST_WORDS]
    if not others or not words:
        return [[] for _ in words]
    asked, known = (_unit(retriever.encode_queries(list(texts))) for texts in (words, others))
    found = []
    for word, vector in zip(words, asked, strict=True):
        cosines = known @ vector
        best: list[int] = np.argsort(-cosines, kind="stable")[: _WORDS + 1].tolist() if vector.any() else []
        near = [(others[row], round(float(cosines[row]), 4)) for row in best if others[row] != word.casefold()]
        found.append(near[:_WORDS])
    return found


def _frequencies(sample: Sequence[Document]) -> Counter[str]:
    """Count the documents in which each word occurs."""
    found: Counter[str] = Counter()
    for document in sample:
        found.update({word.casefold() for word in _WORD.findall(document.searchable_text[:_LONGEST])})
    return found


def _unit(vectors: Vectors) -> Vectors:
    rows: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return rows
