"""The record of towers that serve an index from inside the cluster, and the names of all that belongs to them.

It lies in the index's own mapping, under ``_meta.deployment``, so that whoever may search the index may read it, and
each index behind an alias has its own. Names follow from those of the index and of its *family*: the alias that the
index was made for, or else the index itself. What belongs to one index is swapped with it, in the same step as the
alias; what belongs to the family stays.

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
"""What the names of pipelines, templates and model groups begin with."""

State = Literal["making", "ready", "removing"]

_KEY = "deployment"
_SHOWN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Towers deployed for one index.

    :ivar index: its own name, never an alias's.
    :ivar family: the alias that the index was made for; the index's name where there is none.
    :ivar fingerprint: of the model, 64 hexadecimal digits.
    :ivar state: ``ready``, or what a killed ``deploy`` or ``undeploy`` was at.
    :ivar model_group: ids that the server gave; empty before. So are the next three.
    :ivar query_model: what ``neural`` clauses encode with.
    :ivar document_model: what documents are encoded with that are indexed as text.
    :ivar connectors: of models that are served from outside the cluster: (the query tower's, the document tower's).
    :ivar endpoint: the address of towers outside the cluster; empty for towers in it.
    :ivar replaced: settings of the index that were other than now, by name; None for one that was not set.
    :ivar cluster_settings: the same of the cluster's.
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
        """Return what a tower's model is called, its version in the group being the server's own count.

        The towers of a family's indexes of one model are shared, but never between those in the cluster and those
        behind a connector.
        """
        return f"{self.family}-{tower}-{self.fingerprint[:_SHOWN]}{'-remote' if self.endpoint else ''}"

    def but(self, **changes: Any) -> Deployment:
        """Return a copy with some values changed."""
        return replace(self, **changes)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Read a record; keys of newer versions are passed over.

        :raises CorruptIndex: if it is not what was written.
        """
        try:
            return msgspec.convert(record, cls)
        except msgspec.ValidationError as error:
            raise CorruptIndex(
                f"the note of towers in the cluster, _meta.{_KEY}, is not what was written ({error}); look who may "
                f"change the index's mapping, take the note out of it, and deploy again"
            ) from error


def find_deployment(client: Client, name: str) -> Deployment | None:
    """Return what serves an index from inside the cluster; None where nothing does, or it is not whole.

    :param name: the index's, or an alias's that stands for one index.
    :raises IndexNotFound: if there is no such index.
    :raises UsageError: if an alias stands for several.
    """
    found = read_record(client, name)
    return found if found is not None and found.state == "ready" else None


def read_record(client: Client, name: str) -> Deployment | None:
    """Return the record of an index, of something half made too; otherwise as :func:`find_deployment`."""
    found = client.call("GET", f"/{name}/_mapping")
    if len(found) != 1:
        raise UsageError(f"{name} stands for {len(found)} indexes; name one of {', '.join(sorted(found))}")
    ((index, answer),) = found.items()
    return _own(record_in(answer), index)


def all_deployments(client: Client) -> list[Deployment]:
    """Return every record on a server, in the order of the indexes' names."""
    found = client.call("GET", "/*,-.*/_mapping", filter_path=f"*.mappings._meta.{_KEY}")
    # One that somebody broke must not keep others from deploying.
    records = (_own(readable_record(found[name]), name) for name in sorted(found))
    return [record for record in records if record is not None]


def remember(client: Client, deployment: Deployment) -> None:
    """Write the record into the index's mapping, all else of which stays."""
    meta.update(client, deployment.index, _KEY, lambda _: asdict(deployment))


def forget(client: Client, index: str) -> None:
    """Take the record out of an index's mapping."""
    meta.update(client, index, _KEY, lambda _: None)


def _own(record: Deployment | None, index: str) -> Deployment | None:
    """Return a record as one of the index that it lies in, whatever index it names."""
    return None if record is None else record.but(index=index)


def readable_record(answer: Mapping[str, Any]) -> Deployment | None:
    """Return what :func:`record_in` does, None too for a record that can't be read."""
    try:
        return record_in(answer)
    except CorruptIndex:
        return None


def record_in(answer: Mapping[str, Any]) -> Deployment | None:
    """Read the record from an index's part of the answer to ``GET /INDEX/_mapping``; None where there is none.

    :raises CorruptIndex: if it can't be read.
    """
    record = answer["mappings"].get("_meta", {}).get(_KEY)
    return None if record is None else Deployment.of(record)
