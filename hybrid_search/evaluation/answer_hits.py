"""The answer-hit rate: for how many queries one of the first documents contains a known answer, judged or not.

As open-domain question answering measures retrieval (Chen et al. 2017; Karpukhin et al. 2020). A document is right by
its words, not by judgements; so answers that nobody judged count, and words that stand there by chance do, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from hybrid_search.errors import DataError
from hybrid_search.evaluation.protocol import Evaluation
from hybrid_search.protocols import Dataset
from hybrid_search.training.negatives.miner import has_answer, known_answers
from hybrid_search.types import Document

__all__ = ["answers_of", "is_answer_hit", "with_answer_hits"]

_NAME = re.compile(r"AnswerHit@([1-9]\d{0,3})")


def is_answer_hit(name: str) -> bool:
    """Return whether a measure's name is ``AnswerHit@k``."""
    return _NAME.fullmatch(name) is not None


def answers_of(dataset: Dataset, split: str) -> dict[str, frozenset[str]]:
    """Return query id -> its known answers, of four characters or more, normalised.

    :raises DataError: if the data set knows none.
    """
    found: dict[str, frozenset[str]] = {}
    for example in dataset.examples(split):
        if answers := known_answers(example.answers):
            found[example.query.id] = found.get(example.query.id, frozenset()) | answers
    if not found:
        raise DataError(
            f"split {split!r} of {dataset.name} has no answers in words, which AnswerHit needs; ms_marco's rows have "
            "some; Success@k goes by judgements"
        )
    return found


def with_answer_hits(
    evaluation: Evaluation,
    names: Iterable[str],
    answers: Mapping[str, frozenset[str]],
    get: Callable[[Sequence[str]], Sequence[Document | None]],
) -> Evaluation:
    """Add the measures of these names, 0 or 1 for each evaluated query with a known answer.

    :param evaluation: with its runs.
    :param get: fetches documents by id, None where there is none.
    """
    cutoffs = {name: int(found[1]) for name in names if (found := _NAME.fullmatch(name))}
    deepest = max(cutoffs.values(), default=0)
    values = {system: dict(by_name) for system, by_name in evaluation.values.items()}
    for system, rankings in evaluation.runs.items():
        ranks: dict[str, float] = {}
        for query, ranking in rankings.items():
            if query in answers:
                documents = get(ranking.ids[:deepest])
                right = (one is not None and has_answer(one, answers[query]) for one in documents)
                ranks[query] = next((rank for rank, is_right in enumerate(right, 1) if is_right), float("inf"))
        for name, k in cutoffs.items():
            values[system][name] = {query: float(rank <= k) for query, rank in ranks.items()}
    return replace(evaluation, values=values)
