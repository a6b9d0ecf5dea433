"""The evaluation protocol: several systems over one whole index, the same queries, the same measures.

Every system ranks the full corpus, and BM25 is always among them (design, invariant 5). ``bm25``, ``knn`` and
``hybrid`` are what the index serves: ``hybrid`` with the index's fusion, which returns at most twice its window.
``reranked`` is the default one of these, its first hits ranked again by a second stage; ``random`` is a seeded draw,
``untrained`` an exact search with an encoder that has learnt nothing from queries.

In some data sets the queries are documents of the corpus (ArguAna: find the argument against this one), and every
system would rank the query itself first. BEIR leaves out the document with the query's id. An equal id alone is no
proof, though: many data sets number both queries and documents from 1. So the rule is applied only if no judgement
says that a query is answered by the document of its own id, and most of these documents have the query's words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from hybrid_search.errors import ConfigError, DataError, UsageError
from hybrid_search.evaluation.baselines import exact_rankings, random_ranking
from hybrid_search.evaluation.measures import (
    Qrels,
    check_depth,
    check_measures,
    means,
    measure,
    measures_of_depth,
    qrels_of,
)
from hybrid_search.passages import OF, passage_id
from hybrid_search.protocols import Encoder, Engine, Progress, Task, silent
from hybrid_search.retrieval.retriever import Retriever, modes_of
from hybrid_search.search import MAX_K, MODES, Mode
from hybrid_search.second_stage import SecondStage
from hybrid_search.settings.base import Setting
from hybrid_search.settings.index import Bm25
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Judgement, Query, Ranking, can_be_held, id_fault, normalise_text

__all__ = [
    "SYSTEMS",
    "Evaluation",
    "EvaluationCounts",
    "EvaluationSettings",
    "System",
    "evaluate",
    "own_documents",
    "without_own",
]


System = Literal["random", "bm25", "untrained", "knn", "hybrid", "reranked"]

SYSTEMS: tuple[System, ...] = get_args(System)
"""All systems, in the order of a report."""

_BATCH = 256


class EvaluationSettings(Setting, frozen=True):
    """Which systems are evaluated, and how.

    :ivar systems: None for all that the index can run; BM25 is always run.
    :ivar depth: how many documents are ranked per query.
    :ivar bm25: k1 and b of the ``bm25`` system instead of the index's; ``hybrid`` keeps the index's.
    :ivar min_grade: the lowest grade that counts as relevant in binary measures.
    :ivar seed: of the random system.
    :ivar keep_identical: leave a document in the ranking of the query that it is itself; BEIR leaves it out.
    :ivar keep_runs: keep the rankings themselves; 10,000 queries to depth 1,000 are about 1 GB a system.
    :ivar measures: more measures, by their names in ir-measures; :func:`.evaluate.evaluate_index` knows ``AnswerHit@k``
        too.
    """

    systems: tuple[System, ...] | None = None
    depth: int = 1_000
    bm25: Bm25 | None = None
    min_grade: int = 1
    seed: int = 0
    keep_identical: bool = False
    keep_runs: bool = True
    measures: tuple[str, ...] = ()

    def check(self) -> None:
        """Check ranges, and what contradicts what."""
        if not 1 <= self.depth <= MAX_K:
            raise ConfigError(f"depth is {self.depth}; it must be from 1 to {MAX_K}")


@dataclass(frozen=True, slots=True)
class EvaluationCounts:
    """How many queries, documents and judgements the figures are computed from.

    :ivar queries: that were evaluated: they have a text and at least one relevant document.
    :ivar unjudged: queries without a judgement; left out.
    :ivar without_relevant: queries without a relevant document among their judgements; left out.
    :ivar documents: in the index.
    :ivar judgements: of the evaluated queries.
    :ivar relevant: of these, the relevant ones.
    :ivar relevant_missing: of these, those whose document is not in the index: no system can find them.
    :ivar without_text: query ids that occur in judgements only; left out.
    :ivar identical: queries that are documents themselves and were left out of their own rankings.
    """

    queries: int
    unjudged: int
    without_relevant: int
    documents: int
    judgements: int
    relevant: int
    relevant_missing: int
    without_text: int = 0
    identical: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results.

    :ivar values: system -> measure -> query id -> value.
    :ivar runs: system -> query id -> ranking; empty unless runs were kept.
    :ivar own: ids of the queries that were left out of their own rankings.
    """

    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    runs: Mapping[str, Mapping[str, Ranking]]
    counts: EvaluationCounts
    settings: EvaluationSettings
    own: frozenset[str] = frozenset()

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """System -> measure -> mean over the queries."""
        return {system: means(values) for system, values in self.values.items()}


