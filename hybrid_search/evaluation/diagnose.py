"""Looks for what is wrong with an index's vectors, texts and legs, and says what to do about it.

The whole corpus is looked through for duplicates; what concerns vectors is measured on those that the index holds of a
sample of 5,000 documents. With judged queries the two legs are compared as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from hybrid_search.evaluation.evaluate import judged_queries
from hybrid_search.evaluation.measures import PRIMARY, Qrels, measure, qrels_of
from hybrid_search.evaluation.neighbours import Near, nearest_to, telling_words
from hybrid_search.evaluation.vector_use import (
    dead_dimensions,
    effective_rank,
    hubness,
    mean_cosine,
    separation,
    unit,
)  # fmt: skip
from hybrid_search.opening import open_retriever
from hybrid_search.protocols import Dataset, Engine, Progress, Vectors, silent
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.towers.coverage import Words, read_by_towers, unlike_words
from hybrid_search.training.fit.made import sampling
from hybrid_search.types import Document, Query, Ranking, can_be_held, text_hash

__all__ = ["BINS", "Diagnosis", "Finding", "diagnose"]

State = Literal["good", "look", "bad"]

BINS = 40
"""Bins of equal width that cosines from -1 to 1 are counted in."""

_DEPTH = 100
_TOP = 10
_EXAMPLES = 3
_MOST_QUERIES = 1_000
_PAIRS = 10_000
_SNIPPET = 80
_READ = 20_000
"""Characters of a document whose words are looked up; they are in memory as tokens, all at once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure, and what it means.

    :ivar name: of what was measured.
    :ivar value: in words.
    :ivar figures: the same as numbers.
    :ivar state: ``good``, ``look`` (worth a look) or ``bad``.
    :ivar advice: what to do, with the command; empty if nothing is.
    :ivar examples: documents or queries that show it.
    """

    name: str
    value: str
    figures: Mapping[str, float]
    state: State = "good"
    advice: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found; ``queries`` is 0 without judged queries.

    :ivar cosines: kind of pair -> how many such pairs have a cosine in each of :data:`BINS` bins from -1 to 1.
    :ivar near: what is nearest to some words and documents.
    """

    location: str
    documents: int
    sampled: int
    split: str
    queries: int
    findings: tuple[Finding, ...]
    cosines: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    near: tuple[Near, ...] = ()


def diagnose(
    location: str | Path,
    dataset: Dataset | None = None,
    *,
    split: str = "",
    judgement_set: str = "",
    min_grade: int = 1,
    near: Sequence[str] = (),
    model: Path | None = None,
    progress: Progress = silent,
) -> Diagnosis:
    """Diagnose an index.

    :param dataset: with judged queries, the first 1,000 of which are used; without it the legs are not compared.
    :param split: of the queries; empty for the first of ``test``, ``dev`` and ``validation``.
    :param near: ids of documents, and words, whose nearest ones are wanted; of none, three frequent words and the first
        document of the sample.
    :param model: towers to use instead of those stored in the index; they must be the same ones.
    :raises DataError: if a data set is given and has no judged queries.
    :raises MissingExtra: if scipy or ir-measures is needed and not installed.
    """
    queries: list[Query] = []
    qrels, chosen = Qrels({}, 1, ()), ""
    if dataset is not None:
        chosen, queries, judgements = judged_queries(dataset, split, judgement_set)
        given = {query.id for query in queries}
        qrels = qrels_of((j for j in judgements if j.query_id in given), min_grade=min_grade)
        queries = [query for query in queries if query.id in qrels.grades][:_MOST_QUERIES]
        qrels = Qrels({query.id: qrels.grades[query.id] for query in queries}, min_grade, ())
    with open_retriever(location, model=model) as retriever:
        count = retriever.engine.count()
        sample: list[Document] = []
        cosines: dict[str, tuple[int, ...]] = {}
        alike: list[Near] = []
        findings = [_duplicates(retriever, sample, count, progress)]
        if retriever.engine.settings.dimension and sample:
            folder = model or retriever.engine.model_folder()
            findings += _of_texts(folder, sample) if folder is not None else []
            vectors = _vectors(retriever.engine, [document.id for document in sample])
            findings += _of_vectors(vectors, sample)
            cosines["two random documents"] = _of_random_pairs(vectors)
            if retriever.encoder is not None:
                names = near or [*telling_words(sample, _EXAMPLES), sample[0].id]
                alike = nearest_to(retriever, sample, names)
            if queries and retriever.encoder is not None:
                findings += _of_positives(retriever, queries, qrels, vectors, cosines)
        if queries and retriever.searches_vectors:
            findings += _of_legs(retriever, queries, qrels, str(location))
    return Diagnosis(str(location), count, len(sample), chosen, len(queries), tuple(findings), cosines, tuple(alike))


