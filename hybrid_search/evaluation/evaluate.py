"""Evaluates an index on a data set's judged queries: all systems, with significance tests and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_search.errors import DataError, UsageError
from hybrid_search.evaluation.answer_hits import answers_of, is_answer_hit, with_answer_hits
from hybrid_search.evaluation.latency import Speed, measure_speed
from hybrid_search.evaluation.measures import qrels_of
from hybrid_search.evaluation.protocol import Evaluation, EvaluationSettings, evaluate
from hybrid_search.evaluation.report import write_run
from hybrid_search.evaluation.side_by_side import SystemDifference, compare_side_by_side
from hybrid_search.evaluation.wins_and_losses import WinsAndLosses, wins_and_losses
from hybrid_search.opening import open_retriever
from hybrid_search.protocols import Dataset, Encoder, Progress, silent
from hybrid_search.retrieval.retriever import modes_of
from hybrid_search.second_stage import SecondStage
from hybrid_search.settings.server import SearchOptions
from hybrid_search.storage import check_writable
from hybrid_search.types import Judgement, Query, text_hash

if TYPE_CHECKING:
    from hybrid_search.retrieval.retriever import Retriever

__all__ = [
    "EvaluateRequest",
    "EvaluateResult",
    "SideBySide",
    "check_judged",
    "evaluate_index",
    "evaluate_side_by_side",
    "judged_queries",
    "seen_in_training",
    "write_runs",
]

_TO_MEASURE_ON = ("test", "dev", "validation")

SPEED_DOCUMENTS = 512
"""Documents encoded to measure the rate."""


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """What to evaluate, and how.

    :ivar split: whose queries; empty for the first that exists of ``test``, ``dev`` and ``validation``.
    :ivar judgement_set: empty for the data set's default.
    :ivar model: a checkpoint to use instead of the towers that the index carries.
    :ivar run_out: file for :func:`write_runs`; that it can be written is checked before anything is measured.
    :ivar speed: also measure latency and encoding rates.
    :ivar in_cluster: encode queries by the towers that are deployed in the cluster.
    :ivar second: evaluate the system ``reranked`` with it.
    :ivar examples: how many of the hybrid's largest wins over BM25, and of its largest losses, to report.
    """

    split: str = ""
    judgement_set: str = ""
    model: Path | None = None
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    run_out: Path | None = None
    speed: bool = True
    examples: int = 3
    second: SecondStage | None = None
    in_cluster: bool = False

    @property
    def search(self) -> SearchOptions:
        """Options for searching an index on a server."""
        return SearchOptions(in_cluster=self.in_cluster)


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """The results, to be rendered by :mod:`hybrid_search.evaluation.report`.

    :ivar speed: None if it was not measured.
    :ivar against_bm25: None if the hybrid was not evaluated.
    :ivar trained_on: share of a sample of the model's training queries that are among the evaluated ones, 0..1; above
        0 the towers' figures are too good, as they were trained on these queries.
    """

    split: str
    evaluation: Evaluation
    speed: Speed | None
    against_bm25: WinsAndLosses | None
    trained_on: float = 0.0


@dataclass(frozen=True, slots=True)
class SideBySide:
    """The evaluations of two indexes on the same queries, and their differences per system.

    :ivar trained_on: as :attr:`EvaluateResult.trained_on`, of the first index's model and of the second's.
    """

    split: str
    one: Evaluation
    other: Evaluation
    differences: Mapping[str, SystemDifference]
    trained_on: tuple[float, float] = (0.0, 0.0)


def evaluate_side_by_side(
    dataset: Dataset,
    location: str | Path,
    against: str | Path,
    request: EvaluateRequest | None = None,
    *,
    progress: Progress = silent,
) -> SideBySide:
    """Evaluate two indexes on the same judged queries, and list the differences.

    :param against: the second index, searched with the towers that it carries.
    :param request: ``model`` and ``in_cluster`` apply to the first index; ``speed`` and ``run_out`` are ignored.
    :raises UsageError: as :func:`evaluate_index`.
    :raises DataError: as :func:`evaluate_index`.
    """
    request = request or EvaluateRequest()
    split, queries, judgements = judged_queries(dataset, request.split, request.judgement_set)
    settings = request.settings.replace(keep_runs=True)
    evaluations, seen = [], []
    for index, model, search in ((location, request.model, request.search), (against, None, None)):
        with open_retriever(index, model=model, search=search) as retriever:
            of_index = settings.replace(systems=settings.systems or modes_of(retriever))
            evaluations.append(evaluate(retriever, queries, judgements, settings=of_index, progress=progress))
            seen.append(seen_in_training(retriever, model, [query.text for query in queries]))
    one, other = evaluations
    differences = compare_side_by_side(one, other, seed=settings.seed)
    return SideBySide(split, one, other, differences, (seen[0], seen[1]))


def evaluate_index(
    dataset: Dataset, location: str | Path, request: EvaluateRequest | None = None, *, progress: Progress = silent
) -> EvaluateResult:
    """Rank the whole index for every judged query of a split, with every system.

    :raises UsageError: if the data set has no such split or judgement set, or no split is named and it has none of
        ``test``, ``dev`` and ``validation``.
    :raises DataError: if it has no judged query, or ``AnswerHit@k`` is asked for and it knows no answers.
    :raises StorageError: if ``run_out`` can't be written; nothing was measured then.
    """
    request = request or EvaluateRequest()
    split = _split(dataset, request.split)
    if request.run_out is not None:
        check_writable(request.run_out)
    asked = request.settings.measures
    hits = tuple(name for name in asked if is_answer_hit(name))
    answers = answers_of(dataset, split) if hits else {}
    measures = tuple(name for name in asked if name not in hits)
    settings = request.settings.replace(measures=measures, keep_runs=request.settings.keep_runs or bool(hits))
    with open_retriever(location, model=request.model, search=request.search) as retriever:
        queries, judgements = _judged(dataset, split, request.judgement_set)
        evaluation = evaluate(
            retriever,
            queries,
            judgements,
            settings=settings,
            untrained=_untrained(retriever, request.model),
            second=request.second,
            progress=progress,
        )
        evaluation = with_answer_hits(evaluation, hits, answers, retriever.engine.get)
        against_bm25 = wins_and_losses(
            retriever,
            evaluation,
            {query.id: query for query in queries},
            qrels_of(judgements, min_grade=request.settings.min_grade),
            examples=request.examples,
        )
        speed = None
        if request.speed:
            texts = [document.searchable_text for document in islice(retriever.engine.documents(), SPEED_DOCUMENTS)]
            speed = measure_speed(retriever, [query.text for query in queries], texts, second=request.second)
        seen = seen_in_training(retriever, request.model, [query.text for query in queries])
    return EvaluateResult(split, evaluation, speed, against_bm25, seen)


def _split(dataset: Dataset, name: str) -> str:
    splits = dataset.splits()
    if not splits:
        raise DataError(f"{dataset.name} has no judged queries; evaluation needs queries and qrels")
    if name and name not in splits:
        raise UsageError(f"{dataset.name} has no split {name!r}; there are {', '.join(splits)}")
    chosen = name or next((split for split in _TO_MEASURE_ON if split in splits), "")
    if not chosen:
        check_judged(dataset, "measuring")
        raise UsageError(
            f"{dataset.name} has none of the splits {', '.join(_TO_MEASURE_ON)}; name one with split=NAME: there are "
            f"{', '.join(splits)} (a model's figures on the queries that it was trained on tell nothing of others)"
        )
    return chosen


def check_judged(dataset: Dataset, purpose: str) -> None:
    """Check that a data set with queries has judgements of any split.

    :param purpose: what needs them, for the message.
    :raises DataError: if there are none.
    """
    if not any(True for split in dataset.splits() for _ in dataset.judgements(split)):
        raise DataError(
            f"{dataset.name} has queries and no judgements, as there is no file of qrels with a grade; {purpose} needs "
            f"them: put qrels.tsv or qrels/test.tsv beside the queries (lines of query, document, grade)"
        )


def seen_in_training(retriever: Retriever, model: Path | None, queries: Sequence[str]) -> float:
    """Return the share, 0..1, of the model's sample of training queries that are among ``queries``."""
    from hybrid_search.towers.model_card import read_model_card

    if not retriever.searches_vectors:
        return 0.0
    folder = model or retriever.engine.model_folder()
    sample = read_model_card(folder).training_queries if folder is not None else ()
    evaluated = {text_hash(query) for query in queries}
    return sum(known in evaluated for known in sample) / len(sample) if sample else 0.0


