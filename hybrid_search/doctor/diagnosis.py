"""Looking a server over: what it can do, what stands in for the rest, its faults and the commands that mend them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hybrid_search.doctor.cluster_checks import CLUSTER_CHECKS
from hybrid_search.doctor.index_checks import INDEX_CHECKS
from hybrid_search.doctor.vitals import Finding, Vitals, gather
from hybrid_search.engines.opensearch.index.aliases import check_shows_all
from hybrid_search.engines.opensearch.index.capabilities import Ability
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.connection_settings import resolved
from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.errors import PartialAlias, UsageError
from hybrid_search.location import Address
from hybrid_search.opening import is_on_server
from hybrid_search.towers.model_card import read_model_card

__all__ = ["Diagnosis", "ModelFacts", "diagnose", "examine"]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What decides whether a model fits an index."""

    path: str
    fingerprint: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a server is like.

    :ivar indexes: the names of those that were looked at.
    """

    server: str
    version: str
    indexes: Sequence[str]
    abilities: Sequence[Ability]
    findings: Sequence[Finding]

    @property
    def errors(self) -> int:
        """How many things do not work."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many things are not as they should be."""
        return sum(finding.severity == "warning" for finding in self.findings)


@taken_apart("its state")
def diagnose(location: str, model: Path | ModelFacts | None = None) -> Diagnosis:
    """Say what a server can do, and what is wrong with it and with one index on it, or all of ours.

    :param location: ``opensearch://host:9200``, or with an index or alias.
    :param model: a checkpoint that the indexes' vectors should have been made with, or what is known of it.
    :raises UsageError: for a folder.
    :raises SearchIndexError: if the server can't be reached.
    :raises UnsupportedCapability: if it is no OpenSearch, or one that is too old.
    """
    if not is_on_server(location):
        raise UsageError(f"{location}: not a server; an index in a folder is checked by: hybrid-search info --verify")
    facts = _facts(model) if isinstance(model, Path) else model
    address = Address.parse_server(location)
    # Diagnosing a server that does not answer should not take minutes.
    connection = replace(resolved(address), retries=1)
    with contextlib.closing(Client(address, connection)) as client:
        vitals = gather(client, address)
    return Diagnosis(
        server=address.server,
        version=vitals.server.shown_version,
        indexes=[index.name for index in vitals.indexes],
        abilities=vitals.server.abilities(),
        findings=examine(vitals, address.index, facts),
    )


def examine(vitals: Vitals, asked: str = "", model: ModelFacts | None = None) -> list[Finding]:
    """Run all checks; pure.

    :param asked: the index or alias that was named.
    """
    findings = [finding for check in CLUSTER_CHECKS for finding in check(vitals)]
    if asked:
        findings += named(vitals, asked)
    for index in vitals.indexes:
        findings += [finding for check in INDEX_CHECKS for finding in check(vitals, index)]
    if model is not None:
        findings += fits(vitals, model)
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def named(vitals: Vitals, asked: str) -> Iterator[Finding]:
    """The name that was asked for stands for no index, for several, or for one that can't be written through it."""
    if not vitals.is_there:
        location = vitals.commands.location(asked)
        yield Finding(
            "name",
            "error",
            asked,
            "there is no index or alias of this name",
            (f"hybrid-search load DATASET --path PATH --model MODEL --to {location}",),
        )
    names = [index.name for index in vitals.indexes]
    if len(names) > 1:
        actions = [{"remove": {"index": name, "alias": asked}} for name in names[:-1]]
        yield Finding(
            "name",
            "error",
            asked,
            f"the alias stands for {', '.join(names)}: it can't be opened",
            (vitals.commands.curl("POST", "/_aliases", {"actions": actions}),),
        )
    for index in vitals.indexes:
        try:
            check_shows_all(asked, index.name, index.aliases.get(asked, {}))
        except PartialAlias as error:
            # Not a command that takes the filter away: whoever pastes it would show what is hidden.
            where = vitals.commands.location(index.name)
            yield Finding(
                "name", "error", asked, str(error), (f"hybrid-search query TEXT --from {where} --filter EXPR",)
            )
    for index in vitals.indexes[:1] if len(names) == 1 else ():
        if index.aliases.get(asked, {}).get("is_write_index") is False:
            action = {"add": {"index": index.name, "alias": asked, "is_write_index": True}}
            yield Finding(
                "name",
                "warning",
                asked,
                f"the alias does not let writes through to {index.name}",
                (vitals.commands.curl("POST", "/_aliases", {"actions": [action]}),),
            )


def fits(vitals: Vitals, model: ModelFacts) -> Iterator[Finding]:
    """The model that was given is not the one that made the vectors."""
    for index in vitals.indexes:
        ours = index.ours or {}
        dimension, fingerprint = int(ours.get("dimension", 0)), str(ours.get("fingerprint", ""))
        reindex = vitals.commands.reindex(index.name, index.aliases, model.path)
        if dimension != model.dimension:
            told = f"its vectors have {dimension} numbers, those of {model.path} have {model.dimension}"
            yield Finding("model", "error", index.name, told, (reindex,))
        elif fingerprint != model.fingerprint:
            told = f"its vectors are of {fingerprint[:12]}, {model.path} is {model.fingerprint[:12]}"
            yield Finding("model", "error", index.name, told, (reindex,))


def _facts(checkpoint: Path) -> ModelFacts:
    card = read_model_card(checkpoint)
    return ModelFacts(str(checkpoint), card.fingerprint, card.tower.dimension)
