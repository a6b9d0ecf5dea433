"""What are the lexical leg's choices worth? Stop words and stemming, and k1 and b fitted on training-side queries.

``python -m benchmarks.lexical``; writes ``results/lexical.json``, which ``docs/studies/lexical.md`` reads. By the
protocol of ``docs/studies/protocol.md``: choices on the queries to fit on, figures on the test queries. Scores are the
engine's: Lucene's formula with its rounded lengths, over the terms that tantivy makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tantivy
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from benchmarks.harness import write_result
from benchmarks.quality.sets import NAMES, Judged, test_set
from hybrid_search.engines.embedded.search.bm25 import lucene_length
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.evaluation.significance import compare
from hybrid_search.settings.index import Bm25
from hybrid_search.training.fit.weights import fit_bm25
from hybrid_search.types import Query, Ranking

STOP_WORDS = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not",
    "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will",
    "with",
]  # fmt: skip
"""The short list that Lucene's English analyzer drops."""

ANALYZERS = {
    "stemming": (False, True),
    "stemming, stop words dropped": (True, True),
    "plain": (False, False),
    "plain, stop words dropped": (True, False),
}
"""Name -> whether stop words are dropped, and whether words are cut to their stem. The first is ``english``."""

DEFAULT = next(iter(ANALYZERS))
DEPTH = 100
MOST_FIT_QUERIES = 500
MEASURES = ("nDCG@10", "R@100")


def main() -> None:
    """Measure all of it."""
    figures: dict[str, Any] = {}
    for name in NAMES:
        data = test_set(name)
        parts = {"test": data.test, "fit": data.fit}
        indexes = {
            (analyzer, part): Terms.of(judged, _terms_of(*choice))
            for analyzer, choice in ANALYZERS.items()
            for part, judged in parts.items()
        }
        figures[name] = {
            "analyzers": {part: _analyzers(judged, part, indexes) for part, judged in parts.items()},
            "k1 and b": {analyzer: _fitted(data.fit, data.test, analyzer, indexes) for analyzer in ANALYZERS},
        }
    write_result("lexical", figures, command="python -m benchmarks.lexical")


def _terms_of(drops: bool, stems: bool) -> Callable[[str], list[str]]:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
    if drops:
        builder = builder.filter(tantivy.Filter.custom_stopword(STOP_WORDS))
    if stems:
        builder = builder.filter(tantivy.Filter.stemmer("english"))
    return builder.build().analyze


@dataclass(frozen=True)
class Terms:
    """Documents as counts of terms (documents, terms), and what turns a query into the same terms."""

    ids: NDArray[np.object_]
    counts: csr_matrix
    lengths: NDArray[np.int64]
    vocabulary: Mapping[str, int]
    terms_of: Callable[[str], list[str]]

    @classmethod
    def of(cls, judged: Judged, terms_of: Callable[[str], list[str]]) -> Terms:
        """Analyze the documents, in the order of their ids, which ties are broken by."""
        documents = sorted(judged.documents, key=lambda document: document.id)
        vocabulary: dict[str, int] = {}
        columns = [
            [vocabulary.setdefault(term, len(vocabulary)) for term in terms_of(document.searchable_text)]
            for document in documents
        ]
        ids = np.array([document.id for document in documents], dtype=object)
        lengths = np.array([len(row) for row in columns])
        return cls(ids, _counted(columns, len(vocabulary)), lengths, vocabulary, terms_of)

    def ranked(self, texts: Sequence[str], bm25: Bm25) -> list[Ranking]:
        """Rank by BM25, ties by id."""
        having = np.bincount(self.counts.indices, minlength=len(self.vocabulary))
        idf = np.log(1 + (len(self.ids) - having + 0.5) / (having + 0.5))
        norm = bm25.k1 * (1 - bm25.b + bm25.b * lucene_length(self.lengths) / self.lengths.mean())
        found = self.counts.data
        weights = idf[self.counts.indices] * found / (found + np.repeat(norm, np.diff(self.counts.indptr)))
        documents = csr_matrix((weights, self.counts.indices, self.counts.indptr), self.counts.shape)
        asked = [[self.vocabulary[t] for t in self.terms_of(text) if t in self.vocabulary] for text in texts]
        scores = (_counted(asked, len(self.vocabulary)) @ documents.T).tocsr()
        rows = zip(scores.indptr, scores.indptr[1:], strict=False)
        return [self._best(scores.indices[first:last], scores.data[first:last]) for first, last in rows]

    def _best(self, documents: NDArray[np.int32], scores: NDArray[np.float64]) -> Ranking:
        scores = scores.round(9)
        if len(scores) > DEPTH:
            last = np.partition(scores, -DEPTH)[-DEPTH]
            documents, scores = documents[scores >= last], scores[scores >= last]
        order = np.lexsort((documents, -scores))[:DEPTH]
        return Ranking(tuple(self.ids[documents[order]]), tuple(scores[order].tolist()))