def judged_queries(
    dataset: Dataset, split: str = "", judgement_set: str = ""
) -> tuple[str, list[Query], list[Judgement]]:
    """Return the split to measure on, its queries and its judgements.

    :param split: empty for the first that exists of ``test``, ``dev`` and ``validation``.
    :raises UsageError: as :func:`evaluate_index`.
    :raises DataError: as :func:`evaluate_index`.
    """
    chosen = _split(dataset, split)
    return chosen, *_judged(dataset, chosen, judgement_set)


def _judged(dataset: Dataset, split: str, judgement_set: str) -> tuple[list[Query], list[Judgement]]:
    queries = list(dataset.queries(split))
    judgements = list(dataset.judgements(split, judgement_set))
    if not judgements:
        marked = dataset.report().get(f"{split}_rows_not_judged", 0)
        why = f": {marked:,} of its rows are marked as not judged (is_selected -1)" if marked else ""
        raise DataError(f"split {split!r} of {dataset.name} has no judgements{why}; evaluation needs a judged split")
    return queries, judgements


def _untrained(retriever: Retriever, model: Path | None) -> Encoder | None:
    """Open the untrained encoder of the towers, if they have one: the weighted mean of their initial word vectors."""
    from hybrid_search.towers.model_card import UNTRAINED_FILE, read_model_card
    from hybrid_search.towers.untrained import UntrainedEncoder

    if retriever.encoder is None:
        return None
    folder = model or retriever.engine.model_folder()
    if folder is None or UNTRAINED_FILE not in read_model_card(folder).files:
        return None
    return UntrainedEncoder.load(folder)


def write_runs(path: Path, evaluation: Evaluation) -> Mapping[str, int]:
    """Write the rankings that an evaluation kept as TREC run files.

    The hybrid's (or BM25's, for an index without vectors) is written to ``path``, those of the other systems to files
    beside it, with the system's name before the suffix.

    :return: file -> number of ids that were percent-encoded; see :func:`write_run`.
    :raises StorageError: if a file can't be written.
    """
    files = {}
    main = "hybrid" if "hybrid" in evaluation.runs else "bm25"
    for system, run in evaluation.runs.items():
        file = path if system == main else path.with_name(f"{path.stem}.{system}{path.suffix}")
        files[str(file)] = write_run(file, run, tag=system)
    return files
