"""An open index with the towers that fit it, and how it is lent to the calls of a retriever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid_search.analysis import analyzer
from hybrid_search.engines.documents import ids_of
from hybrid_search.errors import ModelMismatch, UsageError
from hybrid_search.highlights import marked
from hybrid_search.indexing import fetched
from hybrid_search.passages import DEFAULT_SHOWN, OF, document_of
from hybrid_search.protocols import Encoder, Engine, Vectors
from hybrid_search.search import MAX_K, Mode, Search, texts_of
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.tracing import embeddings, reranking, retrieval
from hybrid_search.types import Hit

__all__ = ["IndexSource", "Lease", "OpenIndex", "encoded"]


class OpenIndex:
    """An open index and the towers that made its vectors; a call uses the same one from start to end.

    :ivar encoder: the towers; None for BM25 only, or if the engine encodes queries itself.
    :param fusion: the default fusion of searches; None for the index's own, as it is when a search begins.
    :raises ModelMismatch: if the towers are not those of the index.
    """

    def __init__(self, encoder: Encoder | None, engine: Engine, fusion: Fusion | None = None) -> None:
        if encoder is not None:
            _check_model(encoder, engine.settings)
        self.encoder = encoder
        self.engine = engine
        self._fusion = fusion

    @property
    def fusion(self) -> Fusion:
        """The default fusion of searches."""
        return self._fusion or self.engine.settings.fusion

    @property
    def searches_vectors(self) -> bool:
        """Whether the modes ``knn`` and ``hybrid`` are available, by a query tower here or in the engine."""
        return self.encoder is not None or self.engine.capabilities.encodes_queries

    @property
    def default_mode(self) -> Mode:
        """The mode of a search that names none."""
        return "hybrid" if self.searches_vectors or self.engine.settings.dimension else "bm25"

    def ready(self, search: Search) -> Search:
        """Return a search's first stage with the fusion that was given for this index and the vectors of the texts.

        Without a given one the engine fuses by the index's own, which another process may have fitted again.

        :raises UsageError: if the mode needs towers and there are none, or the offset is beyond the fusion's window.
        """
        if search.unnamed and self.default_mode == "bm25":
            search = search.by_words()
        search = search.first_stage()
        search = self.grouped(search.with_fusion(self._fusion) if self._fusion else search)
        if search.mode == "bm25" or (self.encoder is None and self.searches_vectors):
            return search
        return search.with_vectors(self._vectors(search.texts))

    def finished(self, search: Search, hits: list[list[Hit]]) -> list[list[Hit]]:
        """Return the page of the engine's hits, ranked again and with highlights if the search wants these.

        :raises RerankingFailed: as :func:`hybrid_search.retrieval.reranking.ranked_again`.
        """
        if search.second is not None:
            from hybrid_search.retrieval.reranking import ranked_again

            with reranking(search.second, hits):
                hits = ranked_again(search, hits, self.engine)
        return marked(search.texts, hits, analyzer(self.engine.settings.analyzer)) if search.highlight else hits

    def grouped(self, search: Search) -> Search:
        """Return a search that says whether hits are documents or passages.

        :raises UsageError: if passages are to be grouped, and there are none.
        """
        of_passages = OF in self.engine.settings.fields
        if search.group is None:
            return replace(search, group=DEFAULT_SHOWN if of_passages else 0)
        if search.group and not of_passages:
            raise UsageError("the index holds whole documents, no passages, so they can't be grouped; leave group out")
        return search

    def neighbours(self, id: str, k: int) -> list[Hit] | None:
        """Find the documents nearest to one; see :meth:`~hybrid_search.retrieval.retriever.Retriever.neighbours`."""
        [document] = fetched(self.engine, ids_of([id]))
        if document is None:
            return None
        with retrieval((), k, "knn"):
            search = self.grouped(Search.near(encoded(self.towers(), "document", [document.searchable_text]), k))
            [hits] = self.engine.search(replace(search, k=min(k + 1, MAX_K)))
        itself = document_of(id) if search.group else id  # a passage is found as its document
        others = [hit for hit in hits if hit.id != itself][:k]
        return [replace(hit, rank=rank) for rank, hit in enumerate(others, 1)]

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        encoder = self.towers()
        nonblank = [position for position, text in enumerate(texts) if text.strip()]
        with embeddings(encoder, len(nonblank)):
            if len(nonblank) == len(texts):
                return encoder.encode_queries(texts)
            # Towers may find tokens in white space; a blank query finds nothing all the same.
            vectors = np.zeros((len(texts), encoder.dimension), np.float32)
            if nonblank:
                vectors[nonblank] = encoder.encode_queries([texts[position] for position in nonblank])
            return vectors

    def towers(self) -> Encoder:
        """Return the towers.

        :raises UsageError: if there are none.
        """
        if self.encoder is None:
            if self.engine.settings.dimension:
                raise UsageError(
                    "the index was opened without its towers, or they are not stored with it (any more); give the "
                    "model that made its vectors, or search with mode 'bm25'"
                )
            raise UsageError(
                "the index holds no vectors; search with mode 'bm25', or make an index with them: load the documents "
                "anew with a model, or reindex this one with it"
            )
        return self.encoder


@dataclass(slots=True, eq=False)
class Lease:
    """An index on loan, and the number of calls that use it; a replaced index is closed after the last of them."""

    index: OpenIndex
    users: int = 0
    left: bool = False


class IndexSource:
    """Lends an index to each call; here always the same one. Thread-safe.

    See :class:`~hybrid_search.retrieval.alias_retriever.AliasFollower` for one that changes the index.
    """

    def __init__(self, index: OpenIndex) -> None:
        self._lease = Lease(index)
        self._closed = False

    @property
    def current(self) -> OpenIndex:
        """The index that the next call would get."""
        return self._lease.index

    @property
    def is_due(self) -> bool:
        """Whether :meth:`look` would check anything."""
        return False

    def look(self) -> None:
        """Check, if it is time to, whether the index has been replaced; may wait for a server."""

    def lend(self) -> Lease:
        """Lend the index, without waiting.

        :raises UsageError: if this is closed.
        """
        self._check_open()
        return self._lease

    def take_back(self, lease: Lease) -> bool:
        """End a loan; return whether the caller must close the index, as it was replaced and has no other user."""
        return False

    def has_left(self, index: OpenIndex) -> bool:
        """Check, after a call has failed, whether the index has been replaced; may wait for a server."""
        return False

    def refresh(self) -> bool:
        """Check now; return whether the index has been replaced."""
        return False

    def close(self) -> None:
        """Close the index."""
        self._closed = True
        self._lease.index.engine.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the index is closed; open it again")


def encoded(encoder: Encoder, tower: str, texts: Sequence[str]) -> Vectors:
    """Encode texts with the tower of queries (``query``) or that of documents."""
    checked = texts_of(texts, "texts")
    with embeddings(encoder, len(checked)):
        return encoder.encode_queries(checked) if tower == "query" else encoder.encode_documents(checked)


def _check_model(encoder: Encoder, settings: IndexSettings) -> None:
    if not settings.dimension:
        raise ModelMismatch(
            f"the index holds no vectors, so model {encoder.fingerprint} can't search it; search it without a model "
            "(mode bm25), or load the documents into a new index with the model"
        )
    of_model = (encoder.fingerprint, encoder.dimension, encoder.similarity)
    of_index = (settings.fingerprint, settings.dimension, settings.similarity)
    if of_model != of_index:
        raise ModelMismatch(
            "the index was built with model {} ({} dimensions, {} similarity) and ".format(*of_index)
            + "the model given is {} ({} dimensions, {} similarity); ".format(*of_model)
            + "open the index with the model it was built with, or load the documents into a new index with this one"
        )
