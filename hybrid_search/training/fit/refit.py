"""Fit the fusion's weights of an index that is there again, from judged queries; nothing is trained."""

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
"""Not ``test``, on which figures are measured afterwards, nor ``train``, which the towers remember."""


@dataclass(frozen=True, slots=True)
class RefitReport:
    """What a refit found; measures are mean nDCG@10 over ``queries``.

    :ivar weights_before: of (BM25, k-NN), those that the index had.
    :ivar weights_after: those chosen.
    :ivar bm25: of BM25 alone.
    :ivar knn: of k-NN alone.
    :ivar before: with the weights that the index had.
    :ivar after: with those chosen, on the queries that they were chosen on.
    :ivar held_out: each half of the queries with the weights that the other half chooses.
    :ivar p_value: of ``held_out`` against ``before``, paired permutation test.
    :ivar is_significant: whether that is below .05.
    :ivar is_written: the index has the weights chosen now.
    :ivar trained_on: share of a sample of the towers' training queries that are among these.
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
    """Choose the weights of the two legs again by judged queries, and write them into the index.

    The rest of the index's fusion (method, combination, window) stays. On a server the index's default search
    pipeline, towers in the cluster included, goes along.

    :param split: whose queries; empty for the first there is of ``dev``, ``validation`` and ``all``.
    :param model: towers to use instead of those the index carries; refused unless they are the same.
    :param dry_run: write nothing.
    :raises UsageError: if the index holds no vectors, or no split is named and none to be chosen.
    :raises DataError: if fewer than 10 queries are judged; a weight would say more of these than of the towers.
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


def _split(dataset: Dataset, asked: str) -> str:
    splits = dataset.splits()
    if not splits:
        raise DataError(f"{dataset.name} has no judged queries; fitting needs queries and qrels")
    if asked and asked not in splits:
        raise UsageError(f"{dataset.name} has no split {asked!r}; there are {', '.join(splits)}")
    chosen = asked or next((split for split in _TO_FIT_ON if split in splits), "")
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