class _Collector:
    """Measures rankings as they come, so that they need not be kept."""

    def __init__(
        self, systems: Iterable[System], qrels: Qrels, settings: EvaluationSettings, own: frozenset[str]
    ) -> None:
        self._names = tuple(dict.fromkeys((*measures_of_depth(settings.depth), *settings.measures)))
        self.values: dict[str, dict[str, dict[str, float]]] = {s: {name: {} for name in self._names} for s in systems}
        self.runs: dict[str, dict[str, Ranking]] = {system: {} for system in self.values} if settings.keep_runs else {}
        self._qrels = qrels
        self._own = own
        self._depth = settings.depth

    @property
    def depth(self) -> int:
        """How many documents to rank: one more if a query's own document is to be left out."""
        return min(self._depth + bool(self._own), MAX_K)

    def take(self, system: System, queries: Sequence[Query], rankings: Sequence[Ranking]) -> None:
        kept = without_own(queries, rankings, self._own, self._depth)
        run = {query.id: ranking for query, ranking in zip(queries, kept, strict=True)}
        of_batch = Qrels({query: self._qrels.grades[query] for query in run}, self._qrels.min_grade, ())
        for name, by_query in measure(run, of_batch, names=self._names).items():
            self.values[system][name].update(by_query)
        if self.runs:
            self.runs[system].update(run)


