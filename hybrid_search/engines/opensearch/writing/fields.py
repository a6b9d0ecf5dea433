"""Checks before documents are sent: ingest pipelines exist, and metadata fields are declared."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from hybrid_search.engines.documents import Limits, Sifted, sift
from hybrid_search.engines.opensearch.index.aliases import Place
from hybrid_search.engines.opensearch.index.fitness import other_fields, pipelines_of
from hybrid_search.engines.opensearch.index.template import declared_fields, metadata_mapping
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import shortened
from hybrid_search.errors import AccessDenied, SearchIndexError, UnfitIndex
from hybrid_search.protocols import Vectors
from hybrid_search.settings.index import FieldType
from hybrid_search.types import Document

__all__ = ["DeclaredFields", "check_pipelines", "dropped_if_unfit"]

_LIMIT = "index.mapping.total_fields.limit"
_TRIES = 4


class DeclaredFields:
    """The metadata fields of one index; not thread-safe.

    :ivar types: the fields known to be declared.
    """

    def __init__(self, client: Client, index: str, types: Mapping[str, FieldType]) -> None:
        self.types = dict(types)
        self._client = client
        self._index = index
        self._others: set[str] = set()  # of somebody's own mapping, which stays as it is

    def sift(self, documents: Sequence[Document], vectors: Vectors | None, *, as_held: bool = False) -> Sifted:
        """Check documents, and declare the fields of those that can be stored.

        Only the document is rejected that would declare more fields than the index allows, or a field that another
        writer has just declared with another type.

        :param as_held: see :class:`~hybrid_search.engines.documents.Limits`.
        :raises SearchIndexError: if the server refuses for another reason.
        """
        limits = Limits(as_held=as_held)
        for tries_left in reversed(range(_TRIES)):
            sifted = sift(documents, vectors, self.types, limits)
            new = self._undeclared(sifted.fields)
            try:
                self.declare(new)
            except SearchIndexError as error:
                if error.status != HTTPStatus.BAD_REQUEST or not tries_left:
                    raise
                limits = self._limits(new, limits)
            else:
                break
        return sifted

    def _undeclared(self, fields: Mapping[str, FieldType]) -> dict[str, FieldType]:
        """Return the fields that nobody has declared; asks the server if some seem to be such."""
        if all(name in self.types or name in self._others for name in fields):
            return {}
        mapping = self._client.call("GET", f"/{self._index}/_mapping")[self._index]["mappings"]
        self._others = set(other_fields(mapping))
        return {name: kind for name, kind in fields.items() if name not in self.types and name not in self._others}

    def declare(self, new: Mapping[str, FieldType]) -> None:
        """Declare fields that the index does not have."""
        if new:
            properties = {"metadata": {"properties": metadata_mapping(new)}}
            self._client.call("PUT", f"/{self._index}/_mapping", {"properties": properties})
            self.types.update(new)

    def _limits(self, new: Mapping[str, FieldType], before: Limits) -> Limits:
        """Find out why fields were refused: too many, declared by others meanwhile, or invalid."""
        mapping = self._client.call("GET", f"/{self._index}/_mapping")[self._index]["mappings"]
        self.types.update(declared_fields(mapping))
        answer = self._client.call(
            "GET", f"/{self._index}/_settings/{_LIMIT}", flat_settings="true", include_defaults="true"
        )
        index = answer[self._index]
        most = int(index.get("settings", {}).get(_LIMIT) or index["defaults"][_LIMIT])
        room = max(0, most - sum(1 for _ in _fields(mapping["properties"])))
        refused = dict(before.refused)
        if before.room is not None and len(new) <= before.room:  # their number is not the reason
            refused |= self._refused_alone({name: kind for name, kind in new.items() if name not in self.types})
        return Limits(as_held=before.as_held, room=room, room_is=f"{_LIMIT} is {most}", refused=refused)

    def _refused_alone(self, new: Mapping[str, FieldType]) -> dict[str, str]:
        refused = {}
        for name, kind in new.items():
            try:
                self.declare({name: kind})
            except SearchIndexError as error:
                if error.status != HTTPStatus.BAD_REQUEST:
                    raise
                refused[name] = f"the server refused to declare it: {shortened(error)}"
        return refused


def _fields(properties: Mapping[str, Any]) -> Iterator[str]:
    """Yield everything that counts as a field, including objects and parts of fields."""
    for name, declared in properties.items():
        yield name
        for inside in ("properties", "fields"):
            yield from _fields(declared.get(inside, {}))


def check_pipelines(client: Client, place: Place) -> None:
    """Check that no ingest pipeline is missing, without which all documents would be rejected.

    :raises UnfitIndex: names the pipeline.
    """
    for setting, name in pipelines_of(place.settings).items():
        with contextlib.suppress(AccessDenied):  # without the right to read it, the first documents show it
            path = f"/_ingest/pipeline/{quote(name, safe='')}"
            if name not in client.call("GET", path, ignore=HTTPStatus.NOT_FOUND.value):
                raise UnfitIndex(
                    f"{place.address}: the ingest pipeline {name!r} ({setting}) is not on the server, so every "
                    f"document would be refused; make it (hybrid-search deploy, for towers in the cluster), or take "
                    f'the setting back: PUT /{place.address.index}/_settings {{"{setting}": null}}'
                )


@contextlib.contextmanager
def dropped_if_unfit(client: Client, index: str) -> Iterator[None]:
    """Delete an index that was just created if the block raises :class:`UnfitIndex`, as it can't be used."""
    try:
        yield
    except UnfitIndex:
        client.call("DELETE", f"/{index}", ignore=HTTPStatus.NOT_FOUND.value)
        raise