def _vectors(engine: Engine, ids: Sequence[str]) -> Vectors:
    """Return the stored vectors, (n, dimension), a zero row where there is none."""
    vectors = np.zeros((len(ids), engine.settings.dimension), np.float32)
    stored = engine.vectors([id for id in ids if can_be_held(id)])
    for row, id in enumerate(ids):
        if id in stored:
            vectors[row] = stored[id]
    return vectors


def _duplicates(retriever: Retriever, sample: list[Document], count: int, progress: Progress) -> Finding:
    """Look through the corpus for texts that occur twice, and keep a sample of it."""
    first: dict[str, str] = {}
    doubled: list[tuple[str, str]] = []
    with progress("looking for duplicates", count) as task:
        for document in sampling(retriever.engine.documents(), sample):
            key = text_hash(document.searchable_text)
            if key in first:
                doubled.append((document.id, first[key]))
            first.setdefault(key, document.id)
            task.advance()
    share = len(doubled) / max(count, 1)
    return Finding(
        "duplicates",
        f"{len(doubled):,} of {count:,} documents have the text of another one",
        {"duplicates": len(doubled), "share": share},
        "look" if share > 0.01 else "good",
        "they take places of a result's first page, and are false negatives in training: leave them out of the data "
        "set, then hybrid-search load … --sync" if share > 0.01 else "",
        tuple(f"{id} = {other}" for id, other in doubled[:_EXAMPLES]),
    )  # fmt: skip


def _of_texts(folder: Path, sample: Sequence[Document]) -> list[Finding]:
    """Count what the towers do not read."""
    words = Words.of(folder)
    if words.tokenizer is None or not sample:
        return []
    read = read_by_towers(sample, words.tokenizer, words.longest)
    in_pieces, unknown = unlike_words(words, [document.searchable_text[:_READ] for document in sample])
    cut = read.cut / read.documents
    return [
        Finding(
            "unknown words",
            f"{unknown:.1%} of the words, {in_pieces:.0%} known by pieces only; {read.unknown:,} of {read.documents:,} "
            "documents have no vector",
            {"share": unknown, "in_pieces": in_pieces, "without_vector": read.unknown},
            "bad" if unknown > 0.2 else "look" if unknown > 0.05 or read.unknown else "good",
            "the towers can't tell these words apart: hybrid-search train on your documents, which learns their words"
            if unknown > 0.05 else "",
        ),
        Finding(
            "cut texts",
            f"{cut:.0%} of the documents have more than the {read.longest} tokens that the towers read",
            {"share": cut},
            "look" if cut > 0.2 else "good",
            "what comes after these is found by BM25 alone: hybrid-search load … --config passages cuts long texts"
            if cut > 0.2 else "",
        ),
    ]  # fmt: skip


