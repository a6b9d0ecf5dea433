"""Mines hard negatives: documents that a ranking puts near the top but that don't answer the query.

The index is passed as a callable, so the same code mines with BM25, with k-NN, or with both.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from hybrid_search.analysis import analyzer
from hybrid_search.errors import importing_extra
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.training import NegativeSource
from hybrid_search.training.data.pairs import GetDocuments
from hybrid_search.training.teacher.scores import Case, Judge
from hybrid_search.types import Document, Example, Ranking, by_score_then_id, normalise_text, text_hash

__all__ = [
    "MinedQuery",
    "Miner",
    "Negative",
    "Search",
    "has_answer",
    "known_answers",
    "mine_in_row",
    "rank_candidates",
]

Search = Callable[[Sequence[str], int], Sequence[Ranking]]
"""Ranks documents for a batch of query texts: (texts, k) -> one ranking each."""

# "yes", "no", "4" occur in any text; only a longer answer shows that a document answers the question.
_SHORTEST_ANSWER = 4


class Negative(msgspec.Struct, frozen=True):
    """A mined document: its rank (from 1) and score in the ranking."""

    id: str
    rank: int
    score: float
    source: NegativeSource


class MinedQuery(msgspec.Struct, frozen=True):
    """A query with the ids of its positives, and its negatives, best rank first; a line of ``negatives.jsonl``."""

    query_id: str
    query: str
    positives: tuple[str, ...]
    negatives: tuple[Negative, ...]


def known_answers(answers: Iterable[str]) -> frozenset[str]:
    """Normalise answers, and leave out those that would be found in any text."""
    return frozenset(answer for answer in map(normalise_text, answers) if len(answer) >= _SHORTEST_ANSWER)


def has_answer(document: Document, answers: frozenset[str]) -> bool:
    """Return whether a document's text contains one of these normalised answers as whole words."""
    if not answers:
        return False
    text = normalise_text(document.searchable_text)
    return any(re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text) for answer in answers)


@dataclass(slots=True)
class _Target:
    """A query, and what is known about it before mining."""

    query_id: str
    query: str
    positives: frozenset[str]
    hashes: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    answers: frozenset[str] = frozenset()
    candidates: dict[str, Document] = field(default_factory=dict)

    def is_answered_by(self, document: Document) -> bool:
        """Return whether the document's text contains one of the known answers."""
        return has_answer(document, self.answers)


@dataclass(slots=True)
class Miner:
    """Mines from one ranking. ``dropped`` counts suspected false negatives by reason, while iterating.

    :ivar rank_window: (first, last) ranks of candidates, from 1, counted before filtering.
    :ivar keep: maximum number per query, drawn evenly over the window.
    :ivar false_negative_margin: drop candidates that score at least this share of the query's best-scoring positive, if
        one is in the ranking; 0 for no such limit.
    :ivar judge: a teacher that detects further false negatives.
    """

    search: Search
    get_documents: GetDocuments
    source: NegativeSource = "bm25"
    rank_window: tuple[int, int] = (5, 100)
    keep: int = 16
    false_negative_margin: float = 0.95
    judge: Judge | None = None
    seed: int = 0
    batch_size: int = 256
    dropped: Counter[str] = field(default_factory=Counter)

    def mine(
        self, examples: Iterable[Example], positives: Mapping[str, frozenset[str]] | None = None
    ) -> Iterator[MinedQuery]:
        """Search for each distinct query of the examples, in batches, and yield the candidates that pass the filters.

        :param positives: query id -> ids of further documents known to be relevant, besides those of the examples.
        """
        targets = iter(_targets(examples, positives or {}).values())
        while batch := list(itertools.islice(targets, self.batch_size)):
            rankings = self.search([target.query for target in batch], self.rank_window[1])
            drawn = [self._draw(*pair) for pair in zip(batch, rankings, strict=True)]
            ids = list(dict.fromkeys(negative.id for negatives in drawn for negative in negatives))
            texts = dict(zip(ids, self.get_documents(ids), strict=True))
            kept = [
                [negative for negative in negatives if _is_negative(target, texts[negative.id], self.dropped)]
                for target, negatives in zip(batch, drawn, strict=True)
            ]
            for target, negatives in zip(batch, self._judged(batch, kept, texts), strict=True):
                yield MinedQuery(target.query_id, target.query, tuple(sorted(target.positives)), tuple(negatives))

    def _judged(
        self, targets: Sequence[_Target], drawn: list[list[Negative]], texts: Mapping[str, Document | None]
    ) -> list[list[Negative]]:
        if self.judge is None:
            return drawn
        cases = [
            Case(target.query, target.texts, [found.searchable_text for n in negatives if (found := texts[n.id])])
            for target, negatives in zip(targets, drawn, strict=True)
        ]
        kept = []
        for negatives, verdicts in zip(drawn, self.judge(cases), strict=True):
            kept.append([negative for negative, is_false in zip(negatives, verdicts, strict=True) if not is_false])
            self.dropped["teacher_takes_for_positive"] += sum(verdicts)
        return kept

    def _draw(self, target: _Target, ranking: Ranking) -> list[Negative]:
        first, last = self.rank_window
        ranked = list(zip(range(1, last + 1), ranking.ids, ranking.scores, strict=False))
        best = max((score for _, i, score in ranked if i in target.positives), default=None)
        ceiling = self.false_negative_margin * best if self.false_negative_margin and best and best > 0 else np.inf
        candidates = []
        for rank, document_id, score in ranked[first - 1 :]:
            if document_id in target.positives:
                self.dropped["own_positive"] += 1
            elif score >= ceiling:
                self.dropped["scores_like_positive"] += 1
            else:
                candidates.append(Negative(document_id, rank, float(score), self.source))
        if len(candidates) <= self.keep:
            return candidates
        generator = np.random.default_rng([self.seed, int(text_hash(target.query), 16)])
        return [candidates[i] for i in sorted(generator.choice(len(candidates), self.keep, replace=False))]


