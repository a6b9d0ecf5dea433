"""Chooses how an index fuses its legs, on judged queries and without training, and tells what the choice is worth.

The legs are retrieved once; what is chosen on one split is measured on the queries of another, which chose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Literal

from hybrid_search.errors import DataError, UsageError
from hybrid_search.evaluation.evaluate import check_judged, seen_in_training
from hybrid_search.evaluation.measures import PRIMARY, Qrels, cutoff_of, qrels_of
from hybrid_search.evaluation.protocol import own_documents
from hybrid_search.evaluation.significance import Comparison, compare
from hybrid_search.opening import open_retriever
from hybrid_search.protocols import Dataset, Progress, silent
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.training.fit.choice import Technique, choose, cross_fitted, families, techniques
from hybrid_search.training.fit.defaults import DEPTH, FEWEST_QUERIES, Leg, ranked_leg
from hybrid_search.training.fit.table import GRID, FusionTable, Values, weighted
from hybrid_search.training.fit.weights import fit_bm25
from hybrid_search.types import Judgement, Query, text_hash

__all__ = ["Answer", "TuneReport", "TuneRequest", "keeps", "tune"]

_TO_FIT_ON = ("dev", "validation", "all")
"""Not ``test``, which figures are measured on, nor ``train``, which the towers were trained on."""

_TO_CHECK_ON = "test"
_LEVEL = 0.05

Answer = Literal["fuse", "bm25 alone", "knn alone"]

_ALONE = (("bm25", 1.0), ("knn", 0.0))
_ANSWERS: Mapping[tuple[float, float], Answer] = {(1.0, 0.0): "bm25 alone", (0.0, 1.0): "knn alone"}


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What to choose, and on which queries.

    :ivar split: the queries to choose on; empty for the first of ``dev``, ``validation`` and ``all`` that exists.
    :ivar check_on: the queries that the choice is measured on; empty for ``test`` if it exists and is another split,
        else for halves of ``split``, each measured with what the other half chooses.
    :ivar model: towers to use instead of those stored in the index; they must be the same ones.
    :ivar measure: what to choose by, by its name in ir-measures.
    :ivar weights_only: choose the weights only, and measure them on halves of ``split``.
    :ivar deploy: write the choice into the index.
    :ivar seed: of the resampling.
    """

    split: str = ""
    check_on: str = ""
    judgement_set: str = ""
    min_grade: int = 1
    model: Path | None = None
    measure: str = PRIMARY
    weights_only: bool = False
    deploy: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TuneReport:
    """The result of a choice.

    :ivar checked_on: the split of the held-out queries; empty for halves of ``split``.
    :ivar queries: number of queries that were chosen on; ``held_out`` of those that the choice was checked on.
    :ivar settings: number of fusions that were tried; ``seconds`` that took, without the retrieval.
    :ivar answer: whether to fuse, or which leg alone is better.
    :ivar tuning: system -> mean on the queries that were chosen on, of ``bm25`` and ``knn`` alone (with the legs and
        the technique chosen), ``before`` and ``after``.
    :ivar techniques: the best family of each technique, on the queries that were chosen on.
    :ivar checked: system -> its values on held-out queries, compared with the settings ``before``.
    :ivar over_bm25: ``after`` compared with BM25 alone on held-out queries.
    :ivar is_significant: whether ``after`` differs significantly from ``before`` on held-out queries.
    :ivar is_kept: whether the settings before stay although others were chosen: held-out queries show these to be
        significantly worse, or not to be better for certain, and they would switch a leg off.
    :ivar is_written: whether the choice was written into the index.
    :ivar trained_on: share of a sample of the towers' training queries that are among the queries chosen on.
    :ivar shared: queries of ``checked_on`` that chose, too; they check nothing and are left out.
    """

    location: str
    split: str
    checked_on: str
    queries: int
    held_out: int
    measure: str
    settings: int
    seconds: float
    answer: Answer
    before: Fusion
    after: Fusion
    bm25_before: Bm25
    bm25_after: Bm25
    tuning: Mapping[str, float]
    techniques: tuple[Technique, ...]
    checked: Mapping[str, Comparison]
    over_bm25: Comparison
    is_significant: bool
    is_kept: bool
    is_written: bool
    trained_on: float
    shared: int = 0


