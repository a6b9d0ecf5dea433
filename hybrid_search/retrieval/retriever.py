"""The retriever: combines an encoder and an engine that fit, and answers queries with them.

Texts without content have a defined result in every mode:

==============================  ===============  ======  ========
query                           hybrid           bm25    knn
==============================  ===============  ======  ========
empty or white space only       no hits          no hits no hits
no word the towers know         BM25 alone       BM25    no hits
no word the index knows         k-NN alone       no hits k-NN
==============================  ===============  ======  ========

"BM25 alone" means weights (1, 0), which the hits' ``legs`` show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self, TypeVar, Unpack

from hybrid_search.engines.documents import ids_of
from hybrid_search.errors import ModelNotFound, SearchIndexError, UsageError, shown
from hybrid_search.filters import Filter
from hybrid_search.indexing import fetched, with_passages
from hybrid_search.protocols import Encoder, Engine, Reranker, Vectors
from hybrid_search.retrieval.adding import AddReport, added
from hybrid_search.retrieval.open_index import IndexSource, OpenIndex, encoded
from hybrid_search.search import (
    MODES,
    MatchArguments,
    Mode,
    Search,
    SearchArguments,
    facets_of,
    only,
)
from hybrid_search.second_stage import SecondStage, check_depth
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.tracing import retrieval
from hybrid_search.types import Document, Hit, Matches, Ranking

__all__ = ["Retriever", "modes_of"]


Answer = TypeVar("Answer")


class Retriever:
    """Searches and fills one index with the towers that made its vectors.

    :param encoder: the towers; None for BM25 only, or if the engine encodes queries itself.
    :param engine: the open index; closed by :meth:`close`.
    :param fusion: the default fusion of searches; the index's own unless given.
    :ivar source: lends the index to each call; see :class:`~hybrid_search.retrieval.alias_retriever.AliasFollower`.
    :raises ModelMismatch: if the towers are not those of the index.
    """

    def __init__(self, encoder: Encoder | None, engine: Engine, fusion: Fusion | None = None) -> None:
        self.source = IndexSource(OpenIndex(encoder, engine, fusion))
        self._again: tuple[Reranker | None, int | None] = (None, None)  # replaced as a whole

    @classmethod
    def through(cls, source: IndexSource) -> Self:
        """Create a retriever that uses the indexes lent by a source."""
        made = cls.__new__(cls)
        made.source = source
        made._again = (None, None)
        return made

    def reranking(self, rerank: Reranker | None, depth: int | None = None) -> Self:
        """Set how searches are reranked that do not say it themselves; return this retriever.

        :param rerank: scores the first hits of each query anew; None for no reranking.
        :param depth: how many hits are ranked again, for ``diversity`` too; None for 50, or as many as a search asks
            for if that is more.
        :raises UsageError: if one is invalid.
        """
        if rerank is not None and not callable(rerank):
            raise UsageError(f"rerank is {shown(rerank)}; give a callable of a query and its hits")
        check_depth(depth)
        self._again = rerank, depth
        return self

    @property
    def rerank(self) -> Reranker | None:
        """What reranks all searches that do not say ``rerank=False``; see :meth:`reranking`."""
        return self._again[0]

    def completed(self, given: SearchArguments) -> SearchArguments:
        """Return a search's arguments with the reranker that searches have by default."""
        (own, own_depth), rerank, depth = self._again, given.get("rerank"), given.get("rerank_depth")
        if (rerank is None or rerank is True) and own is not None:
            rerank = own
        if (rerank is None or rerank is False) and given.get("diversity") is None:
            return given
        return {**given, "rerank": rerank, "rerank_depth": own_depth if depth is None else depth}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def encoder(self) -> Encoder | None:
        """The towers of the current index."""
        return self.source.current.encoder

    @property
    def engine(self) -> Engine:
        """The current index."""
        return self.source.current.engine

    @property
    def fusion(self) -> Fusion:
        """The default fusion of searches."""
        return self.source.current.fusion

    @property
    def searches_vectors(self) -> bool:
        """Whether the modes ``knn`` and ``hybrid`` are available, by a query tower here or in the engine."""
        return self.source.current.searches_vectors

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        mode: Mode | None = None,
        **given: Unpack[SearchArguments],
    ) -> list[Hit]:
        """Answer one query; as :meth:`search_many`."""
        return self.search_many([query], k, mode=mode, **given)[0]

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 5,
        *,
        mode: Mode | None = None,
        **given: Unpack[SearchArguments],
    ) -> list[list[Hit]]:
        """Answer queries in one batch.

        :param k: hits per query, 1 to 10,000 together with ``offset``.
        :param mode: ``hybrid``, ``bm25`` or ``knn``; left out, ``hybrid``, or ``bm25`` if the index holds no vectors.
        :param filter: find only documents that pass; a string is parsed by :mod:`hybrid_search.filters.parser`.
        :param offset: skip this many hits. A hybrid search pages inside the fusion's window: it has at most
            ``2 * window`` hits in all.
        :param fusion: for these queries, instead of the default.
        :param group: of an index of passages: a hit for each document, with at most so many of its passages; 0 for a
            hit for each passage. By default documents with up to 3 passages.
        :param highlight: put :class:`~hybrid_search.types.Highlights` into each hit: where it matched, and a snippet.
        :param min_score: leave out hits that score less, on the mode's scale: the fusion's, BM25's or k-NN's.
        :param min_bm25: in mode ``hybrid``, what scores less in the BM25 leg counts as not found by that leg; it may
            still be found by the other.
        :param min_knn: the same of the k-NN leg, on OpenSearch's scale: for ``cosine`` half of 1 + the cosine.
        :param rerank: scores the first hits anew: any callable of a query and its hits that returns a number for each,
            such as :class:`~hybrid_search.retrieval.reranking.CrossEncoderReranker`. Hits are then those
            ``rerank_depth`` first ones and no others, by the new score; a filter and least scores hold before. True or
            None for the reranker that the index was opened with, False for none.
        :param rerank_depth: how many hits; 50, or ``k`` if that is more. Pages must lie within it.
        :param diversity: choose hits that differ from those before them, among as many first ones: 0 for relevance
            alone, 1 for difference alone (maximal marginal relevance, whose lambda is 1 - diversity). By the stored
            vectors, and after the reranker, if there is one.
        :return: per query, in the given order, the hits of ranks ``offset + 1`` to ``offset + k``; fewer or none
            if there are no more.
        :raises UsageError: if k or the mode is invalid, the offset is beyond the last possible rank, or the mode needs
            towers and there are none.
        :raises FilterError: if the filter is invalid, or names a field that the index does not have.
        :raises RerankingFailed: if the reranker raises an error, or does not give one finite number for each hit.
        """
        search = Search.of(queries, k, mode, **self.completed(only(SearchArguments, given)))
        with retrieval(search.texts, k, mode or self.source.current.default_mode):
            return self._read(lambda index: index.finished(search, index.engine.search(index.ready(search))))

    def matches(
        self,
        query: str,
        k: int = 5,
        *,
        facets: Sequence[str] = (),
        facet_size: int = 10,
        mode: Mode | None = None,
        **given: Unpack[MatchArguments],
    ) -> Matches:
        """Count the documents that match a query, and those with each value of some metadata fields.

        What matches: by BM25 every document with a word of the query that counts; by k-NN, for which every vector is
        more or less near, the ``window`` nearest ones (of the index's fusion, or as many hits as are asked for if that
        is more). A hybrid search matches what either of its legs does: BM25's matches and the window of k-NN; with
        ``min_score`` only what is in a window has a score, so those that reach it.

        :param facets: metadata fields.
        :param facet_size: most values of a field in the result, 1 to 1,000: the most frequent ones.
        :raises FilterError: if a field or the filter is not the index's; otherwise as :meth:`search_many`, whose
            arguments the others are.
        """
        names = facets_of(facets, facet_size)
        search = Search.of([query], k, mode, **only(MatchArguments, given))
        return self.counted(search, names, facet_size)

    def counted(self, search: Search, facets: Sequence[str], facet_size: int) -> Matches:
        """Count what matches a checked search of one query."""
        return self._read(lambda index: index.engine.matches(index.ready(search), facets, facet_size)[0])

    def rankings(
        self,
        queries: Sequence[str],
        k: int,
        *,
        mode: Mode | None = None,
        filter: Filter | str | None = None,
        bm25: Bm25 | None = None,
        fusion: Fusion | None = None,
        second: SecondStage | None = None,
    ) -> list[Ranking]:
        """Rank without fetching texts, for evaluation and mining.

        :param bm25: k1 and b instead of the index's; only in mode ``bm25``.
        :param fusion: in mode ``hybrid``, instead of the default.
        :param second: how the first hits are ranked again, whose texts are fetched then; the reranker that the index
            was opened with is not used here.
        :return: a ranking of at most ``k`` documents per query, in the order of :meth:`search_many`.
        :raises UsageError: as :meth:`search_many`, and if ``bm25`` is given with another mode.
        """
        search = replace(Search.of(queries, k, mode, filter=filter, bm25=bm25, fusion=fusion), second=second)
        with retrieval(search.texts, k, mode or self.source.current.default_mode):
            if second is None:
                return self._read(lambda index: index.engine.rank(index.ready(search)))
            found = self._read(lambda index: index.finished(search, index.engine.search(index.ready(search))))
        return [Ranking(tuple(hit.id for hit in hits), tuple(hit.score for hit in hits)) for hits in found]

    def add(self, documents: Iterable[Document], *, batch_size: int = 1_024, allow_rejected: bool = False) -> AddReport:
        """Encode and add (or replace) documents, in batches, then commit.

        Only one batch is in memory, so a stream of any length can be given. If the stream raises, the documents
        before are not committed.

        :param allow_rejected: return documents that the index rejects in the report, instead of raising.
        :raises RecordsRejected: if documents were rejected; its ``rejected`` has them, and all others are committed.
        :raises ModelMismatch: if the index has vectors and the retriever has no towers.
        :raises UsageError: if ``batch_size`` is not from 1 to 1,000,000.
        """
        with self._lent() as index:
            return added(index.encoder, index.engine, documents, batch_size, allow_rejected=allow_rejected)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents and commit; unknown ids are ignored. Return how many documents existed.

        In an index of passages the id of a document stands for all its passages, each of which counts.

        :raises UsageError: if ``ids`` is not a sequence of valid ids (a single text would be taken as its letters).
        """
        with self._lent() as index:
            meant = with_passages(index.engine, ids_of(ids))
            deleted = index.engine.delete([one for of_id in meant.values() for one in of_id])
            index.engine.commit()
            return deleted

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id, None for unknown ids.

        In an index of passages these have ids of their own; a document's id gives it put together of its passages.

        :raises UsageError: as :meth:`delete`.
        """
        return self._read(lambda index: fetched(index.engine, ids_of(ids)))

    def count(self) -> int:
        """Count the committed documents; in an index of passages these."""
        return self._read(lambda index: index.engine.count())

    def documents(self) -> Iterator[Document]:
        """Iterate over the committed documents, in the order in which they were first added."""
        with self._lent() as index:
            yield from index.engine.documents()

    def neighbours(self, id: str, k: int = 5) -> list[Hit] | None:
        """Find the documents whose vectors are nearest to a document's, without itself; ranks count from 1.

        :return: at most ``k``, nearest first; None if there is no such document.
        :raises UsageError: if the id or k is invalid, or the retriever has no towers.
        """
        return self._read(lambda index: index.neighbours(id, k))

    def stats(self) -> dict[str, Any]:
        """Sizes and counts of the index, for display."""
        return self._read(lambda index: dict(index.engine.stats()))

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode queries with the query tower: (n, dimension) float32; a text without a known word has a zero row.

        :raises UsageError: if the retriever has no towers.
        """
        with self._lent() as index:
            return encoded(index.towers(), "query", texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode documents (title, then text) with the document tower; otherwise as :meth:`encode_queries`."""
        with self._lent() as index:
            return encoded(index.towers(), "document", texts)

    def refresh(self) -> bool:
        """Check now whether the alias that the index was opened by has moved; return whether it had.

        The retriever then uses the new index. False for an index that was opened by its own name.

        :raises HybridSearchError: if the server can't be reached, or the new index can't be opened; the old one stays.
        :raises UsageError: if the retriever is closed.
        """
        return self.source.refresh()

    def close(self) -> None:
        """Close the index; uncommitted changes are discarded."""
        self.source.close()

    @contextmanager
    def _lent(self) -> Iterator[OpenIndex]:
        self.source.look()
        lease = self.source.lend()
        try:
            yield lease.index
        finally:
            if self.source.take_back(lease):
                lease.index.engine.close()

    def _read(self, ask: Callable[[OpenIndex], Answer]) -> Answer:
        """Make a call; repeat it if it fails because the index was replaced and dropped."""
        with self._lent() as first:
            try:
                return ask(first)
            except SearchIndexError:  # an index fails in many ways while it is being deleted
                if not self.source.has_left(first):
                    raise
        with self._lent() as now:
            return ask(now)


def modes_of(retriever: Retriever) -> tuple[Mode, ...]:
    """Return the modes that an index supports: all of them, or only ``bm25`` for one without vectors.

    :raises ModelNotFound: if it has vectors but not the towers that made them; the remaining mode, BM25 alone, would be
        another search than the index's own.
    """
    if retriever.searches_vectors:
        return MODES
    settings = retriever.engine.settings
    if settings.dimension:
        raise ModelNotFound(
            f"the index holds vectors of model {settings.fingerprint[:12]}, and not the towers that made them, so only "
            f"BM25 could answer; give the towers with model=PATH, put them back by loading with model=PATH, or ask for "
            f"BM25 by name (mode=bm25, systems=bm25)"
        )
    return ("bm25",)
