"""The retriever: one encoder and one engine made to fit, and the query layer over them.

Texts without content have a defined answer in every mode:

==============================  ===============  ======  ========
query                           hybrid           bm25    knn
==============================  ===============  ======  ========
empty or white space only       no hits          no hits no hits
no word the towers know         BM25 alone       BM25    no hits
no word the index knows         k-NN alone       no hits k-NN
==============================  ===============  ======  ========

"BM25 alone" means weights (1, 0), which the hits' ``legs`` say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

from hybrid_search.arguments import MAX_K, asked_texts, check_page, ids_of, parsed, texts_of
from hybrid_search.asking import hits_of_hybrid, hits_of_leg, rankings_of_leg
from hybrid_search.errors import ModelMismatch, UsageError, shown
from hybrid_search.filters import Filter
from hybrid_search.indexing import index_corpus
from hybrid_search.observing import Asked, Observer, observed
from hybrid_search.protocols import Encoder, Engine, Vectors
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.steps import Steps, carried_out
from hybrid_search.types import Document, Hit, Ranking, Rejection

__all__ = ["MAX_K", "MODES", "AddReport", "Mode", "Retriever"]

Mode = Literal["hybrid", "bm25", "knn"]

MODES: tuple[Mode, ...] = get_args(Mode)
"""How a query can be answered: both legs fused, or one leg alone."""

_LARGEST_BATCH = 1_000_000


@dataclass(frozen=True, slots=True)
class AddReport:
    """What became of added documents.

    :ivar added: how many were taken and committed, replacements of earlier documents included.
    :ivar rejected: the others, each with its reason.
    """

    added: int
    rejected: tuple[Rejection, ...]


class Retriever:
    """Searches and fills one index with the towers that made its vectors.

    :param encoder: the towers; None for BM25 only, or where the engine encodes queries itself.
    :param engine: the open index. :meth:`close` closes it.
    :param fusion: how the legs are joined where a search names nothing else; the index's own by default.
    :param observer: is told of every search, and closed with the retriever.
    :raises ModelMismatch: if the towers are not those of the index.
    """

    observer: Observer | None = None

    def __init__(
        self,
        encoder: Encoder | None,
        engine: Engine,
        fusion: Fusion | None = None,
        *,
        observer: Observer | None = None,
    ) -> None:
        if encoder is not None:
            _check_model(encoder, engine.settings)
        self.encoder = encoder
        self.engine = engine
        self.fusion = fusion or engine.settings.fusion
        self.observer = observer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def searches_vectors(self) -> bool:
        """Whether there is a query tower, here or in the engine, for the modes ``knn`` and ``hybrid``."""
        return self.encoder is not None or self.engine.capabilities.encodes_queries

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        mode: Mode = "hybrid",
        filter: Filter | str | None = None,
        offset: int = 0,
        fusion: Fusion | None = None,
    ) -> list[Hit]:
        """Answer one query; as :meth:`search_many`."""
        return self.search_many([query], k, mode=mode, filter=filter, offset=offset, fusion=fusion)[0]

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 5,
        *,
        mode: Mode = "hybrid",
        filter: Filter | str | None = None,
        offset: int = 0,
        fusion: Fusion | None = None,
    ) -> list[list[Hit]]:
        """Answer queries in one batch.

        :param k: hits per query, 1 to 10,000 together with ``offset``.
        :param filter: only documents that fit; a string is parsed by :mod:`hybrid_search.filters.parser`.
        :param offset: skip this many hits. A hybrid search pages inside the fusion's window: it has at most
            ``2 * window`` hits in all.
        :param fusion: for these queries instead of the retriever's.
        :return: per query, in the order given, the hits of ranks ``offset + 1`` to ``offset + k``; fewer or none
            where there are no more.
        :raises UsageError: if k or the mode is none of these, the offset lies behind the last rank that there can
            be, or the retriever has no towers for the mode.
        :raises FilterError: if the filter can't be parsed or names a field that the index does not have.
        """
        steps = self.search_steps(queries, k, mode=mode, filter=filter, offset=offset, fusion=fusion)
        return carried_out(steps, self.encode_queries, self.engine)

    def search_steps(
        self,
        queries: Sequence[str],
        k: int = 5,
        *,
        mode: Mode = "hybrid",
        filter: Filter | str | None = None,
        offset: int = 0,
        fusion: Fusion | None = None,
    ) -> Steps[list[list[Hit]]]:
        """What :meth:`search_many` does, for somebody else to carry out; its errors are raised by the first step."""
        steps = self._search_steps(queries, k, mode=mode, filter=filter, offset=offset, fusion=fusion)
        if self.observer is None:
            return steps
        joined = (fusion or self.fusion) if mode == "hybrid" else None
        return observed(steps, Asked(queries, k, offset, mode, filter is not None, joined), self.observer)

    def _search_steps(
        self,
        queries: Sequence[str],
        k: int,
        *,
        mode: Mode,
        filter: Filter | str | None,
        offset: int,
        fusion: Fusion | None,
    ) -> Steps[list[list[Hit]]]:
        check_page(k, offset)
        self._check_mode(mode)
        if not isinstance(fusion, Fusion | None):
            raise UsageError(f"fusion is {shown(fusion)}; give a hybrid_search.Fusion")
        condition = parsed(filter)
        asked, texts = asked_texts(queries)
        if mode == "hybrid":
            fusion, in_engine = fusion or self.fusion, self.encoder is None
            found = yield from hits_of_hybrid(texts, k, condition, fusion, in_engine=in_engine, offset=offset)
        else:
            found = yield from hits_of_leg(texts, k, mode, condition, in_engine=self.encoder is None, offset=offset)
        hits: list[list[Hit]] = [[] for _ in queries]
        for place, of_query in zip(asked, found, strict=True):
            hits[place] = of_query
        return hits

    def rankings(
        self,
        queries: Sequence[str],
        k: int,
        *,
        mode: Mode = "hybrid",
        filter: Filter | str | None = None,
        bm25: Bm25 | None = None,
    ) -> list[Ranking]:
        """Rank without fetching texts where the engine can: for evaluation and mining.

        :param bm25: k1 and b instead of the index's, in mode ``bm25`` only.
        :return: one ranking of at most ``k`` documents per query; the same order as :meth:`search_many`.
        :raises UsageError: as :meth:`search_many`, and if ``bm25`` is given with another mode.
        """
        check_page(k, 0)
        self._check_mode(mode)
        if not isinstance(bm25, Bm25 | None):
            raise UsageError(f"bm25 is {shown(bm25)}; give a hybrid_search.Bm25")
        if bm25 is not None and mode != "bm25":
            raise UsageError(f"bm25 parameters were given with mode {mode!r}; they apply to mode 'bm25'")
        condition = parsed(filter)
        asked, texts = asked_texts(queries)
        if mode == "hybrid":
            steps = hits_of_hybrid(texts, k, condition, self.fusion, in_engine=self.encoder is None, bare=True)
            found = [_ranking(hits) for hits in carried_out(steps, self.encode_queries, self.engine)]
        else:
            leg = rankings_of_leg(texts, k, mode, condition, bm25, in_engine=self.encoder is None)
            found = carried_out(leg, self.encode_queries, self.engine)
        rankings = [Ranking((), ()) for _ in queries]
        for place, ranking in zip(asked, found, strict=True):
            rankings[place] = ranking
        return rankings

    def add(self, documents: Iterable[Document], *, batch_size: int = 1_024) -> AddReport:
        """Encode and add (or replace) documents, batch by batch, then commit.

        A batch is all that is held in memory, so any stream can be given. If the stream itself fails, what came
        before stays uncommitted.

        :raises ModelMismatch: if the index holds vectors and the retriever has no towers.
        :raises UsageError: if ``batch_size`` is not from 1 to 1,000,000.
        """
        if isinstance(documents, Document) or not isinstance(documents, Iterable):
            raise UsageError(f"documents is {type(documents).__name__}; give a list of hybrid_search.Document")
        if not (isinstance(batch_size, int) and 1 <= batch_size <= _LARGEST_BATCH):
            raise UsageError(f"batch_size is {shown(batch_size)}; it must be a whole number from 1 to {_LARGEST_BATCH}")
        if self.encoder is None and self.engine.settings.dimension:
            raise ModelMismatch(
                f"the index holds vectors of model {self.engine.settings.fingerprint}, and this retriever has no "
                "towers; open it with that model to add documents"
            )
        added, rejected = 0, list[Rejection]()
        documents = _documents_alone(documents)
        for done in index_corpus(self.engine, self.encoder, documents, batch_size=batch_size, commit_every=None):
            added += done.new - len(done.rejected)
            rejected += done.rejected
        return AddReport(added, tuple(rejected))

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents and commit; ids that are not there are ignored. Returns how many were.

        :raises UsageError: if these are not texts (one text would be taken for its letters), or one is nothing that
            can be a document's id.
        """
        deleted = self.engine.delete(ids_of(ids))
        self.engine.commit()
        return deleted

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch documents by id, None where there is none.

        :raises UsageError: as :meth:`delete`.
        """
        return self.engine.get(ids_of(ids))

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode with the query tower: (n, dimension) float32; a text without a known word is a zero row.

        :raises UsageError: if the retriever has no towers.
        """
        return self._towers().encode_queries(texts_of(texts, "texts"))

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode with the document tower; otherwise as :meth:`encode_queries`. A title comes before its text."""
        return self._towers().encode_documents(texts_of(texts, "texts"))

    def close(self) -> None:
        """Close the engine; what was not committed is dropped."""
        try:
            self.engine.close()
        finally:
            if self.observer is not None:
                self.observer.close()

    def _check_mode(self, mode: str) -> None:
        if mode not in MODES:
            raise UsageError(f"mode is {shown(mode)}; it must be one of {', '.join(MODES)}")
        if mode != "bm25" and not self.searches_vectors:
            self._towers()

    def _towers(self) -> Encoder:
        if self.encoder is None:
            if self.engine.settings.dimension:
                raise UsageError(
                    "the index was opened without its towers, or they are not stored with it (any more); give the "
                    "model that made its vectors, or search with mode 'bm25'"
                )
            raise UsageError("the index holds no vectors; search with mode 'bm25', or load the documents with a model")
        return self.encoder


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


def _ranking(hits: list[Hit]) -> Ranking:
    return Ranking(tuple(hit.id for hit in hits), tuple(hit.score for hit in hits))


def _documents_alone(documents: Iterable[Document]) -> Iterator[Document]:
    for one in documents:
        if not isinstance(one, Document):
            raise UsageError(f"documents holds {shown(one)}, which is no hybrid_search.Document")
        yield one
