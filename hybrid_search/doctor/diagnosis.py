"""Diagnoses a server: its abilities and their substitutes, its faults and the commands that repair them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hybrid_search.doctor.cluster_checks import CLUSTER_CHECKS
from hybrid_search.doctor.index_checks import INDEX_CHECKS
from hybrid_search.doctor.vitals import Finding, Vitals, gather
from hybrid_search.engines.opensearch.index import Ability, check_shows_all
from hybrid_search.engines.opensearch.transport import Client, resolved, taken_apart
from hybrid_search.errors import PartialAlias, UsageError
from hybrid_search.location import Address
from hybrid_search.opening import is_on_server
from hybrid_search.towers.model_card import read_model_card

__all__ = ["Diagnosis", "ModelFacts", "diagnose", "examine"]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The properties of a model that decide whether it fits an index."""

    path: str
    fingerprint: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of :func:`diagnose`.

    :ivar indexes: names of the indexes that were checked.
    """

    server: str
    version: str
    indexes: Sequence[str]
    abilities: Sequence[Ability]
    findings: Sequence[Finding]

    @property
    def errors(self) -> int:
        """Number of errors."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Number of warnings."""
        return sum(finding.severity == "warning" for finding in self.findings)


@taken_apart("its state")
def diagnose(location: str, model: Path | ModelFacts | None = None) -> Diagnosis:
    """Check a server, and one index on it or all of ours; it changes nothing.

    :param location: ``opensearch://host:9200``, or with an index or alias.
    :param model: a checkpoint (or its properties) with which the indexes' vectors should have been made; None to skip
        that check.
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


def examine(vitals: Vitals, name: str = "", model: ModelFacts | None = None) -> list[Finding]:
    """Run all checks on the fetched state; returns findings, errors first.

    :param name: the index or alias to be checked; empty for all indexes of ours.
    """
    findings = [finding for check in CLUSTER_CHECKS for finding in check(vitals)]
    if name:
        findings += named(vitals, name)
    for index in vitals.indexes:
        findings += [finding for check in INDEX_CHECKS for finding in check(vitals, index)]
    if model is not None:
        findings += fits(vitals, model)
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def named(vitals: Vitals, name: str) -> Iterator[Finding]:
    """The name stands for no index, for several, or for one that it shows in part or can't be written through."""
    if not vitals.is_there:
        location = vitals.commands.location(name)
        yield Finding(
            "name",
            "error",
            name,
            "there is no index or alias of this name",
            (f"hybrid-search load DATASET --path PATH --model MODEL --to {location}",),
        )
    names = [index.name for index in vitals.indexes]
    if len(names) > 1:
        actions = [{"remove": {"index": index, "alias": name}} for index in names[:-1]]
        yield Finding(
            "name",
            "error",
            name,
            f"the alias stands for {', '.join(names)}: it can't be opened",
            (vitals.commands.curl("POST", "/_aliases", {"actions": actions}),),
        )
    for index in vitals.indexes:
        try:
            check_shows_all(name, index.name, index.aliases.get(name, {}))
        except PartialAlias as error:
            # No command that removes the filter: it would show what the alias hides.
            where = vitals.commands.location(index.name)
            yield Finding(
                "name", "error", name, str(error), (f"hybrid-search query TEXT --from {where} --filter EXPR",)
            )
    for index in vitals.indexes[:1] if len(names) == 1 else ():
        if index.aliases.get(name, {}).get("is_write_index") is False:
            action = {"add": {"index": index.name, "alias": name, "is_write_index": True}}
            yield Finding(
                "name",
                "warning",
                name,
                f"the alias does not let writes through to {index.name}",
                (vitals.commands.curl("POST", "/_aliases", {"actions": [action]}),),
            )


def fits(vitals: Vitals, model: ModelFacts) -> Iterator[Finding]:
    """The given model is not the one that made the vectors."""
    for index in vitals.indexes:
        ours = index.ours or {}
        dimension, fingerprint = int(ours.get("dimension", 0)), str(ours.get("fingerprint", ""))
        reindex = vitals.commands.reindex(index.name, index.aliases, model.path)
        if dimension != model.dimension:
            fault = f"its vectors have {dimension} numbers, those of {model.path} have {model.dimension}"
            yield Finding("model", "error", index.name, fault, (reindex,))
        elif fingerprint != model.fingerprint:
            fault = f"its vectors are of {fingerprint[:12]}, {model.path} is {model.fingerprint[:12]}"
            yield Finding("model", "error", index.name, fault, (reindex,))


def _facts(checkpoint: Path) -> ModelFacts:
    card = read_model_card(checkpoint)
    return ModelFacts(str(checkpoint), card.fingerprint, card.tower.dimension)
