"""What a model lost on the validation queries of the model that it started from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybrid_search.errors import HybridSearchError
from hybrid_search.protocols import Dataset, Reporter
from hybrid_search.settings.training import TrainConfig
from hybrid_search.towers.checkpoint import load_towers
from hybrid_search.training.data.arrays import ValidationData, build_validation_data
from hybrid_search.training.loop.validation import validate
from hybrid_search.training.request import OldData
from hybrid_search.training.run import tokens_of
from hybrid_search.training.start import Start
from hybrid_search.training.vocabulary import Vocabulary
from hybrid_search.types import Document, Example, Query, text_hash

__all__ = ["Forgetting", "measure_forgetting"]


@dataclass(frozen=True, slots=True)
class Forgetting:
    """The towers' nDCG@10 on the old validation queries, by exact ranking over a part of the old corpus.

    :ivar documents: number of documents ranked: all answers, and a sample of the others.
    :ivar why_not: why it could not be measured; empty if it was.
    """

    queries: int = 0
    documents: int = 0
    before: float = 0.0
    after: float = 0.0
    why_not: str = ""

    def figures(self) -> dict[str, float]:
        """Return the figures by name; empty if there are none."""
        if self.why_not:
            return {}
        counts = {"queries": self.queries, "documents": self.documents}
        return {**counts, "before": round(self.before, 4), "after": round(self.after, 4)}

    def values(self) -> dict[str, float | str]:
        """Return the figures by name, or why there are none."""
        return {"not_measured": self.why_not} if self.why_not else dict(self.figures())

    def note(self, start: str) -> str:
        """Return a sentence for people."""
        if self.why_not:
            return f"what the towers lost on the validation queries of {start} could not be measured: {self.why_not}"
        change = self.after - self.before
        word = "lost" if change < 0 else "gained"
        return (
            f"on the {self.queries} validation queries of {start} the towers {word} {abs(change):.4f}: nDCG@10 "
            f"{self.before:.4f} before, {self.after:.4f} after, over {self.documents:,} documents of its corpus"
        )


def measure_forgetting(
    start: Start, model: Path, old: OldData | None, config: TrainConfig, reporter: Reporter
) -> Forgetting:
    """Rank a part of the old corpus for the old validation queries, with the old towers and with the new ones.

    :param model: the new checkpoint.
    :param old: the data set that the start was trained on, or what opens it; None if it is not known.
    """
    if not start.known.held_out:
        return Forgetting(why_not="none are noted in it (it had none, or was trained by an earlier version)")
    if old is None:
        return Forgetting(why_not="its data set is not given; `old_data` takes it")
    try:
        dataset = old() if callable(old) else old
        examples, positives = _examples(dataset, start, config.validation_queries)
    except HybridSearchError as error:
        return Forgetting(why_not=f"its data can't be read again ({error}); `old_data` takes it from another place")
    if not examples:
        return Forgetting(why_not=f"{dataset.name} has none of them, with an answer, in split {start.split!r}")
    with reporter.progress("measuring what was lost on the old validation queries", 2) as task:

        def measured(folder: Path) -> tuple[ValidationData, float]:
            towers, tokenizer, card = load_towers(folder)
            data = build_validation_data(
                examples, tokens_of(Vocabulary(tokenizer), card.tower), positives=positives,
                others=dataset.documents(), max_queries=config.validation_queries,
                max_documents=config.validation_documents, seed=config.seed,
            )  # fmt: skip
            assert data is not None  # there are examples
            task.advance()
            return data, validate(towers, data)

        (data, before), (_, after) = measured(start.folder), measured(model)
    return Forgetting(len(data.queries), len(data.documents), before, after)


def _examples(dataset: Dataset, start: Start, most: int) -> tuple[list[Example], Mapping[str, frozenset[str]]]:
    """Return the old validation queries, each with its answers as examples, and query id -> ids of all answers."""
    held_out = start.known.held_out
    if start.split not in dataset.splits():
        return [], {}
    queries = {query.id: query for query in dataset.queries(start.split) if text_hash(query.text) in held_out}
    chosen = sorted(queries, key=lambda id: text_hash(queries[id].text))[:most]
    answers: dict[str, set[str]] = {id: set() for id in chosen}
    for judgement in dataset.judgements(start.split):
        if judgement.grade > 0 and judgement.query_id in answers:
            answers[judgement.query_id].add(judgement.document_id)
    if not any(answers.values()):
        return _ready_made(dataset, start, most)
    wanted = set().union(*answers.values())
    found = {document.id: document for document in dataset.documents() if document.id in wanted}
    examples = [Example(queries[id], document) for id in chosen for document in _of(found, answers[id])]
    return examples, {id: frozenset(ones) for id, ones in answers.items()}


def _of(found: Mapping[str, Document], ids: set[str]) -> Sequence[Document]:
    return [found[id] for id in sorted(ids) if id in found]


def _ready_made(dataset: Dataset, start: Start, most: int) -> tuple[list[Example], Mapping[str, frozenset[str]]]:
    """Return the examples of a data set that brings them ready-made."""
    examples: list[Example] = []
    queries: dict[str, Query] = {}
    positives: dict[str, set[str]] = {}
    for example in dataset.examples(start.split):
        query = example.query
        if text_hash(query.text) in start.known.held_out and (query.id in queries or len(queries) < most):
            queries[query.id] = query
            examples.append(example)
            positives.setdefault(query.id, set()).add(example.positive.id)
    return examples, {id: frozenset(ones) for id, ones in positives.items()}
