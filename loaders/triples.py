"""Training triples of MS MARCO passage ranking, as texts or as ids, gathered into examples.

A file has one negative per line. Consecutive lines of one query are gathered, so that a query and a positive become one
example with all their negatives; a file in random order gives one example per line. Memory is bounded in either case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

from hybrid_search.loaders.collection import CollectionIndex
from hybrid_search.loaders.formats import Line, read_tsv
from hybrid_search.loaders.intake import Reject
from hybrid_search.types import Document, Example, Query, text_hash

__all__ = ["Triple", "gather", "read_id_triples", "read_text_triples"]

_GATHERED = 10_000
"""Most lines of one query that are gathered; a longer run is split."""


class Triple(NamedTuple):
    """A query, a document that answers it, and one that does not."""

    query: Query
    positive: Document
    negative: Document


def read_text_triples(
    path: Path, known_queries: Mapping[str, str], passages: CollectionIndex, reject: Reject
) -> Iterator[Triple]:
    """Stream triples of texts (query, positive, negative).

    :param known_queries: text hash -> query id; the id of any other query is its text hash.
    :param passages: the collection by text hash; the id of a passage that is not in it is its text hash.
    """
    for line, cells in read_tsv(path, ("query", "positive", "negative"), reject):
        blank = next((name for name, text in zip(Triple._fields, cells, strict=True) if not text.strip()), None)
        if blank is not None:
            reject(line.rejected(blank, "blank"))
            continue
        text, positive, negative = cells
        name = text_hash(text)
        query = Query(known_queries.get(name, name), text)
        yield Triple(query, _document(positive, passages), _document(negative, passages))


def read_id_triples(
    path: Path, queries: Mapping[str, str], passages: CollectionIndex, reject: Reject
) -> Iterator[Triple]:
    """Stream triples of ids (qid, positive pid, negative pid); a line with an unknown id is rejected.

    :param queries: query id -> text.
    :param passages: the collection by id.
    """
    for line, (qid, positive_id, negative_id) in read_tsv(path, ("qid", "positive pid", "negative pid"), reject):
        text = queries.get(qid)
        positive, negative = passages.get(positive_id), passages.get(negative_id)
        if text is None:
            reject(line.rejected("qid", "not among the training queries"))
        elif positive is None or negative is None:
            _reject_passage(line, "positive pid" if positive is None else "negative pid", reject)
        else:
            yield Triple(Query(qid, text), positive, negative)


def gather(triples: Iterable[Triple]) -> Iterator[Example]:
    """Combine the consecutive triples of a query into one example for each of its positives.

    Each negative occurs once, in the order of the file; a passage that is also a positive of the run is left out.
    """
    for query, run in groupby(triples, key=lambda triple: triple.query):
        while piece := list(islice(run, _GATHERED)):
            positives = {triple.positive.id: triple.positive for triple in piece}
            for id, positive in positives.items():
                negatives = {triple.negative.id: triple.negative for triple in piece if triple.positive.id == id}
                kept = tuple(document for name, document in negatives.items() if name not in positives)
                yield Example(query, positive, kept)


def _document(text: str, passages: CollectionIndex) -> Document:
    name = text_hash(text)
    return passages.get(name) or Document(name, text)


def _reject_passage(line: Line, field: str, reject: Reject) -> None:
    reject(line.rejected(field, "not in the collection"))
