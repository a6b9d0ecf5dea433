"""Searches of one index: checked against it, planned, results converted to hits. Pure; used by both engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hybrid_search.analysis import MOST_WORDS, Analyzer, analyzer, asked
from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.index.fitness import other_fields
from hybrid_search.engines.opensearch.index.template import mapping_plan, settings_of
from hybrid_search.engines.opensearch.search import bodies as requests
from hybrid_search.engines.opensearch.search import fusion_pipelines as pipelines
from hybrid_search.engines.opensearch.search.answers import Pairs, ranking, refuse_partial
from hybrid_search.engines.opensearch.search.bodies import DenseQuery, EncodedThere, HybridQuery, Verbatim, Words
from hybrid_search.engines.opensearch.search.explanation import LegsOfHit
from hybrid_search.engines.opensearch.search.filter_queries import check_size, room_for_words
from hybrid_search.engines.opensearch.search.matching import counted
from hybrid_search.engines.opensearch.search.query_log import QueryLog
from hybrid_search.engines.opensearch.search.searcher import Page, Searches, Stored
from hybrid_search.engines.opensearch.transport.plan import Plan
from hybrid_search.errors import FilterError, UnsupportedCapability, UsageError
from hybrid_search.filters import Exists, Filter, check_filter
from hybrid_search.filters.typed import in_its_type
from hybrid_search.fusion import explain_one_leg
from hybrid_search.location import Address
from hybrid_search.passages import document_of, grouped, hits_of_documents
from hybrid_search.search import MAX_K, Search
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.settings.server import SearchOptions
from hybrid_search.types import Document, Hit, Leg, Matches, Ranking

__all__ = ["Reading"]

_TRIES = 5
"""Attempts of a search while documents are replaced between ranking and fetching their texts."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A search in the form that this server gets.

    :ivar search: with the index's fusion, if the mode is ``hybrid``.
    :ivar queries: an empty text if BM25 is not used, None if the k-NN leg is not.
    """

    search: Search
    filter: Filter | None
    queries: Sequence[HybridQuery]

    @property
    def sent(self) -> list[int]:
        """The positions of the queries that are sent; the others can't find anything."""
        return [position for position, (words, dense) in enumerate(self.queries) if words or dense is not None]


