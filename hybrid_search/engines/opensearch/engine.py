"""The OpenSearch engine: an index on a server, which ranks and fuses both legs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.documents import check_declared, ids_of
from hybrid_search.engines.opensearch.index import meta, template
from hybrid_search.engines.opensearch.index.aliases import Place, delete_index, make_index, resolve
from hybrid_search.engines.opensearch.index.capabilities import ServerCapabilities
from hybrid_search.engines.opensearch.index.fitness import faults_of_settings, other_fields
from hybrid_search.engines.opensearch.index.query_tower import query_tower
from hybrid_search.engines.opensearch.index.tower_files import fetch_towers, store_towers
from hybrid_search.engines.opensearch.search import answers as responses
from hybrid_search.engines.opensearch.search import fusion_pipelines as pipelines
from hybrid_search.engines.opensearch.search.query_log import QueryLog
from hybrid_search.engines.opensearch.search.reading import Reading
from hybrid_search.engines.opensearch.search.scan import HeldDocuments, all_documents, random_ids, stored_vectors
from hybrid_search.engines.opensearch.search.shown import ShownRequest, for_people
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.curl import curl_arguments
from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.engines.opensearch.transport.plan import carried_out
from hybrid_search.engines.opensearch.writing.fields import check_pipelines, dropped_if_unfit
from hybrid_search.engines.opensearch.writing.writer import Writer
from hybrid_search.errors import UnsupportedCapability, UsageError
from hybrid_search.location import Address
from hybrid_search.protocols import Capabilities, Vectors
from hybrid_search.search import Search, checked_vectors
from hybrid_search.settings.index import Bm25, FieldType, Fusion, IndexSettings
from hybrid_search.settings.server import SearchOptions, ServerOptions
from hybrid_search.types import Document, Hit, Matches, Ranking, Rejection

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch.async_engine import AsyncOpenSearchEngine

__all__ = ["OpenSearchEngine"]


class OpenSearchEngine:
    """An index on a server. Searching is thread-safe; adding, deleting and committing must not run concurrently.

    Made by :meth:`create` or :meth:`open`. Added documents are sent at once and durable when the server has answered;
    :meth:`commit` makes them visible. A server has no transactions: unlike in a folder, uncommitted documents become
    visible at the server's next refresh (every second, by default).
    """

    def __init__(
        self,
        client: Client,
        place: Place,
        settings: IndexSettings,
        *,
        writable: bool,
        options: SearchOptions | None = None,
    ) -> None:
        self._client = client
        self._place = place
        self._address = place.address
        self._index = place.address.index
        self._writable = writable
        self._server = ServerCapabilities.read(client)
        options = options or SearchOptions()
        tower = query_tower(client, place, settings, self._server) if options.in_cluster else ""
        base64 = self._server.base64_vectors
        self._writer = Writer(client, self._index, place.uuid, settings.fields, base64_vectors=base64)
        if writable:
            self._writer.repair()
            check_pipelines(client, place)
        self._log: QueryLog | None = None
        if options.log_queries:
            self._log = QueryLog(place, settings, hash_texts=options.log_queries == "hash")
        self._reading = Reading(place.address, settings, self._server, options, query_model=tower, log=self._log)
        self._closed = False

    @staticmethod
    def exists(location: str) -> bool:
        """Return whether the index exists.

        :raises SearchIndexError: if the server can't be reached or refuses.
        """
        address = Address.parse(location)
        with contextlib.closing(Client(address)) as client:
            return bool(client.call("HEAD", f"/{address.index}"))

    @classmethod
    def create(
        cls,
        location: str,
        settings: IndexSettings,
        *,
        exist_ok: bool = False,
        options: ServerOptions | None = None,
        towers: str = "",
    ) -> Self:
        """Create an index and open it to write.

        :param towers: digest of the files that :meth:`store_model` will store, recorded in the index.
        :param exist_ok: if an index with the same settings exists, open it (it may have declared more fields since).
        :raises IndexExists: if there is an index, or with ``exist_ok`` one with other settings.
        :raises ConfigError: if a setting is unknown.
        :raises UnsupportedCapability: if the server can't have such an index.
        """
        address = Address.parse(location)
        body = template.index_body(settings, options or ServerOptions(), towers)
        client = Client(address)
        try:
            if exist_ok and client.call("HEAD", f"/{address.index}"):
                template.check_same(address, template.read_settings(client, address), settings)
                return cls._at(client, address, writable=True)
            make_index(client, address.index, body)
            with dropped_if_unfit(client, address.index):
                return cls._at(client, address, writable=True)
        except BaseException:
            client.close()
            raise

    @classmethod
    def open(cls, location: str, *, writable: bool = False, options: SearchOptions | None = None) -> Self:
        """Open an existing index. Opened by an alias, the engine keeps the index even if the alias moves.

        :param options: how to search it.
        :raises IndexNotFound: if there is none.
        :raises SearchIndexError: if the index was made by something else, or the server can't be reached.
        """
        address = Address.parse(location)
        client = Client(address)
        try:
            return cls._at(client, address, writable=writable, options=options)
        except BaseException:
            client.close()
            raise

    @classmethod
    def _at(cls, client: Client, address: Address, *, writable: bool, options: SearchOptions | None = None) -> Self:
        place = resolve(client, address)
        template.check_fit(str(place.address), faults_of_settings(place.settings))
        return cls(client, place, template.read_settings(client, place.address), writable=writable, options=options)

    @staticmethod
    def drop(location: str) -> None:
        """Delete an index, and its towers unless another index uses them; does nothing if there is no index.

        :raises UsageError: if the location is an alias.
        :raises SearchIndexError: if the index was made by something else, or the server refuses.
        """
        address = Address.parse(location)
        with contextlib.closing(Client(address)) as client:
            delete_index(client, address.index)

    @property
    def place(self) -> Place:
        """The index and the address, perhaps an alias, by which it was opened."""
        return self._place

    def moved(self) -> bool:
        """Return whether the address by which this was opened now stands for another index.

        :raises IndexNotFound: if it no longer stands for any.
        :raises SearchIndexError: if the server can't be reached.
        """
        return resolve(self._client, self._place.asked) != self._place

    @property
    def settings(self) -> IndexSettings:
        """The index's settings, with the fields declared so far."""
        return self._reading.settings

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return Capabilities(
            "opensearch",
            self._server.shown_version,
            bm25_at_query_time=False,
            hides_uncommitted=False,
            encodes_queries=bool(self._reading.query_model),
            fusion_methods=self._server.fusion_methods,
        )

    def add(self, documents: Sequence[Document], vectors: Vectors | None) -> list[Rejection]:
        """Add or replace documents; see the protocol. If an id occurs twice in one call, the last document counts.

        :param vectors: (n, dimension) floats, a zero row for "no vector"; None if no document has one.
        :return: the rejected documents, including those rejected by the server, with its reason.
        :raises ModelMismatch: if the vectors' length is not the index's dimension.
        :raises SearchIndexError: if the server refuses for a reason that does not concern single documents.
        """
        self._check_writable()
        checked = checked_vectors(vectors, len(documents), self.settings.dimension)
        rejections = self._writer.add(documents, checked)
        settings = self.settings
        self._reading.settings = settings.replace(fields={**settings.fields, **self._writer.fields})
        return rejections

    @property
    def writer(self) -> Writer:
        """The index's writer, for callers that prepare and send documents concurrently.

        :raises UsageError: if the index was opened to read.
        """
        self._check_writable()
        return self._writer

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; return how many existed."""
        self._check_writable()
        return self._writer.delete(ids_of(ids))

    def declare(self, fields: Mapping[str, FieldType]) -> None:
        """Declare further metadata fields; see the protocol."""
        self._check_writable()
        check_declared(self._writer.fields, fields, self._address)
        self._writer.declare(fields)
        after = self.settings.declaring(*(f"fields.{n}" for n in fields), fields={**self.settings.fields, **fields})
        self._note({"declared": after.declared})
        self._reading.settings = after

    def _note(self, changes: Mapping[str, Any]) -> None:
        meta.update(self._client, self._index, "hybrid_search", lambda note: {**note, **changes})

    def set_fusion(self, fusion: Fusion, bm25: Bm25 | None = None, *, asked_for: bool = True) -> None:
        """Change the fusion in the index's settings, and its default search pipeline if that computes the old one."""
        self._check_writable()
        self._server.check_fusion(fusion)
        if bm25 not in (None, self.settings.bm25):
            raise UnsupportedCapability(
                f"{self._address} was made with {self.settings.bm25}, which OpenSearch keeps: reindex it for others"
            )
        before, value = self.settings.fusion, msgspec.to_builtins(fusion)
        after = self.settings.declaring(*(["fusion"] if asked_for else []), fusion=fusion, weighed=True)
        self._note({"fusion": value, "weighed": True, "declared": after.declared})
        carried_out(pipelines.follow(self._address, before, fusion), self._client.send)
        self._reading.settings = after

    def commit(self) -> None:
        """Make the changes searchable in both legs; they are already durable.

        :raises SearchIndexError: if that fails on a shard.
        """
        self._check_writable()
        self._writer.commit()

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Fetch committed documents by id, None for unknown ids."""
        self._check_open()
        return carried_out(self._reading.documents(ids_of(ids)), self._client.send)

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return id -> (dimension,) float32 for the given documents that have a vector."""
        self._check_open()
        return stored_vectors(self._client, self._index, ids)

    def held_documents(self) -> HeldDocuments:
        """Return the documents as the server has indexed them, to copy them; usable until this engine is closed."""
        self._check_open()
        return HeldDocuments(self._client, self._index, self.settings.fields)

    def drawn(self, size: int, seed: int = 0) -> list[str]:
        """Return the ids of ``size`` random documents."""
        self._check_open()
        return random_ids(self._client, self._index, size, seed)

    def documents(self) -> Iterator[Document]:
        """Iterate over a snapshot of the committed documents, in the order in which they were first added."""
        self._check_open()
        return all_documents(self._client, self._index)

    def search(self, search: Search) -> list[list[Hit]]:
        """Answer queries, ranked and fused on the server; see :meth:`Reading.search`."""
        self._check_open()
        return carried_out(self._reading.search(search), self._client.send)

    def rank(self, search: Search) -> list[Ranking]:
        """Answer queries with ids and scores; see :meth:`Reading.rank`."""
        self._check_open()
        return carried_out(self._reading.rank(search), self._client.send)

    def matches(self, search: Search, facets: Sequence[str] = (), most_values: int = 10) -> list[Matches]:
        """Count what matches; see :meth:`Reading.matches`."""
        self._check_open()
        return carried_out(self._reading.matches(search, facets, most_values), self._client.send)

    def asynchronous(self) -> AsyncOpenSearchEngine:
        """Return an engine for ``asyncio`` with the same searches; close it before this one.

        :raises MissingExtra: if the extra ``async`` is not installed.
        """
        from hybrid_search.engines.opensearch.async_engine import AsyncOpenSearchEngine

        self._check_open()
        return AsyncOpenSearchEngine(self._reading, self._address, self._client.connection)

    def shown(self, search: Search) -> ShownRequest:
        """Return the request that a search of one query would send.

        :raises UsageError: if nothing would be sent.
        """
        self._check_open()
        body = for_people(carried_out(self._reading.body(search), self._client.send), search.k, search.offset)
        address = self._place.asked
        arguments = curl_arguments(address, self._client.connection)
        return ShownRequest(address.server, f"/{address.index}/_search", body, arguments)

    def check_options(self, options: ServerOptions) -> None:
        """Check that the index was made with the given options.

        :raises IndexExists: names the option that differs.
        """
        self._check_open()
        answer = self._client.call("GET", f"/{self._index}")
        template.check_options(str(self._address), answer[self._index], options)

    def store_pipeline(self, name: str, *, as_default: bool = False) -> None:
        """Store the index's fusion on the server as a search pipeline; see :func:`fusion_pipelines.store`."""
        self._check_writable()
        carried_out(
            pipelines.store(self._address, name, self.settings.fusion, as_default=as_default), self._client.send
        )

    def store_model(self, files: Sequence[Path]) -> None:
        """Copy a model's serving files to the server, into a separate index that all indexes of the model share.

        :raises StorageError: if a file can't be read.
        """
        self._check_writable()
        store_towers(self._client, self._index, self.settings.fingerprint, files)

    def model_folder(self) -> Path | None:
        """Return the folder of the stored model's files (a local cache, checked by hash), None if no model is stored.

        The hashes are compared with those that were recorded in the index when it was made.

        :raises CorruptModel: if the server's files differ from those stored.
        """
        self._check_open()
        return fetch_towers(self._client, self._index, self.settings.fingerprint)

    @taken_apart("the number of documents")
    def count(self) -> int:
        """Count the committed documents."""
        self._check_open()
        answer = responses.checked(self._client.call("GET", f"/{self._index}/_count"), self._index)
        return int(answer["count"])

    @taken_apart("the index's statistics")
    def stats(self) -> Mapping[str, Any]:
        """Sizes in bytes and counts, for display."""
        self._check_open()
        totals = self._client.call("GET", f"/{self._index}/_stats/store,segments,docs")["_all"]["primaries"]
        with_vector = {"query": {"exists": {"field": "vector"}}}
        vectors = self._client.call("POST", f"/{self._index}/_count", with_vector)["count"]
        others = other_fields(self._client.call("GET", f"/{self._index}/_mapping")[self._index]["mappings"])
        return {
            "engine": "opensearch",
            "server": self._server.shown_version,
            "plugins": dict(self._server.plugins),
            "health": self._client.call("GET", f"/_cluster/health/{self._index}")["status"],
            "documents": self.count(),
            "vectors": vectors if self.settings.dimension else 0,
            "segments": totals["segments"]["count"],
            "bytes": totals["store"]["size_in_bytes"],
            **({"not_filtered_by": others} if others else {}),
        }

    def close(self) -> None:
        """Restore settings that a load changed, flush the query log, close the connections. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self._writer.close()
        finally:
            self._client.close()
            if self._log is not None:
                self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self._address}: the index is closed; open it again")

    def _check_writable(self) -> None:
        self._check_open()
        if not self._writable:
            raise UsageError(f"{self._address}: opened to read; open it with writable=True to change it")
