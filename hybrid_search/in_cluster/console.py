"""Makes example requests for searching an index by text, in the format of Dashboards' Dev Tools.

That is a method and a path, then JSON; ``#`` begins a comment. They use the real names and a document of the index, so
that each of them runs as it is.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from urllib.parse import quote

from hybrid_search.engines.opensearch.index import Deployment, from_source
from hybrid_search.engines.opensearch.search import SHOWN, EncodedThere, console_form, filter_query, for_people, hits_of
from hybrid_search.engines.opensearch.search import bodies as requests
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.filters import Exists, Filter, Term
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.server import INDEX_DEFAULT
from hybrid_search.types import Document

__all__ = ["Example", "Served", "Snippet", "example_of", "snippet_file", "snippets"]


Body = dict[str, Any]

_HITS = 5


@dataclass(frozen=True, slots=True)
class Example:
    """A document, a query that finds it, and a filter that it passes (None if it has no suitable metadata)."""

    document: Document
    text: str
    filter: Filter | None = None


_NOTHING = Example(Document("example", ""), "how to read a file line by line")
_WRITTEN = Document("written-as-text", "A page that was indexed as plain text, to be found by its meaning.")


@dataclass(frozen=True, slots=True)
class Snippet:
    """One request with a title.

    :ivar path: with query parameters.
    """

    title: str
    method: str
    path: str
    body: Body | None = None

    @property
    def console(self) -> str:
        """The title as a comment, and the request, in the format of Dev Tools."""
        return f"# {self.title}\n{console_form(self.method, self.path, self.body)}\n"


@dataclass(frozen=True, slots=True)
class Served:
    """The index that the requests are for, with its deployed towers.

    :ivar name: the index or, better, its alias: requests to an alias stay valid when it moves to another index.
    :ivar filter_in_hybrid: whether the server takes one filter for all legs.
    """

    name: str
    settings: IndexSettings
    deployment: Deployment
    filter_in_hybrid: bool = True

    def hybrid(self, text: str, *, filter: Filter | None = None, offset: int = 0, texts: bool = True) -> Body:
        """Return a hybrid search by text; the index's search pipeline fuses the legs and names the query tower."""
        asking = requests.Hybrid(self.settings.fusion, filter, self.filter_in_hybrid, INDEX_DEFAULT)
        body = asking.body((text, EncodedThere(text)), _HITS)
        return for_people(body, _HITS, offset) if texts else body

    def told(self, text: str) -> Body:
        """Return a hybrid search in which the legs are named, so that hits show the score of each leg."""
        body = self.hybrid(text)
        for leg in body["query"]["hybrid"]["queries"]:
            for kind, field, name in (("match", "searchable", "bm25"), ("neural", "vector", "knn")):
                if kind in leg:
                    leg[kind][field]["_name"] = name
        return body

    def legs(self, text: str) -> list[Body]:
        """Return the queries of the BM25 leg and the k-NN leg alone, whatever their weights in the fusion."""
        both = self.settings.fusion.replace(weights=(0.5, 0.5))
        body = requests.Hybrid(both, through=INDEX_DEFAULT).body((text, EncodedThere(text)), _HITS)
        legs: list[Body] = body["query"]["hybrid"]["queries"]
        return legs


def snippets(served: Served, example: Example = _NOTHING) -> list[Snippet]:
    """Return the requests, from simple to advanced.

    :param example: provides the query, the document and the filter.
    """
    text, filter = example.text, example.filter
    return [
        *_searches(served, text, filter),
        *_in_two_steps(served, text, example.document.id),
        *_templates(served, text, filter),
        *_writing(served),
    ]


