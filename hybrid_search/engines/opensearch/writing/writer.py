"""Writing to one index: settings changed for a load, fields declared before their first value, documents sent."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from hybrid_search.engines.documents import refusal
from hybrid_search.engines.opensearch.index.document_json import Item, item_of, vector_values
from hybrid_search.engines.opensearch.search import answers as responses
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import failure
from hybrid_search.engines.opensearch.writing import bulk
from hybrid_search.engines.opensearch.writing import writer as finishing
from hybrid_search.engines.opensearch.writing.fields import DeclaredFields
from hybrid_search.engines.opensearch.writing.load_settings import GRAPH_THRESHOLD, REFRESH, HeldSettings, while_loading
from hybrid_search.engines.opensearch.writing.pacing import Traffic
from hybrid_search.errors import AccessDenied, SearchIndexError
from hybrid_search.protocols import Vectors
from hybrid_search.settings.index import FieldType
from hybrid_search.types import Document, Rejection

__all__ = ["Prepared", "Writer", "force_merge", "warm_up"]


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Documents that were checked and encoded.

    :ivar rejections: documents that are not sent.
    """

    documents: Sequence[Document]
    items: Sequence[Item]
    rejections: Sequence[Rejection]


class Writer:
    """Adds to and deletes from one index. Thread-safe."""

    def __init__(
        self, client: Client, index: str, uuid: str, fields: Mapping[str, FieldType], *, base64_vectors: bool = False
    ) -> None:
        self._declared = DeclaredFields(client, index, fields)
        self._held = HeldSettings(client, index, uuid)
        self._client = client
        self._index = index
        self._base64 = base64_vectors
        self._sender = bulk.BulkSender(client, index)
        self._last_added = 0
        self._preparing = threading.Lock()

    @property
    def fields(self) -> dict[str, FieldType]:
        """The metadata fields known to be declared."""
        return dict(self._declared.types)

    def declare(self, fields: Mapping[str, FieldType]) -> None:
        """Declare those of these metadata fields that the index lacks."""
        with self._preparing:
            self._declared.declare({name: kind for name, kind in fields.items() if name not in self._declared.types})

    @property
    def traffic(self) -> Traffic:
        """Counts of what was sent so far."""
        return self._sender.traffic

    def repair(self) -> None:
        """Restore settings that a killed writer left, and make its documents visible."""
        if self._held.repair():
            self.commit()

    def hold(self, *, without_replicas: bool = False, without_graphs: bool = False) -> None:
        """Change the index's settings for a load, until they are restored; see :class:`HeldSettings`.

        :raises AccessDenied: if the user may not record the change, and it is more than an optimisation.
        """
        try:
            self._held.hold(while_loading(without_replicas=without_replicas, without_graphs=without_graphs))
        except AccessDenied as error:
            if without_replicas or without_graphs:
                raise
            _log.warning("%s: the server goes on refreshing, which makes the load slower: %s", self._index, error)

    def give_back(self, *, but_replicas: bool = False) -> None:
        """Restore the index's settings.

        :raises SearchIndexError: if the server can't be reached.
        """
        self._held.give_back({REFRESH, GRAPH_THRESHOLD} if but_replicas else None)

    @property
    def defers_graphs(self) -> bool:
        """Whether the index can build its graphs at a merge."""
        mapping = self._client.call("GET", f"/{self._index}/_mapping")[self._index]["mappings"]
        vector = mapping["properties"].get("vector", {})
        return bool(vector.get("method", {}).get("engine") == "faiss")

    def add(self, documents: Sequence[Document], vectors: Vectors | None) -> list[Rejection]:
        """Send documents; return those that were rejected; all others are durable.

        :param vectors: (n, dimension), checked; a zero row for "no vector".
        :raises SearchIndexError: if the server refuses for a reason that does not concern single documents.
        """
        return self.send(self.prepare(documents, vectors))

    def prepare(self, documents: Sequence[Document], vectors: Vectors | None, *, as_held: bool = False) -> Prepared:
        """Check and encode documents, in the order in which they are to be listed, and declare their fields.

        :param as_held: accept everything that an index written by others may contain; see
            :class:`~hybrid_search.engines.documents.Limits`.
        """
        with self._preparing:
            sifted = self._declared.sift(documents, vectors, as_held=as_held)
            first = max(self._last_added + 1, time.time_ns())
            self._last_added = first + len(sifted.positions)
        values = vector_values(vectors, sifted.positions, base64=self._base64)
        items = [
            item_of(document, value, first + number)
            for number, (document, value) in enumerate(zip(sifted.documents, values, strict=True))
        ]
        return Prepared(sifted.documents, items, sifted.rejections)

    def send(self, prepared: Prepared) -> list[Rejection]:
        """Send documents; return all that were rejected, including by the server."""
        refused = self._sender.put(prepared.items)
        late = [
            refusal(document, refused[document.id].field, refused[document.id].reason)
            for document in (prepared.documents if refused else ())
            if document.id in refused
        ]
        return [*prepared.rejections, *late]

    def stop(self) -> None:
        """Make all threads that send give up as soon as possible."""
        self._sender.stop()
        self._client.hurry()

    def persistent(self) -> AbstractContextManager[None]:
        """Retry requests inside the block as often as documents, so that a load survives a restart of the server."""
        return self._client.persistent(bulk.RETRIES)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; return how many existed."""
        return bulk.delete(self._client, self._index, ids)

    def commit(self) -> None:
        """Make the changes searchable.

        :raises SearchIndexError: if that fails on a shard.
        """
        responses.checked(self._client.call("POST", f"/{self._index}/_refresh"), self._index)

    def force_merge(self, segments: int) -> None:
        """Merge each shard down to this many segments; see :func:`force_merge`."""
        finishing.force_merge(self._client, self._index, segments)
        self.commit()  # until then, searches use the old segments

    def warm_up(self) -> None:
        """Load the graphs into the server's memory; see :func:`warm_up`."""
        finishing.warm_up(self._client, self._index)

    def close(self) -> None:
        """Restore the settings that were changed for a load."""
        self._held.give_back_or_tell()


_FIRST_LOOK = 0.1
_SECONDS_BETWEEN_LOOKS = 5.0
_WARM_UP_PATIENCE = 3_600


def force_merge(client: Client, index: str, segments: int, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Merge each shard's segments until there are at most this many; waits for the end, which may take hours.

    :raises SearchIndexError: if the server refuses, or a shard fails.
    """
    answer = client.call(
        "POST", f"/{index}/_forcemerge", max_num_segments=str(segments), wait_for_completion="false"
    )  # fmt: skip
    pause = _FIRST_LOOK
    while not (task := client.call("GET", f"/_tasks/{answer['task']}"))["completed"]:
        sleep(pause)
        pause = min(2 * pause, _SECONDS_BETWEEN_LOOKS)
    if "error" in task:
        raise failure(500, task, index)
    _check(task.get("response", {}), index, "merging")


def warm_up(client: Client, index: str) -> None:
    """Load the graphs into memory, so that the first searches don't have to.

    :raises SearchIndexError: if the server refuses, or a shard fails.
    """
    answer = client.call("GET", f"/_plugins/_knn/warmup/{index}", request_timeout=_WARM_UP_PATIENCE)
    _check(answer, index, "warming up")


def _check(answer: dict[str, Any], index: str, what: str) -> None:
    failed = answer.get("_shards", {}).get("failed", 0)
    if failed:
        raise SearchIndexError(f"{index}: {what} failed on {failed} shards; look at the server's log")