class Reading:
    """The searches of one index, as plans.

    :param query_model: id of the query tower in the cluster, for searches without vectors; empty for none.
    :param log: gets every answered search.
    :ivar settings: the index's settings, with the fields declared so far.
    """

    def __init__(
        self,
        address: Address,
        settings: IndexSettings,
        server: ServerCapabilities,
        options: SearchOptions,
        *,
        query_model: str = "",
        log: QueryLog | None = None,
    ) -> None:
        self.settings = settings
        self.query_model = query_model
        self._address = address
        self._server = server
        self._filter_in_hybrid = server.filter_in_hybrid
        self._options = options
        self._log = log
        self._ready = set[Fusion]()

    def search(self, search: Search) -> Plan[list[list[Hit]]]:
        """Answer queries with hits and their texts; takes two requests, or more if documents are replaced in between.

        :raises FilterError: if the filter does not fit the index's fields.
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        :raises UsageError: if the vectors are not one row of finite floats for each query.
        :raises ConfigError: if the search pipeline is missing, or computes something else.
        :raises UnsupportedCapability: if the server can't fuse in this way, or the index has other BM25 parameters.
        """
        asked = prepared = yield from self._prepared(search)
        searches = self._searches()
        for _ in range(_TRIES):
            pages, prepared = yield from self._deep_pages(searches, asked, explained=self._options.explain)
            chosen = [_chosen(page, search) for page in pages]
            both = list(zip(pages, chosen, strict=True))
            wanted = (page.pairs[at][0] for page, groups in both for group in groups for at in group)
            stored = yield from searches.documents(wanted)
            found = [_hits(page, groups, stored, prepared.search) for page, groups in both]
            if all(map(_is_whole, found, chosen)):
                break  # else a document was replaced or deleted after ranking
        if search.group:
            hits = [hits_of_documents(groups, search.offset) for groups in found]
        else:
            hits = [[hit for one in groups for hit in one] for groups in found]
        if self._log is not None:
            self._log.note(asked.search, hits, searches.took)
        return hits

    def rank(self, search: Search) -> Plan[list[Ranking]]:
        """Answer queries with ids and scores, in one request; otherwise as :meth:`search`."""
        prepared = yield from self._prepared(search)
        pages, _ = yield from self._deep_pages(self._searches(), prepared, explained=False)
        return [ranking(_pairs(page, search)) for page in pages]

    def matches(self, search: Search, facets: Sequence[str], most_values: int) -> Plan[list[Matches]]:
        """Count what matches, in a request or two for each query, more for passages; see :meth:`Engine.matches`."""
        for field in facets:
            yield from self._filter_of(replace(search, filter=Exists(field)))
        prepared = yield from self._prepared(search)
        searches, found = self._searches(), []
        for query in prepared.queries:
            matching = yield from self._matching(searches, replace(prepared, queries=[query]))
            of_query = yield from counted(
                searches, matching, facets, most_values, self.settings.fields, by_document=bool(search.group)
            )
            found.append(of_query)
        return found

    def _matching(self, searches: Searches, prepared: _Prepared) -> Plan[requests.Body]:
        """Return the query that finds what matches the only query of a search."""
        search, filter = prepared.search, prepared.filter
        [(words, dense)] = prepared.queries
        if search.mode == "hybrid" and search.min_score is not None:
            every = replace(search, k=min(2 * self._asking(prepared).fusion.window, MAX_K), offset=0, group=0)
            [page] = yield from self._pages(searches, replace(prepared, search=every), explained=False)
            return requests.matching("", [id for id, _, _ in page.pairs], None, None)
        weights = search.fusion.weights if search.fusion else (0.0, 1.0)
        near: list[str] = []
        if dense is not None and weights[1]:
            [page] = yield from searches.dense([dense], 0, search.neighbours(self.settings.fusion), filter)
            near = [id for id, _, _ in _at_least(page, search.least_of("knn")).pairs]
            if not page.pairs and isinstance(dense, EncodedThere):
                dense = None  # the towers know no word of it
        if dense is not None and not weights[0]:
            words = ""
        return requests.matching(words, near, filter, search.least_of("bm25"))

    def body(self, search: Search) -> Plan[requests.Body]:
        """Return the body that a search of one query would send.

        :raises UsageError: if nothing would be sent; otherwise as :meth:`search`.
        """
        prepared = yield from self._prepared(search)
        [(words, dense)] = prepared.queries
        if not search.texts[0].strip():
            raise UsageError("the query is empty, so it finds nothing and is not sent")
        if search.mode == "bm25":
            return requests.lexical(words, search.end, prepared.filter)
        if search.mode == "hybrid":
            return self._asking(prepared).body((words, dense), search.end)
        if dense is None:
            raise UsageError("the towers know no word of the query, so a k-NN search finds nothing and is not sent")
        return requests.dense(dense, search.end, prepared.filter)

    def documents(self, ids: Sequence[str]) -> Plan[list[Document | None]]:
        """Fetch committed documents by id, None for unknown ids."""
        stored = yield from self._searches().documents(ids)
        return [found.document if (found := stored.get(id)) else None for id in ids]

    def _searches(self) -> Searches:
        return Searches(self._address.index, self._options.partial or refuse_partial)

    def _deep_pages(
        self, searches: Searches, prepared: _Prepared, *, explained: bool
    ) -> Plan[tuple[list[Page], _Prepared]]:
        """Rank on the server, for a search for documents enough of their passages; return the search with the pages."""
        search = prepared.search
        if not search.group:
            pages = yield from self._pages(searches, prepared, explained=explained)
            return pages, prepared
        depth = search.first_depth
        while True:
            deep = replace(prepared, search=search.of_passages(depth))
            pages = yield from self._pages(searches, deep, explained=explained)
            groups = [len(grouped([id for id, _, _ in page.pairs], 1)) for page in pages]
            found = zip(pages, groups, strict=True)
            if all(search.is_deep_enough(depth, len(page.pairs), documents) for page, documents in found):
                return pages, deep
            depth = min(8 * depth, MAX_K)

    def _pages(self, searches: Searches, prepared: _Prepared, *, explained: bool) -> Plan[list[Page]]:
        """Rank on the server; return a page for each query, empty for those that are not sent."""
        search, sent = prepared.search, prepared.sent
        queries = [prepared.queries[position] for position in sent]
        dense = [vector for _, vector in queries if vector is not None]
        page = search.offset, search.end
        if search.mode == "bm25":
            found = yield from searches.lexical([words for words, _ in queries], *page, prepared.filter)
        elif search.mode == "hybrid":
            found = yield from searches.hybrid(queries, *page, self._asking(prepared), explained=explained)
        elif search.exact:
            numbers = [vector for vector in dense if not isinstance(vector, EncodedThere)]
            found = yield from searches.exact_dense(numbers, *page, prepared.filter, self.settings.similarity)
        else:
            found = yield from searches.dense(dense, *page, prepared.filter)
        pages = [Page([])] * len(prepared.queries)
        for position, of_query in zip(sent, found, strict=True):
            pages[position] = _at_least(of_query, search.min_score)
        return pages

    def _prepared(self, search: Search) -> Plan[_Prepared]:
        """Check a search against this index and its server, and adapt it to them."""
        filter = yield from self._filter_of(search)
        if search.bm25 is not None and search.bm25 != self.settings.bm25:
            raise UnsupportedCapability(
                f"{self._address} was made with {self.settings.bm25}; OpenSearch can't search it with {search.bm25}: "
                f"load the data with these, or use an index in a folder"
            )
        search = search.with_fusion(self.settings.fusion)
        dense: Sequence[DenseQuery | None] = [None] * len(search.texts)
        words: Sequence[Words] = [""] * len(search.texts)
        if search.mode != "bm25":
            dense = self._dense_queries(search)
        if search.mode != "knn":
            words = self._words(search.texts, filter)
        if search.fusion is not None and any(query is not None for query in dense):
            yield from self._ready_to_fuse(search.fusion)
        return _Prepared(search, filter, list(zip(words, dense, strict=True)))

    def _asking(self, prepared: _Prepared) -> requests.Hybrid:
        """Return the common part of the hybrid queries for this server."""
        fusion = prepared.search.fusion or self.settings.fusion
        least = prepared.search.min_bm25, prepared.search.min_knn
        return requests.Hybrid(fusion, prepared.filter, self._filter_in_hybrid, self._options.pipeline, least)

    def _ready_to_fuse(self, fusion: Fusion) -> Plan[None]:
        """Check, once per fusion, that a stored pipeline computes it, unless the search carries the fusion itself."""
        if fusion in self._ready:
            return
        self._server.check_fusion(fusion)
        yield from pipelines.check(self._address, self._options.pipeline, fusion, self._server)
        self._ready.add(fusion)

    def _filter_of(self, search: Search) -> Plan[Filter | None]:
        """Check the filter; return it in the form that the server gets."""
        if search.filter is None:
            return None
        try:
            check_filter(search.filter, self.settings.fields)
        except FilterError:
            # Another writer may have declared the field since this index was opened.
            mapping = yield from mapping_plan(self._address)
            self.settings = settings_of(mapping, str(self._address))
            _check_again(search.filter, self.settings, other_fields(mapping))
        filter = in_its_type(search.filter, self.settings.fields)
        check_size(filter)
        return filter

    def _words(self, texts: Sequence[str], filter: Filter | None) -> list[Words]:
        """Return the BM25 query of each text: the words that count."""
        known = analyzer(self.settings.analyzer)
        most = MOST_WORDS if filter is None else min(MOST_WORDS, room_for_words(filter))
        return [_words_of(text, known, most) if text.strip() else "" for text in texts]

    def _dense_queries(self, search: Search) -> list[DenseQuery | None]:
        """Return the k-NN query of each text, None for a zero vector.

        :raises UsageError: if vectors are missing and this was not opened to encode in the cluster, or are invalid.
        """
        if search.vectors is not None:
            rows = search.vectors_of(self.settings.dimension)
            return [row.tolist() if row.any() else None for row in rows]
        if not self.query_model:
            raise UsageError(f"{self._address}: was not opened to encode queries in the cluster; give vectors")
        if search.exact:
            raise UsageError(f"{self._address}: a text can't be compared with every vector; encode it and give that")
        return [EncodedThere(text, self.query_model) if text.strip() else None for text in search.texts]