@dataclass(slots=True, eq=False)
class _Judged:
    """The judged queries of a split and their legs, each of which is retrieved once.

    :ivar depth: of the legs.
    :ivar shared: number of queries that were left out because they chose.
    """

    retriever: Retriever
    split: str
    queries: Sequence[Query]
    judgements: Sequence[Judgement]
    qrels: Qrels
    own: frozenset[str]
    depth: int
    shared: int = 0
    _lexical: dict[Bm25, Leg] = field(default_factory=dict)
    _dense: Leg | None = None

    @classmethod
    def of(
        cls,
        retriever: Retriever,
        dataset: Dataset,
        split: str,
        request: TuneRequest,
        depth: int,
        chosen_on: Sequence[Query] = (),
    ) -> _Judged:
        """Read a split.

        :param chosen_on: queries that chose; those with the same words are left out.
        """
        known = {text_hash(query.text) for query in chosen_on}
        asked = list(dataset.queries(split))
        queries = [query for query in asked if text_hash(query.text) not in known] if known else asked
        given = {query.id for query in queries}
        judged = [j for j in dataset.judgements(split, request.judgement_set) if j.query_id in given]
        qrels = qrels_of(judged, min_grade=request.min_grade)
        kept = [query for query in queries if query.id in qrels.grades]
        shared = len(asked) - len(queries)
        _check_enough(kept, dataset.name, split, shared)
        own = own_documents(kept, qrels.grades, retriever.engine.get)
        return cls(retriever, split, kept, judged, qrels, own, depth, shared)

    def lexical(self, bm25: Bm25, depth: int) -> Leg:
        return ranked_leg(self.retriever, self.queries, "bm25", self.own, depth, bm25)

    def table(self, bm25: Bm25, measure: str) -> FusionTable:
        if bm25 not in self._lexical:
            self._lexical[bm25] = self.lexical(bm25, self.depth)
        if self._dense is None:
            self._dense = ranked_leg(self.retriever, self.queries, "knn", self.own, self.depth)
        return FusionTable(self._lexical[bm25], self._dense, self.qrels, measure=measure)


@dataclass(frozen=True, slots=True)
class _Setting:
    fusion: Fusion
    bm25: Bm25

    def on(self, judged: _Judged, measure: str) -> Values:
        """Measure it: (queries,)."""
        values: Values = judged.table(self.bm25, measure).values(self.fusion, [self.fusion.weights[0]])[0]
        return values


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """What was tried, and what was chosen.

    :ivar values: (fusions, weights, queries).
    """

    tried: Sequence[Fusion]
    values: Values
    setting: _Setting
    seconds: float


def tune(
    location: str | Path, dataset: Dataset, request: TuneRequest | None = None, *, progress: Progress = silent
) -> TuneReport:
    """Choose the fusion of an index: technique, weights, window, RRF's constant, and BM25's k1 and b in a folder.

    The choice is made on one split and compared with the present settings on another. It may be not to fuse. On a
    server the index's default search pipeline is changed too, including that of towers in the cluster. A choice that is
    significantly worse on the held-out queries than the present settings is not written, nor one that switches a leg
    off without being significantly better.

    :raises UsageError: if the index has no vectors, no split is given and none of the above exists, or there is no such
        measure.
    :raises DataError: if fewer than 10 queries of a split are judged, which are too few to choose by, or fewer than 10
        of the split to check on did not choose.
    """
    request = request or TuneRequest()
    split = _split(dataset, request.split)
    check_judged(dataset, "fitting")
    check_on = _check_split(dataset, split, request)
    with open_retriever(location, model=request.model, writable=request.deploy) as retriever:
        engine = retriever.engine
        if not engine.settings.dimension:
            raise UsageError(f"{location}: the index holds no vectors, so there is no second leg to weigh")
        before = _Setting(engine.settings.fusion, engine.settings.bm25)
        tried = families(before.fusion, engine.capabilities.fusion_methods)[: 1 if request.weights_only else None]
        deep = max(fusion.window for fusion in tried)
        tuning = _Judged.of(retriever, dataset, split, request, deep)
        held_out = _Judged.of(retriever, dataset, check_on, request, deep, tuning.queries) if check_on else None
        choice = _chosen(tuning, tried, _bm25_of(tuning, before.bm25, request), request.measure, progress)
        report = _report(location, tuning, held_out, before, choice, request)
        if report.is_written:
            engine.set_fusion(choice.setting.fusion, choice.setting.bm25)
            engine.commit()
    return report


def _split(dataset: Dataset, requested: str) -> str:
    splits = dataset.splits()
    if not splits:
        raise DataError(f"{dataset.name} has no judged queries; fitting needs queries and qrels")
    _check_there(dataset, requested)
    chosen = requested or next((split for split in _TO_FIT_ON if split in splits), "")
    if not chosen:
        raise UsageError(
            f"{dataset.name} has none of the splits {', '.join(_TO_FIT_ON)}; name the split to fit on: there are "
            f"{', '.join(splits)} (not the one that figures are measured on afterwards, and not the one that the "
            f"towers were trained on, whose answers they remember)"
        )
    return chosen


def _check_split(dataset: Dataset, split: str, request: TuneRequest) -> str:
    """Return the split to check the choice on; empty for halves of the split that is chosen on."""
    if request.check_on == split:
        raise UsageError(f"split {split!r} chooses; check on another split, or leave it out for halves of this one")
    _check_there(dataset, request.check_on)
    if request.check_on or request.weights_only:
        return request.check_on
    return _TO_CHECK_ON if _TO_CHECK_ON in dataset.splits() and split != _TO_CHECK_ON else ""