def _counted(columns: Sequence[Sequence[int]], size: int) -> csr_matrix:
    rows = np.repeat(np.arange(len(columns)), [len(row) for row in columns])
    flat = np.array([column for row in columns for column in row], dtype=np.int64)
    matrix = csr_matrix((np.ones(len(flat)), (rows, flat)), shape=(len(columns), size))
    matrix.sum_duplicates()
    return matrix


Indexes = Mapping[tuple[str, str], Terms]


def _analyzers(judged: Judged, part: str, indexes: Indexes) -> dict[str, Any]:
    """Measure each analyzer with the default k1 and b, and compare it with the default one in nDCG@10."""
    qrels = qrels_of(judged.judgements)
    values = {
        name: measure(_run(indexes[name, part], judged.queries, Bm25()), qrels, names=MEASURES) for name in ANALYZERS
    }
    compared = compare({name: of["nDCG@10"] for name, of in values.items()}, baseline=DEFAULT)
    return {name: {**_rounded(means(of)), **_difference(compared[name])} for name, of in values.items()}


def _fitted(fit: Judged, test: Judged, analyzer: str, indexes: Indexes) -> dict[str, Any]:
    """Choose k1 and b on the queries to fit on, and compare the default and the best of the grid on the test."""
    queries = list(fit.queries)[:MOST_FIT_QUERIES]
    texts = [query.text for query in queries]
    chosen = fit_bm25(lambda pair: indexes[analyzer, "fit"].ranked(texts, pair), queries, fit.judgements)
    qrels = qrels_of(test.judgements)
    pairs = {"default": Bm25(), "best of the grid on the fit": chosen.best}
    values = {
        name: measure(_run(indexes[analyzer, "test"], test.queries, pair), qrels, names=MEASURES)
        for name, pair in pairs.items()
    }
    compared = compare({name: of["nDCG@10"] for name, of in values.items()}, baseline="default")
    return {
        "kept": f"{chosen.bm25.k1} {chosen.bm25.b}",
        "best": f"{chosen.best.k1} {chosen.best.b}",
        "gain on the fit": round(chosen.gain, 4),
        "p on the fit": round(chosen.p_value, 4),
        "test": {name: {**_rounded(means(of)), **_difference(compared[name])} for name, of in values.items()},
    }


def _run(terms: Terms, queries: Sequence[Query], bm25: Bm25) -> dict[str, Ranking]:
    rankings = terms.ranked([query.text for query in queries], bm25)
    return dict(zip([query.id for query in queries], rankings, strict=True))


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _difference(comparison: Any) -> dict[str, Any]:
    interval = comparison.difference_interval or (0.0, 0.0)
    return {
        "difference": round(comparison.difference, 4),
        "interval": [round(end, 4) for end in interval],
        "p": round(comparison.p_value, 4),
    }


if __name__ == "__main__":
    main()
