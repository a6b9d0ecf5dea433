"""Reading an index: arguments checked, searches planned, hits put together. Pure; both engines carry its plans out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hybrid_search.analysis import MOST_WORDS, analyzer, counted_words
from hybrid_search.engines.documents import checked_vectors
from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.index.fitness import other_fields
from hybrid_search.engines.opensearch.index.template import mapping_plan, settings_of
from hybrid_search.engines.opensearch.search import bodies as requests
from hybrid_search.engines.opensearch.search import fusion_pipelines as pipelines
from hybrid_search.engines.opensearch.search import timing
from hybrid_search.engines.opensearch.search.answers import refuse_partial
from hybrid_search.engines.opensearch.search.bodies import DenseQuery, EncodedThere, Words
from hybrid_search.engines.opensearch.search.filter_queries import check_size, room_for_words
from hybrid_search.engines.opensearch.search.searcher import LARGEST_PAGE, Page, Searches
from hybrid_search.engines.opensearch.transport.plan import Plan
from hybrid_search.errors import FilterError, UnsupportedCapability, UsageError
from hybrid_search.filters import Filter, check_filter
from hybrid_search.filters.numbers import in_its_type
from hybrid_search.fusion import Fused
from hybrid_search.location import Address
from hybrid_search.protocols import DenseQueries
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.settings.server import SearchOptions
from hybrid_search.types import Document, Hit, Leg, Ranking

__all__ = ["Reading"]

_EMPTY = Ranking((), ())

_TRIES = 5
"""How often a search is made while documents are replaced between it and the reading of their texts."""


class Reading:
    """The searches of one index, as plans.

    :param query_model: the query tower in the cluster, for queries that are texts; empty for none.
    :ivar settings: those that the index carries, with the fields declared so far.
    """

    def __init__(
        self,
        address: Address,
        settings: IndexSettings,
        server: ServerCapabilities,
        options: SearchOptions,
        *,
        query_model: str = "",
    ) -> None:
        self.settings = settings
        self.query_model = query_model
        self._address = address
        self._server = server
        self._options = options
        self._searches = Searches(
            address.index, options.partial or refuse_partial, timing.note if options.log_queries else None
        )
        self._ready = set[Fusion]()

    def search_lexical(
        self, texts: Sequence[str], k: int, filter: Filter | None = None, *, bm25: Bm25 | None = None
    ) -> Plan[list[Ranking]]:
        """Rank by BM25; a text without known terms finds nothing.

        :raises UsageError: if k is below 1, or more than a server returns.
        :raises FilterError: if the filter does not fit the index's fields.
        :raises UnsupportedCapability: if ``bm25`` is not what the index was made with.
        """
        filter = yield from self._checked(k, filter)
        if bm25 is not None and bm25 != self.settings.bm25:
            raise UnsupportedCapability(
                f"{self._address} was made with {self.settings.bm25}; OpenSearch can't search it with {bm25}: "
                f"load the data with these, or use an index in a folder"
            )
        return (yield from self._searches.lexical(self.asked(texts, filter), k, filter))

    def search_dense(
        self, vectors: DenseQueries, k: int, filter: Filter | None = None, *, exact: bool = False
    ) -> Plan[list[Ranking]]:
        """Rank by vector similarity, scores in OpenSearch's scale; a zero vector finds nothing.

        :param vectors: (n, dimension) finite floats, or texts that the server encodes.
        :param exact: compare with every vector, instead of walking the graph, which may miss a neighbour.
        :raises UsageError: if k is below 1, or more than a server returns, or a vector is not finite, or a text is to
            be compared exactly.
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        """
        filter = yield from self._checked(k, filter)
        queries = self.dense_queries(vectors, len(vectors))
        given = [query for query in queries if query is not None]
        if exact:
            numbers = [query for query in given if not isinstance(query, EncodedThere)]
            if len(numbers) < len(given):
                raise UsageError(
                    f"{self._address}: a text can't be compared with every vector; encode it and give that"
                )
            rankings = yield from self._searches.exact_dense(numbers, k, filter, self.settings.similarity)
        else:
            rankings = yield from self._searches.dense(given, k, filter)
        found = iter(rankings)
        return [_EMPTY if query is None else next(found) for query in queries]

    def search_hybrid(
        self,
        texts: Sequence[str],
        vectors: DenseQueries,
        k: int,
        *,
        fusion: Fusion | None = None,
        filter: Filter | None = None,
        offset: int = 0,
        bare: bool = False,
    ) -> Plan[list[list[Hit]]]:
        """Fuse both legs over the fusion's window; return the hits ``offset + 1`` to ``offset + k``, with texts.

        A page past the last hit is empty. A query with a zero vector is answered by BM25 alone, a text without known
        terms by k-NN alone, each through the same arithmetic.

        :param vectors: one for each text, or the texts once more for the server to encode.
        :param bare: ids and scores only, neither texts nor legs.
        :raises UsageError: if k is below 1, or the offset lies outside what two windows can hold.
        :raises ConfigError: if the pipeline to use is not there, or computes something else.
        :raises UnsupportedCapability: if the server can't fuse like this.
        """
        filter = yield from self._checked(k, filter)
        fusion = fusion or self.settings.fusion
        page = Page.inside(fusion, offset, k)
        queries = list(zip(self.asked(texts, filter), self.dense_queries(vectors, len(texts)), strict=True))
        if any(dense is not None for _, dense in queries):
            yield from self.ready_to_fuse(fusion)
        asking = self.asking(fusion, filter)
        explained = self._options.explain and not bare
        for _ in range(_TRIES):
            pages = yield from self._searches.hybrid(queries, page, asking, explained=explained)
            if bare:
                return [
                    [Hit(one.id, rank, one.score) for rank, one in enumerate(of_query.fused, offset + 1)]
                    for of_query in pages
                ]
            versions = [version for of_query in pages for version in of_query.versions]
            ids = [one.id for of_query in pages for one in of_query.fused]
            documents = yield from self._searches.documents(ids, versions)
            if None not in documents:  # else one was replaced or deleted since it was ranked
                break
        rest = iter(documents)
        return [_with_documents(of_query.fused, rest, offset + 1) for of_query in pages]

    def hits(self, ranking: Ranking, *, first_rank: int = 1, leg: str | None = None) -> Plan[list[Hit]]:
        """Fetch the documents of (a page of) a ranking; those deleted or replaced meanwhile are left out.

        :param leg: ``bm25`` or ``knn`` gives each hit that leg's explanation.
        """
        found = []
        for rank, (id, score) in enumerate(zip(ranking.ids, ranking.scores, strict=True), start=first_rank):
            legs = {leg: Leg(score, rank, normalised=score, weight=1.0, share=1.0)} if leg else {}
            found.append(Fused(id, score, legs))
        documents = yield from self._searches.documents(ranking.ids, ranking.versions)
        return _with_documents(found, documents, first_rank)

    def documents(self, ids: Sequence[str]) -> Plan[list[Document | None]]:
        """Fetch committed documents by id, None where there is none."""
        return self._searches.documents(ids)

    def asked(self, texts: Sequence[str], filter: Filter | None) -> list[Words]:
        """Return what BM25 is asked for each query: the text, or the words of a long one that count."""
        known, most = analyzer(self.settings.analyzer), min(MOST_WORDS, room_for_words(filter))
        return [counted_words(text, known, most) or text for text in texts]

    def asking(self, fusion: Fusion, filter: Filter | None) -> requests.Hybrid:
        """Return how hybrid queries are put to this server."""
        return requests.Hybrid(fusion, filter, self._server.filter_in_hybrid, self._options.pipeline)

    def ready_to_fuse(self, fusion: Fusion) -> Plan[None]:
        """Check once that the server computes this fusion where it is not told with each search."""
        if fusion in self._ready:
            return
        self._server.check_fusion(fusion)
        yield from pipelines.check(self._address, self._options.pipeline, fusion, self._server)
        self._ready.add(fusion)

    def _checked(self, k: int, filter: Filter | None) -> Plan[Filter | None]:
        """Check what is asked; returns the filter as the server is to be asked."""
        if k < 1:
            raise UsageError(f"k is {k}; it must be at least 1")
        if k > LARGEST_PAGE:
            raise UsageError(f"k is {k}; OpenSearch returns at most {LARGEST_PAGE} hits for a search")
        if filter is None:
            return None
        try:
            check_filter(filter, self.settings.fields)
        except FilterError:
            # Another writer may have declared the field since.
            mapping = yield from mapping_plan(self._address)
            self.settings = settings_of(mapping, str(self._address))
            _check_again(filter, self.settings, other_fields(mapping))
        filter = in_its_type(filter, self.settings.fields)
        check_size(filter)
        return filter

    def dense_queries(self, vectors: DenseQueries, count: int) -> list[DenseQuery | None]:
        """Return what the k-NN leg is asked for each query, None for a zero vector.

        :raises UsageError: if these are texts and the index was not opened for them, or numbers that are not finite.
        """
        if texts := [] if isinstance(vectors, np.ndarray) else [one for one in vectors if isinstance(one, str)]:
            if not self.query_model:
                raise UsageError(f"{self._address}: was not opened to encode queries in the cluster; give vectors")
            return [EncodedThere(text, self.query_model) for text in texts]
        checked = checked_vectors(np.asarray(vectors), count, self.settings.dimension)
        if not np.isfinite(checked).all():
            raise UsageError("a query vector has a number that is not finite; encode the query again")
        return [vector.tolist() if vector.any() else None for vector in checked]


def _check_again(filter: Filter, settings: IndexSettings, others: Mapping[str, str]) -> None:
    try:
        check_filter(filter, settings.fields)
    except FilterError as error:
        if not others:
            raise
        told = ", ".join(f"{name} ({kind})" for name, kind in sorted(others.items()))
        raise FilterError(f"{error}; filters can't use fields that were declared by somebody else: {told}") from None


def _with_documents(page: Sequence[Fused], documents: Iterable[Document | None], first_rank: int) -> list[Hit]:
    return [
        Hit(one.id, rank, one.score, document.text, document.title, document.metadata, one.legs)
        for rank, (one, document) in enumerate(zip(page, documents, strict=False), start=first_rank)
        if document is not None
    ]