def _of_vectors(vectors: Vectors, sample: Sequence[Document]) -> list[Finding]:
    """Judge the documents' vectors on their own."""
    dimension, rank, alike = vectors.shape[1], effective_rank(vectors), mean_cosine(vectors)
    dead, hubs = dead_dimensions(vectors), hubness(vectors, _TOP)
    used = rank / max(dimension, 1)
    retrain = "hybrid-search train with --set training.loss=infonce, or a lower --set training.learning_rate"
    return [
        Finding(
            "dimensions used",
            f"effective rank {rank:.0f} of {dimension}; {dead} dead",
            {"effective_rank": rank, "dimension": dimension, "dead": dead},
            "bad" if used < 0.1 else "look" if used < 0.3 or dead else "good",
            f"a smaller towers.dimension would hold as much, or more is to be learnt: {retrain}"
            if used < 0.3 or dead else "",
        ),
        Finding(
            "random pairs",
            f"two random documents have a cosine of {alike:.2f} on average",
            {"mean_cosine": alike},
            "bad" if alike > 0.98 else "look" if alike > 0.6 else "good",
            f"the vectors are collapsed, or nearly: {retrain}" if alike > 0.6 else "",
        ),
        Finding(
            "hubs",
            f"the most frequent hundredth of the documents are {hubs.share:.0%} of all {hubs.k} nearest ones (skewness "
            f"{hubs.skewness:.1f}); {hubs.never:.0%} are nobody's",
            {"share": hubs.share, "skewness": hubs.skewness, "never": hubs.never},
            "look" if hubs.share > 0.1 else "good",
            "look at the examples: short, empty or general texts come up for every query; leave them out, or mine hard "
            "negatives again while training (hybrid-search train --set training.refresh=1)" if hubs.share > 0.1 else "",
            tuple(f"{sample[row].id} ({times:,} times): {_short(sample[row])}" for row, times in hubs.hubs),
        ),
    ]  # fmt: skip


def _short(document: Document) -> str:
    text = " ".join(document.searchable_text.split())
    return text if len(text) <= _SNIPPET else text[: _SNIPPET - 1] + "…"


def _counted(cosines: Vectors) -> tuple[int, ...]:
    return tuple(np.histogram(np.clip(cosines, -1, 1), bins=BINS, range=(-1, 1))[0].tolist())


def _of_random_pairs(vectors: Vectors, seed: int = 0) -> tuple[int, ...]:
    points = unit(vectors)
    if len(points) < 2:
        return _counted(points[:0, :0])
    chance = np.random.default_rng(seed)
    one = chance.integers(len(points), size=_PAIRS)
    other = (one + chance.integers(1, len(points), size=_PAIRS)) % len(points)  # never the same one
    return _counted((points[one] * points[other]).sum(axis=1))


def _of_positives(
    retriever: Retriever,
    queries: Sequence[Query],
    qrels: Qrels,
    sample: Vectors,
    cosines: dict[str, tuple[int, ...]],
    seed: int = 0,
) -> list[Finding]:
    """Compare the cosines of queries and their answers with those of queries and random documents.

    :param cosines: gets how many there are of each.
    """
    pairs = [
        (row, id)
        for row, query in enumerate(queries)
        for id in [id for id, grade in qrels.grades[query.id].items() if grade >= qrels.min_grade][:_EXAMPLES]
    ]
    asked = _unit_rows(retriever.encode_queries([query.text for query in queries]))
    answers = _unit_rows(_vectors(retriever.engine, [id for _, id in pairs]))
    random = unit(sample)
    if not pairs or not len(random):
        return []
    drawn = random[np.random.default_rng(seed).integers(len(random), size=len(pairs))]
    rows = [row for row, _ in pairs]
    known = asked[rows].any(axis=1) & answers.any(axis=1)
    of_answers, of_drawn = ((asked[rows] * others).sum(axis=1)[known] for others in (answers, drawn))
    both = separation(of_answers, of_drawn)
    cosines["a query and a relevant document"] = _counted(of_answers)
    cosines["a query and a random document"] = _counted(of_drawn)
    if both is None:
        return []
    return [
        Finding(
            "answers against random documents",
            f"cosine {both.positives:.2f} against {both.randoms:.2f}; the answer's is the higher one in {both.auc:.1%}",
            {"positives": both.positives, "randoms": both.randoms, "auc": both.auc},
            "bad" if both.auc < 0.75 else "look" if both.auc < 0.9 else "good",
            "the towers hardly know what answers these queries: hybrid-search train on judged queries like them, or "
            "more of them" if both.auc < 0.9 else "",
        )
    ]  # fmt: skip