def evaluate(
    retriever: Retriever,
    queries: Iterable[Query],
    judgements: Iterable[Judgement],
    *,
    settings: EvaluationSettings | None = None,
    untrained: Encoder | None = None,
    second: SecondStage | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Rank the whole index for every judged query with every system, and measure.

    :param untrained: the encoder of the system ``untrained``.
    :param second: the second stage of the system ``reranked``, which ranks at most as many documents as that does.
    :raises DataError: if no query has a relevant judgement.
    :raises ModelNotFound: if no systems are named, and the index holds vectors without the towers that made them.
    :raises UsageError: if a named system can't be run: ``knn`` and ``hybrid`` need a retriever with towers,
        ``untrained`` needs its encoder, ``reranked`` a second stage; and if there is no such measure.
    """
    settings = settings or EvaluationSettings()
    if settings.measures:
        check_measures(settings.measures)
        check_depth(settings.measures, settings.depth)
    systems = _systems(settings, retriever, untrained, second)
    given = {query.id: query for query in queries}
    judgements = list(judgements)
    without_text = {judgement.query_id for judgement in judgements} - given.keys()
    qrels = qrels_of((j for j in judgements if j.query_id in given), min_grade=settings.min_grade)
    judged = [given[query] for query in qrels.grades]
    if not judged:
        raise DataError(
            f"none of the {len(given):,} queries has a judgement of grade {settings.min_grade} or more, "
            f"{len(without_text):,} queries that are judged have no text; check that both belong together"
        )
    get = retriever.engine.get
    own: frozenset[str] = frozenset() if settings.keep_identical else own_documents(judged, qrels.grades, get)
    collector = _Collector(systems, qrels, settings, own)
    served = [system for system in MODES if system in systems]
    with progress("evaluating", len(judged) * len(served)) as task:
        _run_served(retriever, served, judged, settings, collector, task)
    if "reranked" in systems:
        with progress("reranking", len(judged)) as task:
            for query in judged:  # each may take a second
                found = retriever.rankings([query.text], collector.depth, second=second)
                collector.take("reranked", [query], found)
                task.advance(1)
    if "random" in systems:
        ids = [document.id for document in retriever.engine.documents()]
        rankings = [random_ranking(ids, query.id, collector.depth, settings.seed) for query in judged]
        collector.take("random", judged, rankings)
    if untrained is not None and "untrained" in systems:
        with progress("encoding untrained", retriever.engine.count()) as task:
            rankings = exact_rankings(untrained, retriever.engine.documents(), judged, collector.depth, task)
        collector.take("untrained", judged, rankings)
    counts = replace(_counts(given, qrels, retriever.engine), without_text=len(without_text), identical=len(own))
    return Evaluation(collector.values, collector.runs, counts, settings, own)


def _systems(
    settings: EvaluationSettings, retriever: Retriever, untrained: Encoder | None, second: SecondStage | None
) -> list[System]:
    runnable = {
        "random": True,
        "bm25": True,
        "untrained": untrained is not None,
        "knn": retriever.searches_vectors,
        "hybrid": retriever.searches_vectors,
        "reranked": second is not None,
    }
    for system in settings.systems or ():
        if system == "reranked" and second is None:
            raise UsageError("system 'reranked' can't be evaluated without a reranker; give one or leave it out")
        if not runnable[system]:
            raise UsageError(f"system {system!r} can't be evaluated without its towers; give them or leave it out")
    if not settings.systems:
        modes_of(retriever)  # raises if the towers are gone: BM25 alone must be asked for by name
    chosen = {*(settings.systems or SYSTEMS), "bm25"}
    return [system for system in SYSTEMS if system in chosen and runnable[system]]


def _run_served(
    retriever: Retriever,
    modes: Sequence[Mode],
    queries: Sequence[Query],
    settings: EvaluationSettings,
    collector: _Collector,
    task: Task,
) -> None:
    for mode in modes:
        bm25 = settings.bm25 if mode == "bm25" else None
        for batch in in_batches(queries, _BATCH):
            rankings = retriever.rankings([query.text for query in batch], collector.depth, mode=mode, bm25=bm25)
            collector.take(mode, batch, rankings)
            task.advance(len(batch))


def _counts(given: Mapping[str, Query], qrels: Qrels, engine: Engine) -> EvaluationCounts:
    relevant = [
        document for grades in qrels.grades.values() for document, grade in grades.items() if grade >= qrels.min_grade
    ]
    stored = {id for batch in in_batches(sorted(set(relevant)), _BATCH) for id in _stored(engine, batch)}
    return EvaluationCounts(
        queries=len(qrels.grades),
        unjudged=len(given) - len(qrels.grades) - len(qrels.left_out),
        without_relevant=len(qrels.left_out),
        documents=engine.count(),
        judgements=sum(map(len, qrels.grades.values())),
        relevant=len(relevant),
        relevant_missing=sum(document not in stored for document in relevant),
    )


def _stored(engine: Engine, ids: Sequence[str]) -> Iterator[str]:
    """Yield the ids that an index has a document of; in an index of passages it has these by its first one."""
    ids = [id for id in ids if can_be_held(id)]
    missing = [id for id, document in zip(ids, engine.get(ids), strict=True) if document is None]
    gone = set(missing)
    if missing and OF in engine.settings.fields:
        firsts = {id: first for id in missing if id_fault(first := passage_id(id, 1)) == ""}
        found = engine.get(list(firsts.values())) if firsts else []
        gone -= {id for id, document in zip(firsts, found, strict=True) if document is not None}
    yield from (id for id in ids if id not in gone)


_ALIKE = 0.5
"""Least share of a query's words that its own document must have, and of such queries among those that share an id."""

_NOBODY: frozenset[str] = frozenset()


def own_documents(
    queries: Sequence[Query],
    grades: Mapping[str, Mapping[str, int]],
    get: Callable[[Sequence[str]], Sequence[Document | None]],
) -> frozenset[str]:
    """Return the ids of the queries that are documents; empty if equal ids are mere coincidence.

    :param grades: query id -> document id -> grade.
    :param get: fetches documents by id, None where there is none.
    """
    found: set[str] = set()
    alike = 0
    for batch in in_batches((query for query in queries if can_be_held(query.id)), _BATCH):
        for query, document in zip(batch, get([query.id for query in batch]), strict=True):
            if document is None:
                continue
            if grades.get(query.id, {}).get(query.id, 0) > 0:
                return _NOBODY
            found.add(query.id)
            alike += _is_alike(query.text, document.searchable_text)
    return frozenset(found) if found and alike >= _ALIKE * len(found) else _NOBODY


def without_own(
    queries: Sequence[Query], rankings: Sequence[Ranking], own: frozenset[str], depth: int
) -> list[Ranking]:
    """Leave each query that is a document out of its own ranking, and cut all rankings to a depth.

    :param rankings: one per query, one document deeper than ``depth`` if ``own`` is not empty.
    """
    if not own:
        return list(rankings)
    return [
        _without(ranking, query.id, depth) if query.id in own else _without(ranking, None, depth)
        for query, ranking in zip(queries, rankings, strict=True)
    ]


def _without(ranking: Ranking, id: str | None, depth: int) -> Ranking:
    kept = [pair for pair in zip(ranking.ids, ranking.scores, strict=True) if pair[0] != id][:depth]
    return Ranking(tuple(id for id, _ in kept), tuple(score for _, score in kept))


def _is_alike(query: str, document: str) -> bool:
    words = set(normalise_text(query).split())
    return bool(words) and len(words & set(normalise_text(document).split())) >= _ALIKE * len(words)
