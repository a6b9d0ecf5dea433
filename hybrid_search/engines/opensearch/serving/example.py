"""An example of what somebody would ask of an index: one of its documents, and words that are its own."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.filter_queries import filter_query
from hybrid_search.engines.opensearch.records import from_source
from hybrid_search.engines.opensearch.responses import hits_of
from hybrid_search.filters import Exists, Filter, Term
from hybrid_search.types import Document

__all__ = ["Example", "example_of"]

_DRAWN = 20
_READ = 200  # words
_TYPED = 4
_TITLE = range(2, 8)  # words
_WORD = re.compile(r"\w+")
_SHORTEST = 4
_SHARED = 2


@dataclass(frozen=True, slots=True)
class Example:
    """A document, a text to ask for it by, and a filter that it passes; None where it has nothing to filter by."""

    document: Document
    text: str
    filter: Filter | None = None


def example_of(client: Client, index: str, fields: Collection[str]) -> Example | None:
    """Return one of an index's documents with its title, or the words that set it apart; None where there is none.

    The same one for as long as the index stays as it is; rather one with metadata and a title of a few words.

    :param fields: the names of the metadata that the index declares.
    """
    chance = {"function_score": {"random_score": {"seed": 0, "field": "_seq_no"}}}
    body = {"size": _DRAWN, "query": chance, "_source": {"excludes": ["vector", "added"]}}
    drawn = [
        from_source(hit.get("_source") or {}, hit["_id"])
        for hit in hits_of(client.call("POST", f"/{index}/_search", body))
    ]
    if not drawn:
        return None
    document = max(drawn, key=lambda one: (bool(one.metadata), _is_telling(one.title), len(one.text) > 100))
    title = document.title.strip(" .?!")
    text = title if _is_telling(title) else _telling_words(client, index, document)
    return Example(document, text, _filter_of(client, index, document, fields))


def _is_telling(title: str) -> bool:
    return len(title.split()) in _TITLE


def _telling_words(client: Client, index: str, document: Document) -> str:
    """Pick the words of the highest tf-idf, in their order, that other documents have too."""
    read = _WORD.findall(document.searchable_text)[:_READ]
    times = Counter(word.lower() for word in read if word.isalpha() and len(word) >= _SHORTEST)
    words = list(times)
    found = _documents_with(client, index, [{"match": {"searchable": word}} for word in words])
    total = max(found, default=0)
    worth = {
        word: times[word] * math.log(1 + total / count) for word, count in zip(words, found, strict=True) if count > 1
    }
    chosen = sorted(worth, key=lambda word: -worth[word])[:_TYPED]
    return " ".join(word for word in words if word in chosen) or " ".join(read[: _TITLE.stop]) or document.id


def _filter_of(client: Client, index: str, document: Document, fields: Collection[str]) -> Filter | None:
    """Return a filter that several documents pass: one by a value that is the document's alone shows nothing."""
    terms = [
        Term(name, value)
        for name, value in document.metadata.items()
        if name in fields and not isinstance(value, tuple)
    ]
    passed = _documents_with(client, index, [filter_query(term) for term in terms])
    most, term = max(zip(passed, terms, strict=True), key=itemgetter(0), default=(0, None))
    return Exists(term.field) if term is not None and most < _SHARED else term


def _documents_with(client: Client, index: str, queries: Sequence[Mapping[str, Any]]) -> list[int]:
    if not queries:
        return []
    body = {"size": 0, "aggs": {"each": {"filters": {"filters": list(queries)}}}}
    answer = client.call("POST", f"/{index}/_search", body)
    return [bucket["doc_count"] for bucket in answer["aggregations"]["each"]["buckets"]]