def _unit_rows(vectors: Vectors) -> Vectors:
    rows: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return rows


def _of_legs(retriever: Retriever, queries: Sequence[Query], qrels: Qrels, location: str) -> list[Finding]:
    """Compare what the legs find for judged queries."""
    texts = [query.text for query in queries]
    legs = {mode: retriever.rankings(texts, _DEPTH, mode=mode) for mode in ("bm25", "knn")}
    shares = [_shared(bm25, knn) for bm25, knn in zip(legs["bm25"], legs["knn"], strict=True)]
    apart = float(np.mean(np.array(shares) == 0))
    ids = [query.id for query in queries]
    values = {
        mode: measure(dict(zip(ids, rankings, strict=True)), qrels, names=(PRIMARY,))[PRIMARY]
        for mode, rankings in legs.items()
    }
    means = {mode: float(np.mean(list(of_mode.values()))) for mode, of_mode in values.items()}
    changes = {query.id: values["knn"][query.id] - values["bm25"][query.id] for query in queries}
    missed = _missed(queries, qrels, legs["bm25"], legs["knn"])
    tune = f"hybrid-search tune {location} DATASET says which weights are worth it"
    return [
        Finding(
            "agreement of the legs",
            f"{np.mean(shares):.0%} of the first {_TOP} are the same; none at {apart:.0%} of the queries",
            {"overlap": float(np.mean(shares)), "none": apart},
            "look" if np.mean(shares) > 0.8 else "good",
            f"a second leg that finds the same adds little: {tune}" if np.mean(shares) > 0.8 else "",
        ),
        _wins("queries that BM25 wins", queries, values, {id: -change for id, change in changes.items()}, means, tune),
        _wins("queries that the towers win", queries, values, changes, means, ""),
        Finding(
            "found by neither leg",
            f"{missed:.0%} of the relevant documents are in the first {_DEPTH} of neither leg",
            {"share": missed},
            "look" if missed > 0.5 else "good",
            f"no fusion finds them; a wider window may (hybrid-search tune {location} DATASET --measure R@100), else "
            "train on such queries" if missed > 0.5 else "",
        ),
    ]  # fmt: skip


def _wins(
    name: str,
    queries: Sequence[Query],
    values: Mapping[str, Mapping[str, float]],
    gains: Mapping[str, float],
    means: Mapping[str, float],
    advice: str,
) -> Finding:
    ahead = sorted((query for query in queries if gains[query.id] > 0), key=lambda query: (-gains[query.id], query.id))
    lost = advice and means["knn"] < means["bm25"] / 2
    return Finding(
        name,
        f"{len(ahead):,} of {len(queries):,}; mean {PRIMARY} {means['bm25']:.3f} (BM25) and {means['knn']:.3f} (k-NN)",
        {"queries": len(ahead), **means},
        "look" if lost else "good",
        f"k-NN is far behind: {advice}" if lost else "",
        tuple(
            f"{query.text} (BM25 {values['bm25'][query.id]:.2f}, k-NN {values['knn'][query.id]:.2f})"
            for query in ahead[:_EXAMPLES]
        ),
    )


def _shared(bm25: Ranking, knn: Ranking) -> float:
    longest = max(len(bm25.ids[:_TOP]), len(knn.ids[:_TOP]))
    return len(set(bm25.ids[:_TOP]) & set(knn.ids[:_TOP])) / longest if longest else 0.0


def _missed(queries: Sequence[Query], qrels: Qrels, bm25: Sequence[Ranking], knn: Sequence[Ranking]) -> float:
    relevant = found = 0
    for query, *rankings in zip(queries, bm25, knn, strict=True):
        wanted = {id for id, grade in qrels.grades[query.id].items() if grade >= qrels.min_grade}
        relevant += len(wanted)
        found += len(wanted & {id for ranking in rankings for id in ranking.ids})
    return 1 - found / max(relevant, 1)
