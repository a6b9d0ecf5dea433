"""Compares any number of indexes, settings and run files on one data set: quality, speed and size in one table."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl

from hybrid_search.errors import UsageError, shown
from hybrid_search.evaluation.evaluate import judged_queries, seen_in_training
from hybrid_search.evaluation.latency import Latency, measure_encoding, measure_latency, measure_memory
from hybrid_search.evaluation.measures import Measurer, Qrels, check_depth, means, qrels_of
from hybrid_search.evaluation.protocol import own_documents, without_own
from hybrid_search.evaluation.report import read_run
from hybrid_search.evaluation.significance import Comparison, compare
from hybrid_search.opening import is_on_server, open_retriever
from hybrid_search.protocols import Dataset, Progress, Task, silent
from hybrid_search.retrieval.retriever import Retriever, modes_of
from hybrid_search.search import MAX_K, MODES
from hybrid_search.second_stage import RERANK_DEPTH, SecondStage
from hybrid_search.settings.index import Fusion
from hybrid_search.streams import in_batches
from hybrid_search.towers.model_card import read_model_card
from hybrid_search.towers.shipped import located
from hybrid_search.types import Document, Query, Ranking

__all__ = ["CompareRequest", "Compared", "Contender", "Row", "compare_systems"]

_NAMED = re.compile(r"([^/\\:?=]+)=(.+)", re.DOTALL)
_BATCH = 256
_SECOND = ("rerank", "rerank_depth", "diversity")
_NOBODY: frozenset[str] = frozenset()
T = TypeVar("T")
_FUSION: Mapping[str, Callable[[str], Any]] = {"method": str, "combination": str, "window": int, "rank_constant": int}


@dataclass(frozen=True, slots=True)
class Contender:
    """What is compared: an index with settings, or a run file.

    :ivar name: in the table.
    :ivar place: an index's location, or a TREC run file.
    :ivar settings: of an index: ``mode``, ``model``, ``bm25_weight``, and ``method``, ``combination``, ``window`` and
        ``rank_constant`` of its fusion, the index's own for what is left out; ``rerank`` (a cross-encoder),
        ``rerank_depth`` and ``diversity`` of a second stage.
    """

    name: str
    place: str
    settings: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``[NAME=]PLACE[?SETTING=VALUE&...]``.

        :raises UsageError: on an unknown setting, or settings of a run file.
        """
        found = _NAMED.fullmatch(text)
        name, rest = (found[1], found[2]) if found else (text, text)
        if Path(rest).is_file():
            return cls(name, rest, {})
        place, _, query = rest.partition("?")
        settings = dict(parse_qsl(query, keep_blank_values=True))
        if unknown := sorted(settings.keys() - {"mode", "model", "bm25_weight", *_FUSION, *_SECOND}):
            names = ", ".join(("mode", "model", "bm25_weight", *_FUSION, *_SECOND))
            raise UsageError(f"{text}: there is no setting {unknown[0]!r}; there are {names}")
        if settings.get("mode", MODES[0]) not in MODES:
            raise UsageError(f"{text}: mode is {settings['mode']!r}; it must be one of {', '.join(MODES)}")
        if Path(place).is_file():
            raise UsageError(f"{text}: {place} is a run file, which has no settings")
        return cls(name, place, settings)

    @property
    def is_run(self) -> bool:
        """Whether it is a run file."""
        return Path(self.place).is_file()

    def fusion(self, present: Fusion) -> Fusion | None:
        """Return the index's fusion with these settings; None for the index's own.

        :raises UsageError: if a value is invalid.
        """
        changes: dict[str, Any] = {key: self._read(key, kind) for key, kind in _FUSION.items() if key in self.settings}
        if (weight := self._read("bm25_weight", float)) is not None:
            changes["weights"] = (weight, round(1 - weight, 12))
        try:
            return present.replace(**changes) if changes else None
        except ValueError as error:
            raise UsageError(f"{self.name}: {error}") from error

    def _read(self, name: str, kind: Callable[[str], T]) -> T | None:
        """Return a setting's value; None if it was not given."""
        text = self.settings.get(name)
        try:
            return None if text is None else kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise UsageError(f"{self.name}: {name} is {shown(text)}; it must be {wanted}") from None

    def second(self) -> SecondStage | None:
        """Open the second stage of these settings; None for none.

        :raises UsageError: if a value is invalid.
        :raises ModelNotFound: if the cross-encoder can't be opened.
        """
        asked = self._read("rerank_depth", int), self._read("diversity", float)
        rerank = None
        if model := self.settings.get("rerank"):
            from hybrid_search.retrieval.reranking import CrossEncoderReranker

            rerank = CrossEncoderReranker(model)
        return SecondStage.of(RERANK_DEPTH, rerank, *asked)


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """What to measure.

    :ivar measures: by their names in ir-measures; the first one is tested for significance.
    :ivar baseline: the name of the contender that the others are compared with; empty for the first.
    :ivar depth: documents ranked for a query.
    :ivar speed: also measure latency.
    :ivar keep_identical: leave a document in the ranking of the query that it is itself; BEIR leaves it out.
    """

    split: str = ""
    judgement_set: str = ""
    measures: tuple[str, ...] = ("nDCG@10", "RR@10", "R@100")
    baseline: str = ""
    min_grade: int = 1
    depth: int = 1_000
    speed: bool = True
    seed: int = 0
    keep_identical: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One contender.

    :ivar means: measure -> mean.
    :ivar comparison: with the baseline, in the first measure.
    :ivar missing: judged queries that a run file has nothing for; they count as 0.
    :ivar latency: None for a run file, and if speed was not measured.
    :ivar bytes: size of the index; None for a run file.
    :ivar is_optimal: whether no other is at least as good in quality, median latency and size and better in one.
    :ivar trained_on: share of a sample of the towers' training queries that are among the queries, 0..1.
    :ivar encoded: documents of the index that its towers encode in a second; None as ``latency``, and for BM25 alone.
    :ivar memory: bytes that opening the index and searching add to a process; None as ``latency``, for an index on a
        server, and where that can't be measured.
    :ivar training: seconds that the training of the towers took; None if their model does not tell, and for BM25 alone.
    """

    name: str
    means: Mapping[str, float]
    comparison: Comparison
    missing: int
    latency: Latency | None
    bytes: int | None
    is_optimal: bool
    trained_on: float
    encoded: float | None = None
    memory: int | None = None
    training: float | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """The comparison: its rows in the order given.

    :ivar identical: queries that are documents themselves and were left out of their own rankings.
    """

    split: str
    baseline: str
    queries: int
    measures: tuple[str, ...]
    rows: tuple[Row, ...]
    identical: int = 0


@dataclass(frozen=True, slots=True)
class _Measured:
    values: Mapping[str, Mapping[str, float]]
    missing: int = 0
    latency: Latency | None = None
    bytes: int | None = None
    trained_on: float = 0.0
    identical: int = 0
    encoded: float | None = None
    memory: int | None = None
    training: float | None = None


def compare_systems(
    dataset: Dataset,
    contenders: Sequence[Contender],
    request: CompareRequest | None = None,
    *,
    progress: Progress = silent,
) -> Compared:
    """Measure contenders on the judged queries of a split; run files need no index.

    :raises UsageError: if two have one name, there is no such baseline, split or measure, or a setting is invalid.
    :raises DataError: if no query is judged, or a run file can't be read.
    """
    request = request or CompareRequest()
    if not request.measures:
        raise UsageError("there is no measure to compare by; name one, such as nDCG@10")
    if not contenders:
        raise UsageError("there is nothing to compare; name an index or a run file")
    check_depth(request.measures, request.depth)
    names = [one.name for one in contenders]
    if doubled := next((name for name in names if names.count(name) > 1), ""):
        raise UsageError(f"two contenders are called {doubled!r}; name them: first={doubled} second={doubled}")
    baseline = request.baseline or names[0]
    if baseline not in names:
        raise UsageError(f"the baseline {baseline!r} is not compared; there are {', '.join(names)}")
    split, queries, judgements = judged_queries(dataset, request.split, request.judgement_set)
    given = {query.id: query for query in queries}
    qrels = qrels_of((j for j in judgements if j.query_id in given), min_grade=request.min_grade)
    judged = [given[query] for query in qrels.grades]
    measurer = Measurer(qrels, names=request.measures)
    measured = {}
    with progress("comparing", len(judged) * sum(not one.is_run for one in contenders)) as task:
        for one in contenders:
            if one.is_run:
                measured[one.name] = _of_run(one, judged, qrels, measurer, dataset, request)
            else:
                measured[one.name] = _of_index(one, judged, qrels, measurer, request, task)
    primary = request.measures[0]
    comparisons = compare(
        {name: one.values[primary] for name, one in measured.items()}, baseline=baseline, seed=request.seed
    )
    rows = [
        Row(
            name, means(one.values), comparisons[name], one.missing, one.latency, one.bytes, is_optimal=False,
            trained_on=one.trained_on, encoded=one.encoded, memory=one.memory, training=one.training,
        )
        for name, one in measured.items()
    ]  # fmt: skip
    best = [replace(row, is_optimal=_is_optimal(row, rows, primary)) for row in rows]
    identical = max(one.identical for one in measured.values())
    return Compared(split, baseline, len(judged), request.measures, tuple(best), identical)


def _of_run(
    one: Contender,
    queries: Sequence[Query],
    qrels: Qrels,
    measurer: Measurer,
    dataset: Dataset,
    request: CompareRequest,
) -> _Measured:
    known = {id for grades in qrels.grades.values() for id in grades} | qrels.grades.keys()
    rankings = read_run(Path(one.place), known)
    missing = sum(not rankings.get(query) for query in qrels.grades)
    own = _NOBODY
    if not request.keep_identical and any(query in ranking.ids for query, ranking in rankings.items()):
        own = own_documents(queries, qrels.grades, _documents_of(dataset, qrels.grades.keys()))
    ranked = [query for query in queries if query.id in rankings]
    kept = without_own(ranked, [rankings[query.id] for query in ranked], own, MAX_K)
    return _Measured(
        measurer(dict(zip((query.id for query in ranked), kept, strict=True))), missing=missing, identical=len(own)
    )


def _documents_of(dataset: Dataset, ids: Container[str]) -> Callable[[Sequence[str]], list[Document | None]]:
    """Read the data set's documents once, and return what fetches those of these ids; a run has no texts."""
    found = {document.id: document for document in dataset.documents() if document.id in ids}
    return lambda asked: [found.get(id) for id in asked]


