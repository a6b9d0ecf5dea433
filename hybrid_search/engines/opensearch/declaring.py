"""Declaring metadata fields in a mapping before their first values are sent, and telling which it can't take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from hybrid_search.config import FieldType
from hybrid_search.engines.documents import Limits, Sifted, sift
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.failures import shortened
from hybrid_search.engines.opensearch.setup import declared_fields, metadata_mapping
from hybrid_search.errors import SearchIndexError
from hybrid_search.protocols import Vectors
from hybrid_search.types import Document

__all__ = ["DeclaredFields"]

_LIMIT = "index.mapping.total_fields.limit"
_TRIES = 4


class DeclaredFields:
    """The metadata fields of one index; for one thread at a time.

    :ivar types: those that the index is known to have declared.
    """

    def __init__(self, client: Client, index: str, types: Mapping[str, FieldType]) -> None:
        self.types = dict(types)
        self._client = client
        self._index = index

    def sift(self, documents: Sequence[Document], vectors: Vectors | None, *, as_held: bool = False) -> Sifted:
        """Check documents, and declare the fields of those that can be stored.

        A document that would declare more fields than the index takes, or as another type than somebody else just
        declared it, is refused alone.

        :param as_held: see :class:`~hybrid_search.engines.documents.Limits`.
        :raises SearchIndexError: if the server refuses for another reason.
        """
        limits = Limits(as_held=as_held)
        for tries_left in reversed(range(_TRIES)):
            sifted = sift(documents, vectors, self.types, limits)
            new = {name: kind for name, kind in sifted.fields.items() if name not in self.types}
            try:
                self._declare(new)
            except SearchIndexError as error:
                if error.status != HTTPStatus.BAD_REQUEST or not tries_left:
                    raise
                limits = self._limits(new, limits)
            else:
                break
        return sifted

    def _declare(self, new: Mapping[str, FieldType]) -> None:
        if new:
            properties = {"metadata": {"properties": metadata_mapping(new)}}
            self._client.call("PUT", f"/{self._index}/_mapping", {"properties": properties})
            self.types.update(new)

    def _limits(self, new: Mapping[str, FieldType], before: Limits) -> Limits:
        """Find out why fields were refused: too many, declared by somebody else meanwhile, or one that can't be."""
        mapping = self._client.call("GET", f"/{self._index}/_mapping")[self._index]["mappings"]
        self.types.update(declared_fields(mapping))
        answer = self._client.call(
            "GET", f"/{self._index}/_settings/{_LIMIT}", flat_settings="true", include_defaults="true"
        )
        held = answer[self._index]
        most = int(held.get("settings", {}).get(_LIMIT) or held["defaults"][_LIMIT])
        room = max(0, most - sum(1 for _ in _fields(mapping["properties"])))
        refused = dict(before.refused)
        if before.room is not None and len(new) <= before.room:  # so it was not their number
            refused |= self._refused_alone({name: kind for name, kind in new.items() if name not in self.types})
        return Limits(as_held=before.as_held, room=room, room_is=f"{_LIMIT} is {most}", refused=refused)

    def _refused_alone(self, new: Mapping[str, FieldType]) -> dict[str, str]:
        refused = {}
        for name, kind in new.items():
            try:
                self._declare({name: kind})
            except SearchIndexError as error:
                if error.status != HTTPStatus.BAD_REQUEST:
                    raise
                refused[name] = f"the server refused to declare it: {shortened(error)}"
        return refused


def _fields(properties: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over all that counts as a field: objects and the parts of a field too."""
    for name, declared in properties.items():
        yield name
        for inside in ("properties", "fields"):
            yield from _fields(declared.get(inside, {}))