def _words_of(text: str, analyzer: Analyzer, most: int) -> Words:
    counted = asked(text, analyzer, most)
    return counted.words if counted.has_subject else Verbatim(counted.words, analyzer.name)


def _at_least(page: Page, least: float | None) -> Page:
    """Return a page without the hits that score less."""
    return page if least is None else Page([pair for pair in page.pairs if pair[1] >= least], page.legs)


def _chosen(page: Page, search: Search) -> list[list[int]]:
    """Return the positions of the hits to fetch: of each document its passages, else each alone."""
    if not search.group:
        return [[position] for position in range(len(page.pairs))]
    return grouped([id for id, _, _ in page.pairs], search.group)[search.offset : search.end]


def _pairs(page: Page, search: Search) -> Pairs:
    """Return (id, score, version) of the hits; of documents with the score of the best passage."""
    if not search.group:
        return page.pairs
    firsts = [page.pairs[group[0]] for group in _chosen(page, search)]
    return [(document_of(id), score, version) for id, score, version in firsts]


def _is_whole(found: Sequence[Sequence[Hit]], chosen: Sequence[Sequence[int]]) -> bool:
    return all(len(hits) == len(group) for hits, group in zip(found, chosen, strict=True))


def _hits(page: Page, chosen: Sequence[Sequence[int]], stored: Mapping[str, Stored], search: Search) -> list[list[Hit]]:
    """Combine a page's chosen hits with their texts; what was replaced or deleted after ranking is left out."""
    return [[hit for at in group if (hit := _hit(page, at, stored, search)) is not None] for group in chosen]


def _hit(page: Page, position: int, stored: Mapping[str, Stored], search: Search) -> Hit | None:
    id, score, version = page.pairs[position]
    rank, found = search.offset + 1 + position, stored.get(id)
    if found is None or not found.is_of(version):
        return None
    legs: Mapping[str, Leg] = {}
    if page.legs is not None:
        legs = LegsOfHit(page.legs, id)
    elif search.mode != "hybrid":
        legs = explain_one_leg(search.mode, score, rank)
    document = found.document
    return Hit(id, rank, score, document.text, document.title, document.metadata, legs)


def _check_again(filter: Filter, settings: IndexSettings, others: Mapping[str, str]) -> None:
    try:
        check_filter(filter, settings.fields)
    except FilterError as error:
        if not others:
            raise
        declared = ", ".join(f"{name} ({kind})" for name, kind in sorted(others.items()))
        raise FilterError(
            f"{error}; filters can't use fields that were declared by somebody else: {declared}"
        ) from None