def _of_index(
    one: Contender, queries: Sequence[Query], qrels: Qrels, measurer: Measurer, request: CompareRequest, task: Task
) -> _Measured:
    model = Path(one.settings["model"]) if "model" in one.settings else None
    with open_retriever(one.place, model=model) as retriever:
        fusion = one.fusion(retriever.fusion)
        mode = next(mode for mode in MODES if mode == (one.settings.get("mode") or modes_of(retriever)[0]))
        second = one.second()
        own = _NOBODY if request.keep_identical else own_documents(queries, qrels.grades, retriever.engine.get)
        rankings: dict[str, Ranking] = {}
        for batch in in_batches(queries, _BATCH if second is None else 1):  # reranking one may take a second
            deep = min(request.depth + bool(own), MAX_K)
            found = retriever.rankings([query.text for query in batch], deep, mode=mode, fusion=fusion, second=second)
            kept = without_own(batch, found, own, request.depth)
            rankings |= dict(zip((query.id for query in batch), kept, strict=True))
            task.advance(len(batch))
        texts = [query.text for query in queries]
        measured = _Measured(measurer(rankings), bytes=_size(retriever), identical=len(own))
        if mode != "bm25":
            seen = seen_in_training(retriever, model, texts)
            measured = replace(measured, trained_on=seen, training=_training_seconds(retriever, model))
        if request.speed:
            on_disk = None if is_on_server(one.place) else Path(one.place)
            measured = replace(
                measured,
                latency=measure_latency(retriever, texts, mode=mode, fusion=fusion, second=second),
                encoded=None if mode == "bm25" else measure_encoding(retriever),
                memory=measure_memory(on_disk, texts, mode=mode, model=model) if on_disk else None,
            )
        return measured


def _training_seconds(retriever: Retriever, model: Path | None) -> float | None:
    folder = located(model) if model else retriever.engine.model_folder()
    return (read_model_card(folder).training_seconds or None) if folder else None


def _size(retriever: Retriever) -> int:
    size = retriever.stats()["bytes"]
    return sum(size.values()) if isinstance(size, Mapping) else int(size)


def _is_optimal(row: Row, rows: Sequence[Row], measure: str) -> bool:
    """Return whether a row is on the Pareto front of quality, latency and size; a run file's costs are not known."""
    if row.bytes is None:
        return False
    known = (other for other in rows if other.bytes is not None)
    return not any(_is_better(_costs(other, measure), _costs(row, measure)) for other in known)


def _is_better(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def _costs(row: Row, measure: str) -> tuple[float, float, float]:
    return -row.means[measure], row.latency.p50 if row.latency else 0.0, float(row.bytes or 0)