def _check_there(dataset: Dataset, split: str) -> None:
    if split and split not in dataset.splits():
        raise UsageError(f"{dataset.name} has no split {split!r}; there are {', '.join(dataset.splits())}")


def _check_enough(queries: Sequence[Query], name: str, split: str, shared: int = 0) -> None:
    if len(queries) < FEWEST_QUERIES:
        if shared:
            raise DataError(
                f"{name}: {shared} queries of split {split!r} chose, too, and of the others {len(queries)} have a "
                f"relevant document; fewer than {FEWEST_QUERIES} check nothing, so name another split, or leave it "
                f"out for halves of the one that chooses"
            )
        raise DataError(
            f"{name}: split {split!r} has {len(queries)} queries with a relevant document; fewer than "
            f"{FEWEST_QUERIES} tell nothing of a weight, so the index stays as it is"
        )


def _bm25_of(judged: _Judged, present: Bm25, request: TuneRequest) -> Bm25:
    """Choose k1 and b, where the engine can search with others than the index's."""
    if request.weights_only or not judged.retriever.engine.capabilities.bm25_at_query_time:
        return present
    depth = cutoff_of(request.measure) or DEPTH
    return fit_bm25(
        lambda bm25: list(judged.lexical(bm25, depth).values()), judged.queries, judged.judgements,
        default=present, min_grade=request.min_grade, measure=request.measure,
    ).bm25  # fmt: skip


def _chosen(judged: _Judged, tried: Sequence[Fusion], bm25: Bm25, measure: str, progress: Progress) -> _Choice:
    table = judged.table(bm25, measure)
    started = perf_counter()
    with progress("techniques and windows", len(tried)) as task:
        values = table.of_families(tried, task=task)
    family, weight = choose(values)
    return _Choice(tried, values, _Setting(weighted(tried[family], GRID[weight]), bm25), perf_counter() - started)


def _report(
    location: str | Path,
    tuning: _Judged,
    held_out: _Judged | None,
    before: _Setting,
    choice: _Choice,
    request: TuneRequest,
) -> TuneReport:
    judged, after = held_out or tuning, choice.setting
    checked = _systems(judged, before, after, request.measure)
    if held_out is None:
        checked["after"] = _by_query(judged, cross_fitted(choice.values))
    compared = compare(checked, baseline="before", seed=request.seed)
    over_bm25 = compare({name: checked[name] for name in ("bm25", "after")}, seed=request.seed)["after"]
    is_kept = keeps(before.fusion, after.fusion, compared["after"])
    on_tuning = _systems(tuning, before, after, request.measure)
    return TuneReport(
        location=str(location),
        split=tuning.split,
        checked_on=held_out.split if held_out else "",
        queries=len(tuning.queries),
        held_out=len(judged.queries),
        shared=judged.shared,
        measure=request.measure,
        settings=choice.values.shape[0] * choice.values.shape[1],
        seconds=round(choice.seconds, 3),
        answer=_ANSWERS.get(after.fusion.weights, "fuse"),
        before=before.fusion,
        after=after.fusion,
        bm25_before=before.bm25,
        bm25_after=after.bm25,
        tuning={name: mean(values.values()) for name, values in on_tuning.items()},
        techniques=techniques(choice.values, choice.tried),
        checked=compared,
        over_bm25=over_bm25,
        is_significant=compared["after"].p_value < _LEVEL,
        is_kept=is_kept,
        is_written=request.deploy and not is_kept and (after != before or not tuning.retriever.engine.settings.weighed),
        trained_on=seen_in_training(tuning.retriever, request.model, [query.text for query in tuning.queries]),
    )


def keeps(before: Fusion, after: Fusion, change: Comparison) -> bool:
    """Return whether the settings before stay.

    Too few queries make BM25 alone the choice, so that nothing is fused that was not shown to gain. But where an index
    fuses already, to switch a leg off is a change too, and needs to be more than chance.
    """
    is_sure = change.p_value < _LEVEL
    if change.difference < 0 and is_sure:
        return True
    is_off = any(now == 0 < once for once, now in zip(before.weights, after.weights, strict=True))
    return is_off and not (is_sure and change.difference > 0)


def _systems(judged: _Judged, before: _Setting, after: _Setting, measure: str) -> dict[str, Mapping[str, float]]:
    alone = {name: _Setting(weighted(Fusion(window=judged.depth), weight), after.bm25) for name, weight in _ALONE}
    settings = {"before": before, **alone, "after": after}
    return {name: _by_query(judged, setting.on(judged, measure)) for name, setting in settings.items()}


def _by_query(judged: _Judged, values: Values) -> dict[str, float]:
    return dict(zip(judged.qrels.grades, values.tolist(), strict=True))
