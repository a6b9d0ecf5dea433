"""Fits the fusion weights of an existing index on judged queries, without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hybrid_search.errors import DataError, UsageError
from hybrid_search.evaluation.evaluate import seen_in_training
from hybrid_search.evaluation.measures import qrels_of
from hybrid_search.evaluation.protocol import own_documents
from hybrid_search.opening import open_retriever
from hybrid_search.protocols import Dataset
from hybrid_search.training.fit.defaults import FEWEST_QUERIES, ranked_legs
from hybrid_search.training.fit.weights import FusionRefit, refit_fusion
from hybrid_search.types import Query

__all__ = ["RefitReport", "refit"]

_TO_FIT_ON = ("dev", "validation", "all")
"""Not ``test``, which figures are measured on, nor ``train``, which the towers were trained on."""


@dataclass(frozen=True, slots=True)
class RefitReport:
    """The result of a refit; measures are mean nDCG@10 over ``queries``.

    :ivar weights_before: (BM25, k-NN) weights of the index before.
    :ivar weights_after: the chosen weights.
    :ivar bm25: of BM25 alone.
    :ivar knn: of k-NN alone.
    :ivar before: with the weights before.
    :ivar after: with the chosen weights, on the queries that they were chosen on.
    :ivar held_out: each half of the queries with the weights chosen on the other half.
    :ivar p_value: of ``held_out`` against ``before``, paired permutation test.
    :ivar is_significant: whether that is below .05.
    :ivar is_written: whether the chosen weights were written into the index.
    :ivar trained_on: share of a sample of the towers' training queries that are among these queries.
    """

    location: str
    split: str
    queries: int
    weights_before: tuple[float, float]
    weights_after: tuple[float, float]
    bm25: float
    knn: float
    before: float
    after: float
    held_out: float
    p_value: float
    is_significant: bool
    is_written: bool
    trained_on: float


def refit(
    location: str | Path,
    dataset: Dataset,
    *,
    split: str = "",
    judgement_set: str = "",
    min_grade: int = 1,
    model: Path | None = None,
    dry_run: bool = False,
) -> RefitReport:
    """Choose the weights of the two legs on judged queries, and write them into the index.

    Other settings of the fusion (method, combination, window) stay. On a server the index's default search pipeline is
    changed, too, including that of towers in the cluster.

    :param split: of the queries; empty for the first of ``dev``, ``validation`` and ``all`` that exists.
    :param model: towers to use instead of those stored in the index; they must be the same ones.
    :param dry_run: write nothing.
    :raises UsageError: if the index has no vectors, or no split is given and none of the above exists.
    :raises DataError: if fewer than 10 queries are judged, which are too few to choose a weight.
    """
    chosen = _split(dataset, split)
    with open_retriever(location, model=model, writable=not dry_run) as retriever:
        engine = retriever.engine
        if not engine.settings.dimension:
            raise UsageError(f"{location}: the index holds no vectors, so there is no second leg to weigh")
        judgements = list(dataset.judgements(chosen, judgement_set))
        grades = qrels_of(judgements, min_grade=min_grade).grades
        queries = [query for query in dataset.queries(chosen) if query.id in grades]
        _check_enough(queries, dataset.name, chosen)
        own = own_documents(queries, grades, engine.get)
        legs = ranked_legs(retriever, queries, engine.settings.bm25, own)
        found = refit_fusion(*legs, judgements, engine.settings.fusion, min_grade=min_grade)
        before = engine.settings.fusion.weights
        is_written = not dry_run and found.fit.fusion.weights != before
        if is_written:
            engine.set_fusion(found.fit.fusion)
            engine.commit()
        seen = seen_in_training(retriever, model, [query.text for query in queries])
    return _report(str(location), chosen, found, before, is_written=is_written, seen=seen)


def _split(dataset: Dataset, requested: str) -> str:
    splits = dataset.splits()
    if not splits:
        raise DataError(f"{dataset.name} has no judged queries; fitting needs queries and qrels")
    if requested and requested not in splits:
        raise UsageError(f"{dataset.name} has no split {requested!r}; there are {', '.join(splits)}")
    chosen = requested or next((split for split in _TO_FIT_ON if split in splits), "")
    if not chosen:
        raise UsageError(
            f"{dataset.name} has none of the splits {', '.join(_TO_FIT_ON)}; name the split to fit on: there are "
            f"{', '.join(splits)} (not the one that figures are measured on afterwards, and not the one that the "
            f"towers were trained on, whose answers they remember)"
        )
    return chosen


def _check_enough(queries: list[Query], name: str, split: str) -> None:
    if len(queries) < FEWEST_QUERIES:
        raise DataError(
            f"{name}: split {split!r} has {len(queries)} queries with a relevant document; fewer than "
            f"{FEWEST_QUERIES} tell nothing of a weight, so the index stays as it is"
        )


def _report(
    location: str, split: str, found: FusionRefit, before: tuple[float, float], *, is_written: bool, seen: float
) -> RefitReport:
    curve = dict(found.fit.curve)
    return RefitReport(
        location=location,
        split=split,
        queries=found.fit.queries,
        weights_before=before,
        weights_after=found.fit.fusion.weights,
        bm25=curve[1.0],
        knn=curve[0.0],
        before=found.before,
        after=found.after,
        held_out=found.held_out,
        p_value=found.p_value,
        is_significant=found.is_significant,
        is_written=is_written,
        trained_on=seen,
    )