def _is_negative(target: _Target, document: Document | None, dropped: Counter[str]) -> bool:
    if document is None:
        dropped["missing"] += 1
    elif document.id == target.query_id and text_hash(document.text) == text_hash(target.query):
        dropped["the_query_itself"] += 1
    elif text_hash(document.searchable_text) in target.hashes:
        dropped["same_text_as_positive"] += 1
    elif target.is_answered_by(document):
        dropped["contains_answer"] += 1
    else:
        return True
    return False


def mine_in_row(
    examples: Iterable[Example],
    positives: Mapping[str, frozenset[str]] | None = None,
    *,
    keep: int = 16,
    dropped: Counter[str] | None = None,
) -> Iterator[MinedQuery]:
    """Return the examples' own negatives, the ``keep`` best by BM25, after the same filters.

    :param dropped: increased by the number of dropped candidates for each reason.
    """
    counts: Counter[str] = Counter() if dropped is None else dropped
    for target in _targets(examples, positives or {}).values():
        documents = [d for d in target.candidates.values() if d.id not in target.positives]
        ranking = rank_candidates(target.query, [d for d in documents if _is_negative(target, d, counts)])
        ranked = zip(itertools.count(1), ranking.ids[:keep], ranking.scores, strict=False)
        negatives = tuple(Negative(i, rank, score, "in_row") for rank, i, score in ranked)
        yield MinedQuery(target.query_id, target.query, tuple(sorted(target.positives)), negatives)


def rank_candidates(query: str, documents: Sequence[Document]) -> Ranking:
    """Rank a query's few candidates by BM25 (rank-bm25), over the terms that an index would have.

    Uses BM25Plus, because Okapi's idf is negative for a word in more than half of so short a list.

    :raises MissingExtra: if rank-bm25 is not installed.
    """
    with importing_extra("train"):
        from rank_bm25 import BM25Plus

    if not documents:
        return Ranking((), ())
    terms_of = analyzer(IndexSettings().analyzer).terms_of()
    words = [terms_of(document.searchable_text) for document in documents]
    if not any(words):
        return Ranking(tuple(sorted(document.id for document in documents)), (0.0,) * len(documents))
    scores = BM25Plus(words).get_scores(terms_of(query))
    ranked = by_score_then_id((document.id, float(s)) for document, s in zip(documents, scores, strict=True))
    return Ranking(tuple(i for i, _ in ranked), tuple(score for _, score in ranked))


def _targets(examples: Iterable[Example], positives: Mapping[str, frozenset[str]]) -> dict[str, _Target]:
    targets: dict[str, _Target] = {}
    for example in examples:
        query = example.query
        target = targets.setdefault(query.id, _Target(query.id, query.text, positives.get(query.id, frozenset())))
        target.positives |= {example.positive.id}
        target.texts.append(example.positive.searchable_text)
        target.hashes.add(text_hash(example.positive.searchable_text))
        target.answers |= known_answers(example.answers)
        target.candidates.update({document.id: document for document in example.negatives})
    return targets
