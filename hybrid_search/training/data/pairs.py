"""Collects training examples from a data set, counts those that are left out, and splits off validation."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hybrid_search.protocols import Dataset
from hybrid_search.types import Document, Example, Judgement, text_hash

__all__ = ["GetDocuments", "Pairs", "gather_examples", "split_by_answer"]

GetDocuments = Callable[[Sequence[str]], Sequence[Document | None]]
"""Fetches documents by id, None for unknown ids; such as an engine's ``get``."""

T = TypeVar("T")

# A sample is drawn from the first POOL x max_samples examples, so that a stream of millions is not read to its end.
POOL = 10
_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Pairs:
    """The examples of a run.

    :ivar positives: query id -> ids of all documents known to be relevant, including those beyond the limit of examples
        per query; none of them may become a negative.
    :ivar report: counts: ``examples``, ``queries``, and reason -> number left out.
    """

    examples: list[Example]
    positives: Mapping[str, frozenset[str]]
    report: Mapping[str, int] = field(default_factory=dict)


def gather_examples(
    dataset: Dataset,
    split: str,
    *,
    get_documents: GetDocuments,
    max_samples: int = 0,
    positives_per_query: int = 16,
    seed: int = 0,
    held_out: Collection[str] = frozenset(),
) -> Pairs:
    """Collect a split's training examples: those that the data set provides, else its queries with their judgements.

    :param max_samples: most examples, drawn from the first 10 times as many; 0 for all.
    :param positives_per_query: most judged documents per query, the best grades first, so that queries with hundreds of
        them (NFCorpus has 43 on average) don't dominate.
    :param held_out: :func:`~hybrid_search.types.text_hash` of test queries; examples with such a query are left out.
    """
    counts: Counter[str] = Counter()
    positives: dict[str, set[str]] = defaultdict(set)
    ready = dataset.examples(split)
    first = next(ready, None)
    if first is not None:
        stream: Iterator[Example] = itertools.chain([first], ready)
    else:
        stream = _judged(dataset, split, positives, get_documents, positives_per_query, counts)
    usable = _usable(stream, frozenset(held_out), counts)
    examples = _sample(usable, max_samples, seed)
    for example in examples:
        positives[example.query.id].add(example.positive.id)
    kept = {example.query.id for example in examples}
    counts.update(examples=len(examples), queries=len(kept))
    return Pairs(examples, {i: frozenset(ids) for i, ids in positives.items() if i in kept}, dict(counts))


def split_by_answer(
    examples: Sequence[Example],
    share: float,
    seed: int,
    *,
    learnt: Collection[str] = frozenset(),
    held_out: Collection[str] = frozenset(),
) -> tuple[list[Example], list[Example]]:
    """Split into (training, validation) so that both parts ask for different things, as far as the data allows.

    Queries are grouped by the title of their first answer; if there are too few titles, by its text; and if that groups
    too many, each query is a group of its own. No query text is in both parts.

    :param share: share of the query texts for validation, 0..1; it is met approximately, as groups are not split.
    :param learnt: :func:`~hybrid_search.types.text_hash` of queries that the towers know already: they, and those with
        the same answer, are no validation, and the share is one of the others.
    :param held_out: the same of queries that must be validation.
    """
    first: dict[str, Example] = {}
    for example in examples:
        first.setdefault(text_hash(example.query.text), example)
    forced = {name for name in first if name in held_out and name not in learnt}
    target = share * sum(name not in learnt for name in first)
    chosen: set[str] = set()
    for subject in (_title, _text, _query):
        groups: dict[str, list[str]] = defaultdict(list)
        for name, example in first.items():
            groups[text_hash(f"{seed} {subject(example)}")].append(name)
        free = {key: names for key, names in groups.items() if not any(n in learnt or n in forced for n in names)}
        chosen = forced | _fill_up(free, target - len(forced))
        if len(chosen) >= target / 2:
            break
    training: list[Example] = []
    validation: list[Example] = []
    for example in examples:
        (validation if text_hash(example.query.text) in chosen else training).append(example)
    return training, validation


def _fill_up(groups: Mapping[str, Sequence[str]], target: float) -> set[str]:
    """Take groups in the order of their hashes until there are ``target`` names; too large groups are skipped."""
    chosen: set[str] = set()
    if target <= 0:
        return chosen
    for _, names in sorted(groups.items()):
        if len(chosen) + len(names) <= 1.2 * target:
            chosen.update(names)
        if len(chosen) >= target:
            break
    return chosen


def _title(example: Example) -> str:
    return example.positive.title or example.positive.text


def _text(example: Example) -> str:
    return example.positive.text


def _query(example: Example) -> str:
    return example.query.text


def _judged(
    dataset: Dataset,
    split: str,
    positives: dict[str, set[str]],
    get_documents: GetDocuments,
    cap: int,
    counts: Counter[str],
) -> Iterator[Example]:
    judgements: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in dataset.judgements(split):
        if judgement.grade > 0:
            judgements[judgement.query_id].append(judgement)
            positives[judgement.query_id].add(judgement.document_id)
    texts = {query.id: query for query in dataset.queries(split)}
    counts["judged_query_without_text"] = sum(query_id not in texts for query_id in judgements)
    best = {query_id: _best(judged, cap) for query_id, judged in judgements.items() if query_id in texts}
    counts["positives_beyond_cap"] = sum(len(judgements[query_id]) - len(ids) for query_id, ids in best.items())
    for batch in _batches(_round_robin(best), _BATCH):
        documents = get_documents([document_id for _, document_id in batch])
        for (query_id, _), document in zip(batch, documents, strict=True):
            if document is None:
                counts["judged_document_missing"] += 1
            else:
                yield Example(texts[query_id], document)


def _best(judged: list[Judgement], cap: int) -> list[str]:
    ranked = sorted(judged, key=lambda judgement: (-judgement.grade, judgement.document_id))
    return [judgement.document_id for judgement in ranked[:cap]]


def _round_robin(best: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    # First every query's best document, then every second best, so that a cut anywhere keeps all queries.
    for number in range(max(map(len, best.values()), default=0)):
        for query_id, ids in best.items():
            if number < len(ids):
                yield query_id, ids[number]


def _usable(examples: Iterable[Example], held_out: frozenset[str], counts: Counter[str]) -> Iterator[Example]:
    seen: set[tuple[str, str]] = set()
    for example in examples:
        query, positive = example.query.text.strip(), example.positive.searchable_text.strip()
        key = (text_hash(query), example.positive.id)
        if not query or not positive:
            counts["blank"] += 1
        elif key[0] in held_out:
            counts["held_out_query"] += 1
        elif key in seen and not example.negatives:
            counts["duplicate"] += 1
        else:
            seen.add(key)
            yield example


def _sample(examples: Iterable[Example], size: int, seed: int) -> list[Example]:
    if not size:
        return list(examples)
    pool = list(itertools.islice(examples, POOL * size))
    if len(pool) <= size:
        return pool
    chosen = np.random.default_rng(seed).choice(len(pool), size, replace=False)
    return [pool[i] for i in sorted(chosen)]


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
