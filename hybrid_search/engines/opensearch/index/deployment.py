"""The record of towers that serve an index from inside the cluster, and the names of all their parts.

It is stored in the index's mapping, in ``_meta.deployment``: users who may search the index may read it, and each index
behind an alias has its own. Names are derived from the index and its *family*: the alias that the index was made for,
or else the index itself. Parts that belong to an index are exchanged with it, in the same step as the alias; parts that
belong to the family stay.

=====================  ==========  =====================================================================
what                   belongs to  how it is called
=====================  ==========  =====================================================================
model group            family      ``hybrid-search-FAMILY``
models                 family      ``FAMILY-query-FINGERPRINT``, ``FAMILY-document-FINGERPRINT``; behind a
                                   connector with ``-remote`` at the end
ingest pipeline        index       ``hybrid-search-INDEX``; the index's ``index.default_pipeline``
search pipeline        index       ``hybrid-search-INDEX``; the index's ``index.search.default_pipeline``
search template        family      ``hybrid-search-FAMILY``
=====================  ==========  =====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

import msgspec

from hybrid_search.engines.opensearch.index import meta
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import CorruptIndex, UsageError

__all__ = [
    "PREFIX",
    "Deployment",
    "State",
    "all_deployments",
    "find_deployment",
    "forget",
    "read_record",
    "readable_record",
    "record_in",
    "remember",
]

PREFIX = "hybrid-search-"
"""Prefix of the names of pipelines, templates and model groups."""

State = Literal["making", "ready", "removing"]

_KEY = "deployment"
_SHOWN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Towers deployed for one index.

    :ivar index: its own name, never an alias.
    :ivar family: the alias that the index was made for; the index's name if there is none.
    :ivar fingerprint: of the model, 64 hexadecimal digits.
    :ivar state: ``ready``, or the step at which a killed ``deploy`` or ``undeploy`` was.
    :ivar model_group: id given by the server, empty until then; so are the next three.
    :ivar query_model: the model that ``neural`` clauses encode with.
    :ivar document_model: the model that encodes documents indexed as text.
    :ivar connectors: of models served outside the cluster: (the query tower's, the document tower's).
    :ivar endpoint: the address of towers outside the cluster; empty for towers in it.
    :ivar replaced: setting of the index -> its value before deployment; None if it was not set.
    :ivar cluster_settings: the same for the cluster's settings.
    """

    index: str
    family: str
    fingerprint: str
    state: State = "making"
    model_group: str = ""
    query_model: str = ""
    document_model: str = ""
    connectors: tuple[str, ...] = ()
    endpoint: str = ""
    replaced: Mapping[str, str | None] = field(default_factory=dict)
    cluster_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group_name(self) -> str:
        """The model group's name."""
        return f"{PREFIX}{self.family}"

    @property
    def ingest_pipeline(self) -> str:
        """The ingest pipeline's name."""
        return f"{PREFIX}{self.index}"

    @property
    def search_pipeline(self) -> str:
        """The search pipeline's name."""
        return f"{PREFIX}{self.index}"

    @property
    def search_template(self) -> str:
        """The stored search template's name."""
        return f"{PREFIX}{self.family}"

    def model_name(self, tower: Literal["query", "document"]) -> str:
        """Return the name of a tower's model; the server numbers its versions within the group.

        Indexes of a family with the same model share the towers, but towers in the cluster are not shared with those
        behind a connector.
        """
        return f"{self.family}-{tower}-{self.fingerprint[:_SHOWN]}{'-remote' if self.endpoint else ''}"

    def but(self, **changes: Any) -> Deployment:
        """Return a copy with the given values changed."""
        return replace(self, **changes)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Read a record; keys of newer versions are ignored.

        :raises CorruptIndex: if it is invalid.
        """
        try:
            return msgspec.convert(record, cls)
        except msgspec.ValidationError as error:
            raise CorruptIndex(
                f"the note of towers in the cluster, _meta.{_KEY}, is not what was written ({error}); look who may "
                f"change the index's mapping, take the note out of it, and deploy again"
            ) from error


def find_deployment(client: Client, name: str) -> Deployment | None:
    """Return the towers that serve an index from inside the cluster; None if there are none, or they are incomplete.

    :param name: of an index, or of an alias that stands for one index.
    :raises IndexNotFound: if there is no such index.
    :raises UsageError: if an alias stands for several.
    """
    found = read_record(client, name)
    return found if found is not None and found.state == "ready" else None


def read_record(client: Client, name: str) -> Deployment | None:
    """Return an index's record, even of an incomplete deployment; otherwise as :func:`find_deployment`."""
    found = client.call("GET", f"/{name}/_mapping")
    if len(found) != 1:
        raise UsageError(f"{name} stands for {len(found)} indexes; name one of {', '.join(sorted(found))}")
    ((index, answer),) = found.items()
    return _own(record_in(answer), index)


def all_deployments(client: Client) -> list[Deployment]:
    """Return every record on a server, ordered by the indexes' names."""
    found = client.call("GET", "/*,-.*/_mapping", filter_path=f"*.mappings._meta.{_KEY}")
    # An invalid record of one index must not keep others from deploying.
    records = (_own(readable_record(found[name]), name) for name in sorted(found))
    return [record for record in records if record is not None]


def remember(client: Client, deployment: Deployment) -> None:
    """Write the record into the index's mapping, without changing other notes."""
    meta.update(client, deployment.index, _KEY, lambda _: asdict(deployment))


def forget(client: Client, index: str) -> None:
    """Remove the record from an index's mapping."""
    meta.update(client, index, _KEY, lambda _: None)


def _own(record: Deployment | None, index: str) -> Deployment | None:
    """Return a record with the name of the index that contains it, whatever name it records."""
    return None if record is None else record.but(index=index)


def readable_record(answer: Mapping[str, Any]) -> Deployment | None:
    """As :func:`record_in`, but None for an invalid record."""
    try:
        return record_in(answer)
    except CorruptIndex:
        return None


def record_in(answer: Mapping[str, Any]) -> Deployment | None:
    """Read the record from an index's part of the answer to ``GET /INDEX/_mapping``; None if there is none.

    :raises CorruptIndex: if it is invalid.
    """
    record = answer["mappings"].get("_meta", {}).get(_KEY)
    return None if record is None else Deployment.of(record)
