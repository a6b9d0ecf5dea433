"""What do the words around a question cost BM25, and what mends it? "how do I …", "what should I know about my …".

``python -m benchmarks.asked``; writes ``results/asked.json``, which ``docs/studies/asked.md`` reads. Every query of
every set is asked as it is, and again in each of :data:`FORMS`. Rankings are BM25's alone, over all documents, by the
engine's formula and terms. ``general English`` caps a word's idf by its idf in other texts.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from benchmarks.harness import DATA, read_documents, write_result
from benchmarks.lexical import DEPTH, STOP_WORDS
from benchmarks.quality.sets import NAMES, Judged, test_set
from hybrid_search import mappings
from hybrid_search.analysis import Analyzer, analyzer
from hybrid_search.engines.embedded.search.bm25 import lucene_length
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.evaluation.significance import compare
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.settings.index import Bm25
from hybrid_search.types import Ranking

FORMS = {
    "as it is": "{}",
    "how do I": "how do I {}",
    "what should I know": "what should I know about my {}",
    "please tell me": "can you please tell me about {}",
    "somebody explain": "I was wondering if somebody could explain {} to me",
    "any advice": "does anyone have any advice on {}",
    "is it true": "is it really true what people say about {}",
}
"""The last two have words that are no function words: advice, really, true, people."""

MOST_QUERIES = 500
PRODUCT = "function words left out"
ENGLISH = analyzer("english_folded")

Weigh = Callable[[Sequence[str], Mapping[str, float]], list[float]]
"""(a query's words, idf by word) -> a weight for each word."""


def main() -> None:
    """Measure all sets in all forms."""
    compared = rules()
    figures = {name: _measured(judged, compared) for name, judged in judged_sets()}
    write_result("asked", figures, command="python -m benchmarks.asked", show=False)
    for name, by_form in figures.items():
        for form, by_rule in by_form.items():
            print(f"{name}, {form}: " + ", ".join(f"{rule} {of['nDCG@10']}" for rule, of in by_rule.items()))


def judged_sets() -> Iterator[tuple[str, Judged]]:
    """Yield the sets of the protocol, both their parts, and WikiQA's questions."""
    for name in NAMES:
        both = test_set(name)
        yield f"{name}, test", both.test
        yield f"{name}, fit", both.fit
    opened = open_dataset("beir", DATA / "wikiqa", reject=lambda rejection: None)
    yield (
        "wikiqa",
        Judged(read_documents("beir", "wikiqa"), list(opened.queries("train")), list(opened.judgements("train"))),
    )


def rules() -> dict[str, Weigh]:
    """Return what is compared: the idf alone, three lists and a cap."""
    product = mappings.render("analysis/function_words")["english"]
    general = _general_idf()
    return {
        "all words": lambda words, idf: [idf[word] for word in words],
        "Lucene's 33 left out": listed(STOP_WORDS, 0.0),
        PRODUCT: listed(product, 0.0),
        "function words a tenth": listed(product, 0.1),
        "general English": lambda words, idf: [min(idf[word], general.get(word, np.inf)) for word in words],
    }


def listed(words: Sequence[str], share: float) -> Weigh:
    """Let these words count a share of their idf, unless a query has no others."""
    known = frozenset(words)

    def weigh(asked: Sequence[str], idf: Mapping[str, float]) -> list[float]:
        has_others = any(word not in known for word in asked)
        return [idf[word] * (share if has_others and word in known else 1) for word in asked]

    return weigh


def _general_idf() -> dict[str, float]:
    """Count words in an eighth of the general text."""
    having: Counter[str] = Counter()
    count = 0
    with gzip.open(DATA / "general-text" / "passages-00.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            having.update(set(ENGLISH.words(json.loads(line)["text"])))
            count += 1
    return {word: float(np.log(1 + (count - n + 0.5) / (n + 0.5))) for word, n in having.items()}


@dataclass(frozen=True)
class Corpus:
    """Documents as BM25's weights of their terms, without idf, (terms, documents)."""

    ids: NDArray[np.object_]
    weights: csr_matrix
    vocabulary: Mapping[str, int]
    analyzer: Analyzer

    @classmethod
    def of(cls, judged: Judged, bm25: Bm25, analyzer: Analyzer = ENGLISH) -> Corpus:
        """Analyze the documents, in the order of their ids, which ties are broken by."""
        documents = sorted(judged.documents, key=lambda document: document.id)
        terms_of, vocabulary = analyzer.terms_of(), dict[str, int]()
        rows = [[vocabulary.setdefault(t, len(vocabulary)) for t in terms_of(d.searchable_text)] for d in documents]
        lengths = np.array([len(row) for row in rows])
        flat = np.array([term for row in rows for term in row])
        of = np.repeat(np.arange(len(rows)), lengths)
        counts = csr_matrix((np.ones(len(flat)), (of, flat)), shape=(len(rows), len(vocabulary)))
        counts.sum_duplicates()
        norm = bm25.k1 * (1 - bm25.b + bm25.b * lucene_length(lengths) / lengths.mean())
        counts.data /= counts.data + np.repeat(norm, np.diff(counts.indptr))
        return cls(np.array([d.id for d in documents], dtype=object), counts.T.tocsr(), vocabulary, analyzer)

    def ranked(self, text: str, weigh: Weigh, depth: int = DEPTH) -> Ranking:
        """Rank by the words that the corpus has."""
        words = self.analyzer.words(text)
        terms = [self._term(word) for word in words]
        having = np.diff(self.weights.indptr)
        idf = {
            word: float(np.log(1 + (len(self.ids) - having[term] + 0.5) / (having[term] + 0.5))) if term >= 0 else 0.0
            for word, term in zip(words, terms, strict=True)
        }
        given = [(t, w) for t, w in zip(terms, weigh(words, idf), strict=True) if t >= 0 and w > 0]
        scores = np.zeros(len(self.ids))
        for term, weight in given:
            part = slice(self.weights.indptr[term], self.weights.indptr[term + 1])
            scores[self.weights.indices[part]] += weight * self.weights.data[part]
        found = np.flatnonzero(scores)
        scores = scores[found].round(9)
        order = np.lexsort((found, -scores))[:depth]
        return Ranking(tuple(self.ids[found[order]]), tuple(scores[order].tolist()))

    def _term(self, word: str) -> int:
        terms = self.analyzer.terms_of()(word)
        return self.vocabulary.get(terms[0], -1) if terms else -1


def _measured(judged: Judged, compared: Mapping[str, Weigh]) -> dict[str, Any]:
    """Measure each form with each rule, and compare the product's with all words."""
    corpus = Corpus.of(judged, Bm25())
    relevant = qrels_of(judged.judgements).grades.keys()
    queries = [query for query in judged.queries if query.id in relevant][:MOST_QUERIES]
    asked = {query.id for query in queries}
    qrels = qrels_of(j for j in judged.judgements if j.query_id in asked)
    figures: dict[str, Any] = {}
    for form, around in FORMS.items():
        values = {}
        for rule, weigh in compared.items():
            run = {query.id: corpus.ranked(around.format(query.text), weigh) for query in queries}
            values[rule] = measure(run, qrels, names=("nDCG@10", "R@100"))
        ndcg = {rule: values[rule]["nDCG@10"] for rule in ("all words", PRODUCT)}
        against = compare(ndcg, baseline="all words")[PRODUCT]
        figures[form] = {
            rule: {name: round(value, 4) for name, value in means(of).items()} for rule, of in values.items()
        }
        figures[form][PRODUCT] |= {
            "difference": round(against.difference, 4),
            "interval": [round(end, 4) for end in against.difference_interval or ()],
            "p": round(against.p_value, 4),
        }
    return figures


if __name__ == "__main__":
    main()
