"""A teacher's vectors as scores of query and document, for the losses that distil scores. Layer 3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hybrid_search.streams import in_batches
from hybrid_search.training.distillation import TeacherScores
from hybrid_search.training.judging import VectorsOf
from hybrid_search.training.pairs import GetDocuments
from hybrid_search.types import Example

__all__ = ["scores_of"]

_BATCH = 1_024


def scores_of(
    vectors_of: VectorsOf,
    examples: Sequence[Example],
    candidates: Mapping[str, Sequence[str]],
    get_documents: GetDocuments,
    *,
    temperature: float,
) -> TeacherScores:
    """Score each query's answers and candidates by the teacher's cosine, over the temperature of the students' scores.

    :param candidates: query id -> document ids.
    :return: query id -> document id -> score; what the teacher has no vector of is left out.
    """
    queries = {example.query.id: example.query.text for example in examples}
    answers: dict[str, dict[str, str]] = {query: {} for query in queries}
    for example in examples:
        answers[example.query.id][example.positive.id] = example.positive.searchable_text
    scores: dict[str, dict[str, float]] = {}
    for batch in in_batches(queries, _BATCH):
        texts = _texts(candidates, batch, get_documents)
        documents = {
            query: answers[query] | {i: texts[i] for i in candidates.get(query, ()) if i in texts} for query in batch
        }
        wanted = dict.fromkeys(
            [*(queries[query] for query in batch), *(t for own in documents.values() for t in own.values())]
        )
        rows = {text: row for row, text in enumerate(wanted)}
        vectors, known = vectors_of(list(wanted))
        for query in batch:
            row = rows[queries[query]]
            own = {i: rows[text] for i, text in documents[query].items() if known[row] and known[rows[text]]}
            cosines = vectors[list(own.values())] @ vectors[row]
            scores[query] = dict(zip(own, (cosines / temperature).tolist(), strict=True))
    return scores


def _texts(
    candidates: Mapping[str, Sequence[str]], queries: Iterable[str], get_documents: GetDocuments
) -> dict[str, str]:
    ids = list(dict.fromkeys(i for query in queries for i in candidates.get(query, ())))
    found = zip(ids, get_documents(ids), strict=True)
    return {i: document.searchable_text for i, document in found if document is not None}