def snippet_file(served: Served, examples: Sequence[Snippet]) -> str:
    """Return the content of a file of requests, with explanations at the top."""
    deployed = served.deployment
    head = (
        f"# Hybrid search by text in {served.name}: paste into OpenSearch Dashboards, Dev Tools.\n"
        f"# {_advice(served)}\n"
        f"# Towers: model {deployed.fingerprint[:16]}; a query is encoded by {deployed.query_model}, "
        f"a document by {deployed.document_model}.\n"
        f"# A text without a word that the towers know is refused (zero vector): ask for it by words alone.\n"
    )
    return "\n".join([head, *(snippet.console for snippet in examples)])


def _advice(served: Served) -> str:
    if served.name != served.deployment.index:
        return f"Always ask for the alias {served.name}; the index that it stands for now is {served.deployment.index}."
    return f"{served.name} is the index itself; behind an alias (load --alias) another one could take its place."


def _searches(served: Served, text: str, filter: Filter | None) -> Iterator[Snippet]:
    path = f"/{served.name}/_search"
    yield Snippet("Search by words and by meaning", "POST", path, served.hybrid(text))
    if filter is not None:
        body = served.hybrid(text, filter=filter)
        yield Snippet("The same, among the documents that fit a filter", "POST", path, body)
    body = served.hybrid(text, offset=_HITS)
    yield Snippet("The next page; pagination_depth stays as it is", "POST", path, body)
    named = f"{path}?include_named_queries_score=true"
    yield Snippet("Why a hit is there: matched_queries has each leg's score", "POST", named, served.told(text))
    lexical, dense = served.legs(text)
    yield Snippet("By words alone", "POST", path, for_people({"query": lexical}, _HITS))
    yield Snippet("By meaning alone", "POST", path, for_people({"query": dense}, _HITS))


def _in_two_steps(served: Served, text: str, id: str) -> Iterator[Snippet]:
    # An index of one shard reads the shown fields of the whole window, not only of the page.
    ids = served.hybrid(text, texts=False)
    yield Snippet("Several times as fast on an index of one shard: ids only", "POST", f"/{served.name}/_search", ids)
    texts = f"/{served.name}/_mget?_source={','.join(SHOWN)}"
    yield Snippet("and the texts of those that are shown", "POST", texts, {"ids": [id]})


def _templates(served: Served, text: str, filter: Filter | None) -> Iterator[Snippet]:
    template = served.deployment.search_template
    stored = {"id": template, "params": {"q": text}}
    yield Snippet("The stored template, with one parameter: what it becomes", "POST", "/_render/template", stored)
    path = f"/{served.name}/_search/template"
    yield Snippet("Search by the template", "POST", path, stored)
    chosen = {} if filter is None else {"filter": filter_query(filter)}
    more = {"id": template, "params": {"q": text, "size": 2, "from": 1, **chosen}}
    yield Snippet("It also takes size, from and filter (one query)", "POST", path, more)


def _writing(served: Served) -> Iterator[Snippet]:
    document = f"/{served.name}/_doc/{quote(_WRITTEN.id, safe='')}?refresh=true"
    source = {"title": "Written by hand", "text": _WRITTEN.text}
    yield Snippet("Index a document as text: the document tower encodes it on its way in", "PUT", document, source)
    path = f"/{served.name}/_search"
    yield Snippet("It is found at once", "POST", path, served.hybrid("written by hand as plain text"))
    yield Snippet("Delete it", "DELETE", document)
    yield Snippet("The index behind the name, and the names it goes by", "GET", f"/{served.name}/_alias")


_DRAWN = 20
_READ = 200  # words
_TYPED = 4
_TITLE = range(2, 8)  # words
_WORD = re.compile(r"\w+")
_SHORTEST = 4
_SHARED = 2


def example_of(client: Client, index: str, fields: Collection[str]) -> Example | None:
    """Return an example from an index, with a document's title or distinctive words as the query; None if it is empty.

    Prefers a document with metadata and a title of a few words; the same one as long as the index does not change.

    :param fields: names of the declared metadata fields.
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
    """Return the words with the highest tf-idf, in order of the text; only words that other documents have too."""
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
    """Return a filter that other documents pass too, as a filter by a unique value would demonstrate nothing."""
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
