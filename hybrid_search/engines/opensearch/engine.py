"""The OpenSearch engine: one index on a server, both legs and their fusion computed there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from hybrid_search.config import Bm25, Fusion, IndexSettings
from hybrid_search.engines.documents import refusal, sift
from hybrid_search.engines.opensearch import bulk, requests, responses
from hybrid_search.engines.opensearch.address import Address
from hybrid_search.engines.opensearch.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.client import Client, failure
from hybrid_search.engines.opensearch.records import from_source, to_source
from hybrid_search.engines.opensearch.search import LARGEST_PAGE, Page, Searcher
from hybrid_search.engines.opensearch.setup import (
    ServerOptions,
    check_same,
    index_body,
    metadata_mapping,
    read_settings,
)
from hybrid_search.engines.opensearch.towers import companion_of, fetch_towers, store_towers
from hybrid_search.engines.vectors import checked_vectors
from hybrid_search.errors import FilterError, IndexNotFound, UnsupportedCapability, UsageError
from hybrid_search.filters import Filter, check_filter
from hybrid_search.fusion import Fused
from hybrid_search.protocols import Capabilities, Vectors
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Hit, Leg, Ranking, Rejection

__all__ = ["OpenSearchEngine"]

_PAGE = 1_000
_EMPTY = Ranking((), ())


class OpenSearchEngine:
    """An index on a server. Safe to search from many threads; adding, deleting and committing is for one at a time.

    Made by :meth:`create` or :meth:`open`. What is added is sent at once and durable when the server has answered;
    :meth:`commit` makes it visible. Unlike with a folder, what was sent and not committed comes to light at the next
    commit or when the engine is closed: a server has no transactions.
    """

    def __init__(self, client: Client, address: Address, settings: IndexSettings, *, writable: bool) -> None:
        self._client = client
        self._address = address
        self._index = address.index
        self._settings = settings
        self._writable = writable
        self._server = ServerCapabilities.read(client)
        self._search = Searcher(client, address.index, self._server)
        self._holds_refresh = False
        self._last_added = 0
        self._closed = False

    @staticmethod
    def exists(location: str) -> bool:
        """Return whether there is an index.

        :raises SearchIndexError: if the server can't be asked.
        """
        address = Address.parse(location)
        with contextlib.closing(Client(address)) as client:
            return bool(client.call("HEAD", f"/{address.index}"))

    @classmethod
    def create(
        cls, location: str, settings: IndexSettings, *, exist_ok: bool = False, options: ServerOptions | None = None
    ) -> Self:
        """Make a new index and open it to write.

        :param exist_ok: open an index that is there with the same settings (it may have declared more fields since).
        :raises IndexExists: if there is one, or one with other settings.
        :raises ConfigError: if a setting is not known here.
        :raises UnsupportedCapability: if the server can't hold such an index.
        """
        address = Address.parse(location)
        body = index_body(settings, options or ServerOptions())
        client = Client(address)
        try:
            if exist_ok and client.call("HEAD", f"/{address.index}"):
                check_same(address, read_settings(client, address), settings)
            else:
                if settings.dimension:
                    ServerCapabilities.read(client).check_vectors()
                client.call("PUT", f"/{address.index}", body)
            return cls(client, address, read_settings(client, address), writable=True)
        except BaseException:
            client.close()
            raise

    @classmethod
    def open(cls, location: str, *, writable: bool = False) -> Self:
        """Open an existing index.

        :raises IndexNotFound: if there is none.
        :raises SearchIndexError: if the index was made by something else, or the server can't be asked.
        """
        address = Address.parse(location)
        client = Client(address)
        try:
            return cls(client, address, read_settings(client, address), writable=writable)
        except BaseException:
            client.close()
            raise

    @staticmethod
    def drop(location: str) -> None:
        """Delete an index and the towers stored with it; without an index nothing happens.

        :raises SearchIndexError: if the server refuses.
        """
        address = Address.parse(location)
        with contextlib.closing(Client(address)) as client:
            for name in (address.index, companion_of(address.index)):
                client.call("DELETE", f"/{name}", ignore_unavailable="true")

    @property
    def settings(self) -> IndexSettings:
        """The settings that the index carries, with the fields declared so far."""
        return self._settings

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return Capabilities(
            engine="opensearch",
            version=self._server.shown_version,
            exact_knn=False,
            bm25_at_query_time=False,
            stored_models=True,
        )

    def add(self, documents: Sequence[Document], vectors: Vectors | None) -> list[Rejection]:
        """Add or replace documents; see the protocol. Of the same id twice in one call the last one counts.

        :param vectors: (n, dimension) floats, a zero row for "no vector"; None for documents without any.
        :return: the refused documents, those refused by the server too, with its reason.
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        :raises SearchIndexError: if the server refuses for a reason that is not a document's.
        """
        self._check_writable()
        checked = checked_vectors(vectors, len(documents), self._settings.dimension)
        sifted = sift(documents, checked, self._settings.fields)
        self._hold_refresh()
        self._declare(sifted.fields)
        first = self._last_added = max(self._last_added + 1, time.time_ns())
        sources = []
        for number, position in enumerate(sifted.positions):
            vector = None if checked is None or not checked[position].any() else checked[position].tolist()
            sources.append(to_source(documents[position], vector, first + number))
        self._last_added += len(sources)
        refused = bulk.put(self._client, self._index, sources)
        by_id = {documents[position].id: documents[position] for position in sifted.positions}
        late = [refusal(by_id[id], one.field, one.reason) for id, one in refused.items()]
        return sifted.rejections + late

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; returns how many were there."""
        self._check_writable()
        self._hold_refresh()
        return bulk.delete(self._client, self._index, ids)

    def commit(self) -> None:
        """Make the changes searchable in both legs; they are durable already.

        :raises SearchIndexError: if a shard can't.
        """
        self._check_writable()
        responses.checked(self._client.call("POST", f"/{self._index}/_refresh"), self._index)

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch committed documents by id, None where there is none."""
        self._check_open()
        found: list[Document | None] = []
        for batch in in_batches(ids, _PAGE):
            answer = self._client.call(
                "POST", f"/{self._index}/_mget", {"ids": batch}, realtime="false", _source_excludes="vector,added"
            )
            for one in answer["docs"]:
                if "error" in one:
                    raise failure(500, one, self._index)
                found.append(from_source(one["_source"]) if one["found"] else None)
        return found

    def documents(self) -> Iterator[Document]:
        """Iterate over the committed documents, in the order of their first addition, as they are at the start."""
        self._check_open()
        point = self._client.call("POST", f"/{self._index}/_search/point_in_time", keep_alive="5m")["pit_id"]
        try:
            after = None
            while True:
                body = requests.documents_page(point, _PAGE, after)
                hits = responses.hits_of(responses.checked(self._client.call("POST", "/_search", body), self._index))
                for hit in hits:
                    yield from_source(hit["_source"])
                if len(hits) < _PAGE:
                    return
                after = hits[-1]["sort"]
        finally:
            self._client.call("DELETE", "/_search/point_in_time", {"pit_id": [point]})

    def search_lexical(
        self, texts: Sequence[str], k: int, filter: Filter | None = None, *, bm25: Bm25 | None = None
    ) -> list[Ranking]:
        """Rank by BM25; a text without known terms finds nothing.

        :raises UsageError: if k is below 1, or more than a server returns.
        :raises FilterError: if the filter does not fit the index's fields.
        :raises UnsupportedCapability: if ``bm25`` is not what the index was made with.
        """
        self._check_search(k, filter)
        if bm25 is not None and bm25 != self._settings.bm25:
            raise UnsupportedCapability(
                f"{self._address} was made with {self._settings.bm25}; OpenSearch can't search it with {bm25}: "
                f"load the data with these, or use an index in a folder"
            )
        return self._search.lexical(texts, k, filter)

    def search_dense(
        self, vectors: Vectors, k: int, filter: Filter | None = None, *, exact: bool = False
    ) -> list[Ranking]:
        """Rank by vector similarity, scores in OpenSearch's scale; a zero vector finds nothing.

        :param vectors: (n, dimension) finite floats.
        :param exact: compare with every vector, instead of walking the graph, which may miss a neighbour.
        :raises UsageError: if k is below 1, or more than a server returns, or a vector is not finite.
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        """
        self._check_search(k, filter)
        queries = self._queries(vectors, len(vectors))
        given = [query for query in queries if query is not None]
        if exact:
            found = iter(self._search.exact_dense(given, k, filter, self._settings.similarity))
        else:
            found = iter(self._search.dense(given, k, filter))
        return [_EMPTY if query is None else next(found) for query in queries]

    def search_hybrid(
        self,
        texts: Sequence[str],
        vectors: Vectors,
        k: int,
        *,
        fusion: Fusion | None = None,
        filter: Filter | None = None,
        offset: int = 0,
    ) -> list[list[Hit]]:
        """Fuse both legs over the fusion's window; return the hits ``offset + 1`` to ``offset + k``, with texts.

        A page past the last hit is empty. A query with a zero vector is answered by BM25 alone, a text without known
        terms by k-NN alone, each through the same arithmetic.

        :raises UsageError: if k is below 1, or the offset lies outside what two windows can hold.
        :raises UnsupportedCapability: if the server can't fuse like this.
        """
        self._check_search(k, filter)
        fusion = fusion or self._settings.fusion
        page = Page.inside(fusion, offset, k)
        self._server.check_fusion(fusion)
        queries = list(zip(texts, self._queries(vectors, len(texts)), strict=True))
        pages = self._search.hybrid(queries, page, fusion, filter)
        documents = iter(self.get([one.id for page in pages for one in page]))
        return [_with_documents(page, documents, offset + 1) for page in pages]

    def hits(self, ranking: Ranking, *, first_rank: int = 1, leg: str | None = None) -> list[Hit]:
        """Fetch the documents of (a page of) a ranking; those deleted meanwhile are left out.

        :param leg: ``bm25`` or ``knn`` gives each hit that leg's explanation.
        """
        found = []
        for rank, (id, score) in enumerate(zip(ranking.ids, ranking.scores, strict=True), start=first_rank):
            legs = {leg: Leg(score, rank, normalised=score, weight=1.0, share=1.0)} if leg else {}
            found.append(Fused(id, score, legs))
        return _with_documents(found, iter(self.get(ranking.ids)), first_rank)

    def store_model(self, files: Sequence[Path]) -> None:
        """Copy a model's serving files to the server, into an index beside this one.

        :raises StorageError: if a file can't be read.
        """
        self._check_writable()
        store_towers(self._client, self._index, files, self._settings.fingerprint)

    def model_folder(self) -> Path | None:
        """Where the stored model's files lie on this machine (a cache, checked by hash), None when none are stored.

        :raises CorruptModel: if what the server has is not what was stored.
        """
        self._check_open()
        return fetch_towers(self._client, self._index)

    def count(self) -> int:
        """Count the committed documents."""
        self._check_open()
        answer = responses.checked(self._client.call("GET", f"/{self._index}/_count"), self._index)
        return int(answer["count"])

    def stats(self) -> Mapping[str, Any]:
        """Sizes and counts for people to read; sizes in bytes."""
        self._check_open()
        totals = self._client.call("GET", f"/{self._index}/_stats/store,segments,docs")["_all"]["primaries"]
        with_vector = {"query": {"exists": {"field": "vector"}}}
        vectors = self._client.call("POST", f"/{self._index}/_count", with_vector)["count"]
        return {
            "engine": "opensearch",
            "server": self._server.shown_version,
            "plugins": dict(self._server.plugins),
            "health": self._client.call("GET", f"/_cluster/health/{self._index}")["status"],
            "documents": self.count(),
            "vectors": vectors if self._settings.dimension else 0,
            "segments": totals["segments"]["count"],
            "bytes": totals["store"]["size_in_bytes"],
        }

    def close(self) -> None:
        """Give the server its refreshing back and close the connections. Closing again is harmless."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._holds_refresh:
                with contextlib.suppress(IndexNotFound):  # dropped meanwhile
                    self._set_refresh(None)
        finally:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _declare(self, fields: Mapping[str, Any]) -> None:
        new = {name: kind for name, kind in fields.items() if name not in self._settings.fields}
        if new:
            properties = {"metadata": {"properties": metadata_mapping(new)}}
            self._client.call("PUT", f"/{self._index}/_mapping", {"properties": properties})
            self._settings = self._settings.replace(fields={**self._settings.fields, **new})

    def _hold_refresh(self) -> None:
        """Keep the server from showing what is not committed."""
        if not self._holds_refresh:
            self._set_refresh("-1")
            self._holds_refresh = True

    def _set_refresh(self, interval: str | None) -> None:
        self._client.call("PUT", f"/{self._index}/_settings", {"index": {"refresh_interval": interval}})

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self._address}: the index is closed; open it again")

    def _check_writable(self) -> None:
        self._check_open()
        if not self._writable:
            raise UsageError(f"{self._address}: opened to read; open it with writable=True to change it")

    def _check_search(self, k: int, filter: Filter | None) -> None:
        self._check_open()
        if k < 1:
            raise UsageError(f"k is {k}; it must be at least 1")
        if k > LARGEST_PAGE:
            raise UsageError(f"k is {k}; OpenSearch returns at most {LARGEST_PAGE} hits for a search")
        if filter is None:
            return
        try:
            check_filter(filter, self._settings.fields)
        except FilterError:
            # Another writer may have declared the field since.
            self._settings = read_settings(self._client, self._address)
            check_filter(filter, self._settings.fields)

    def _queries(self, vectors: Vectors, count: int) -> list[list[float] | None]:
        """Return each query vector as a list, None for a zero one."""
        checked = checked_vectors(vectors, count, self._settings.dimension)
        if not np.isfinite(checked).all():
            raise UsageError("a query vector has a number that is not finite; encode the query again")
        return [vector.tolist() if vector.any() else None for vector in checked]


def _with_documents(page: Sequence[Fused], documents: Iterator[Document | None], first_rank: int) -> list[Hit]:
    return [
        Hit(one.id, rank, one.score, document.text, document.title, document.metadata, one.legs)
        for rank, (one, document) in enumerate(zip(page, documents, strict=False), start=first_rank)
        if document is not None
    ]
