"""An example of what somebody would ask of an index: one of its documents, and words that are its own."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.records import from_source
from hybrid_search.engines.opensearch.responses import hits_of
from hybrid_search.types import Document

__all__ = ["Example", "example_of"]

_DRAWN = 20
_READ = 200  # words
_TYPED = 4
_TITLE = range(2, 9)  # words
_WORD = re.compile(r"\w+")
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Example:
    """A document, and a text to ask for it by."""

    document: Document
    text: str


def example_of(client: Client, index: str) -> Example | None:
    """Return one of an index's documents with its title, or the words that set it apart; None where there is none.

    The same one for as long as the index stays as it is; rather one with metadata and a title of a few words.
    """
    chance = {"function_score": {"random_score": {"seed": 0, "field": "_seq_no"}}}
    body = {"size": _DRAWN, "query": chance, "_source": {"excludes": ["vector", "added"]}}
    drawn = [from_source(hit["_source"]) for hit in hits_of(client.call("POST", f"/{index}/_search", body))]
    if not drawn:
        return None
    document = max(drawn, key=lambda one: (bool(one.metadata), _is_telling(one.title), len(one.text) > 100))
    return Example(document, document.title if _is_telling(document.title) else _telling_words(client, index, document))


def _is_telling(title: str) -> bool:
    return len(title.split()) in _TITLE


def _telling_words(client: Client, index: str, document: Document) -> str:
    """Pick the words of the highest tf-idf, in their order, that other documents have too."""
    read = _WORD.findall(document.searchable_text)[:_READ]
    times = Counter(word.lower() for word in read if word.isalpha() and len(word) >= _SHORTEST)
    words = list(times)
    found = _documents_with(client, index, words)
    total = max(found, default=0)
    worth = {
        word: times[word] * math.log(1 + total / count) for word, count in zip(words, found, strict=True) if count > 1
    }
    chosen = sorted(worth, key=lambda word: -worth[word])[:_TYPED]
    return " ".join(word for word in words if word in chosen) or " ".join(read[: _TITLE.stop]) or document.id


def _documents_with(client: Client, index: str, words: Sequence[str]) -> list[int]:
    if not words:
        return []
    filters = [{"match": {"searchable": word}} for word in words]
    body = {"size": 0, "aggs": {"words": {"filters": {"filters": filters}}}}
    answer = client.call("POST", f"/{index}/_search", body)
    return [bucket["doc_count"] for bucket in answer["aggregations"]["words"]["buckets"]]
