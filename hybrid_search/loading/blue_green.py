"""Blue/green loading: load into a new index, check it, then move the alias to it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from hybrid_search.analysis import analyzer_of, seen_in
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index import (
    Mark,
    ServerIndex,
    change_mark,
    create_marked,
    delete_index,
    find_deployment,
    inherited,
    list_indexes,
    live_index,
    mark_of,
    names_on,
    next_name,
    note_live,
    settled,
    swap,
)
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.errors import IndexNotFound, SearchIndexError, UsageError
from hybrid_search.in_cluster.deploy import deploy_like
from hybrid_search.loading.checks import LEAST_RECALL, MOST_REJECTED, SAMPLE, Check, Expected, check_index
from hybrid_search.loading.gate import Gate, against, not_fewer
from hybrid_search.loading.load import LoadOptions, LoadReport, load, texts_of, with_first
from hybrid_search.loading.sources import Corpus, Reservoir, in_types
from hybrid_search.loading.sync import Rejecting
from hybrid_search.loading.target import options_of_next, settings_of_new
from hybrid_search.location import Address
from hybrid_search.opening import digest_of_model, model_of_new, own_towers
from hybrid_search.protocols import Dataset, Progress, silent
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.server import ServerOptions
from hybrid_search.types import Rejection

__all__ = [
    "RefusedIds",
    "Swap",
    "alias_address",
    "begin",
    "bring_towers",
    "check_towers_can_follow",
    "go_live",
    "load_behind_alias",
    "take_over",
]


@dataclass(frozen=True, slots=True)
class Swap:
    """The result of a load behind an alias.

    :ivar replaced: the index that was live before; empty for a new alias.
    :ivar deployed: whether the new index's towers were deployed in the cluster, as those of the previous one are.
    :ivar is_staged: the alias has not moved: :func:`go_live` moves it.
    """

    alias: str
    index: str
    replaced: str
    checks: Sequence[Check]
    load: LoadReport
    deployed: bool = False
    is_staged: bool = False


def alias_address(location: str, alias: str | None) -> Address:
    """Return the address of an alias, which is named in the location, by ``alias``, or by both alike.

    :raises UsageError: if no alias is named, or two different ones, or the location is not on a server.
    """
    given = Address.parse_server(location)
    if alias and given.index and alias != given.index:
        raise UsageError(f"{location} names {given.index!r} and alias {alias!r}; give the server, or the same name")
    if not (alias or given.index):
        raise UsageError(f"{location}: which alias? give alias=NAME, or {location.rstrip('/')}/NAME")
    return given.at(alias or given.index)


def load_behind_alias(
    dataset: Dataset,
    address: Address,
    *,
    model: Path | None = None,
    options: LoadOptions | None = None,
    reject: Rejecting | None = None,
    least_recall: float = LEAST_RECALL,
    most_rejected: float = MOST_REJECTED,
    gate: Gate | None = None,
    progress: Progress = silent,
) -> Swap:
    """Load a data set into a new index, check it, and move the alias to it atomically.

    A load that was killed is continued in its index if the data set's name, ``options.server.source`` and the model are
    the same; with ``options.recreate`` that index is dropped instead. What the live index was declared with is taken
    over unless the options say otherwise (:func:`~hybrid_search.loading.options.taken_over`).

    :param address: of the alias.
    :param model: None for the towers of the live index, if there is one.
    :param least_recall: minimum recall of the graph, 0..1; below it the new index does not go live.
    :param most_rejected: maximum share of rejected records, 0..1; above it the new index does not go live.
    :param reject: called with each document that the index rejects; also counts the records that the reader rejected.
    :param gate: how the new index is compared with the live one; None for its number of documents alone.
    :raises SearchIndexError: if a check fails; the alias then stays where it was, and the new index is kept.
    :raises IndexExists: if there is an index with the alias's name.
    :raises UsageError: if the live index's towers are behind a connector, and the new one's are not deployed yet; if
        there is no live index, no model and no ``options.lexical_only``.
    """
    options = options or LoadOptions()
    reservoir = Reservoir(SAMPLE)
    refused = RefusedIds(reject)
    with contextlib.closing(Client(address)) as client:
        given, model = model, model or _towers_of_next(client, address, options)
        asked, taken = options, tuple[str, ...]()
        if live := _indexes(client, address.index)[0]:
            options, taken = options_of_next(str(address.at(live)), model, options, layout=False)
        documents, settings = in_types(dataset.documents(), options.beyond(asked)), settings_of_new(model, options)
        if options.language is None:
            documents, first = with_first(documents)
            settings = settings.replace(analyzer=analyzer_of(seen_in(texts_of(first, options.fields))))
        source = f"{dataset.name} {options.server.source}".strip()
        name = begin(client, address.index, settings, source, anew=options.recreate, layout=options.layout, model=model)
        check_towers_can_follow(client, address.index, address.at(name), given)
        report = load(
            Corpus(dataset.name, reservoir.watching(lambda: documents), dataset.report),
            str(address.at(name)),
            model=model,
            options=replace(options, recreate=False),
            reject=refused,
            progress=progress,
        )
        report = replace(report, taken_over=taken)
        before = int(report.server.get("rejected_before", 0))
        expected = Expected(
            documents=report.added + report.unchanged,
            rejected=refused.count + before,
            sample=reservoir.sample,
            refused=refused.ids,
            refused_before=before,
            least_recall=least_recall,
            most_rejected=most_rejected,
        )
        return take_over(client, address, name, report, expected, gate)


def _towers_of_next(client: Client, address: Address, options: LoadOptions) -> Path | None:
    """Return the towers of an alias's next index if none are given; None for an index without vectors."""
    if options.lexical_only:
        return None
    live, _ = _indexes(client, address.index)
    if live is None:
        return model_of_new(str(address), None, lexical_only=False)
    return own_towers(str(address.at(live)))


def begin(
    client: Client,
    alias: str,
    settings: IndexSettings,
    source: str,
    *,
    anew: bool,
    layout: ServerOptions | None = None,
    model: Path | None = None,
) -> str:
    """Create the next index of an alias, or find the one that a killed load left; return its name.

    Options of the server (shards, replicas, the graph) are copied from the live index.

    :param layout: options that differ from those.
    :param model: its towers will be stored with the index.
    :param anew: drop an index that a killed load left.
    :raises IndexExists: if there is an index with the alias's name.
    :raises UsageError: if the alias stands for an index that this package did not make.
    """
    live, indexes = _indexes(client, alias)
    for one in indexes:
        if _goes_on(one, alias, settings.fingerprint, source):
            if not anew:
                return one.name
            delete_index(client, one.name)
    name = next_name(alias, names_on(client))
    layout = layout or ServerOptions()
    server = inherited(client, live, layout, vectors=bool(settings.dimension)) if live else layout
    create_marked(client, name, settings, server, Mark(alias=alias, source=source), digest_of_model(model))
    return name


def _indexes(client: Client, alias: str) -> tuple[str | None, list[ServerIndex]]:
    """Return the live index, and all indexes."""
    live, indexes = live_index(client, alias), list_indexes(client)
    if live and live not in {one.name for one in indexes}:
        raise UsageError(f"{alias} stands for {live}, which hybrid-search did not make; choose another alias")
    return live, indexes


def _goes_on(one: ServerIndex, alias: str, fingerprint: str, source: str) -> bool:
    """Return whether this same load began or finished an index, which has not been live yet."""
    mark = one.mark
    if mark is None or one.aliases or mark.went_live or mark.state == "failed":
        return False
    return (mark.alias, mark.source, one.fingerprint) == (alias, source, fingerprint)


def take_over(
    client: Client, address: Address, name: str, report: LoadReport, expected: Expected, gate: Gate | None = None
) -> Swap:
    """Check an index and move the alias to it; before, deploy its towers if those of the live index are deployed.

    :raises SearchIndexError: if a check fails, or the alias is moved by others at the same time.
    """
    gate = gate or Gate()
    alias, health, at = address.index, settled(client, name), str(address.at(name))
    with OpenSearchEngine.open(at) as engine:
        checks = [Check("shards", health != "red", health), *check_index(engine, expected)]
    live = live_index(client, alias)
    is_sound = all(check.passed for check in checks)
    if is_sound and live and live != name:
        checks.append(not_fewer(client, live, name, gate))
        if gate.judged is not None:
            checks.append(against(str(address.at(live)), at, gate.judged))
    if failed := [check for check in checks if not check.passed]:
        if not is_sound:  # else the same load goes on in it, for example with the permission to be smaller
            change_mark(client, name, lambda mark: mark.with_state("failed"))
        reasons = "; ".join(f"{check.name}: {check.told}" for check in failed)
        raise SearchIndexError(
            f"{name} is not fit to go live: {reasons}. {_still(alias, live)} "
            f"Look at it with hybrid-search info {at}, or drop it with hybrid-search drop {at} --yes"
        )
    if gate.stage and live != name:
        change_mark(client, name, lambda mark: mark.with_state("ready"))
        return Swap(alias, name, live or "", checks, report, is_staged=True)
    replaced, deployed = _moved(client, address, name, live)
    return Swap(alias, name, replaced, checks, report, deployed)


def _moved(client: Client, address: Address, name: str, live: str | None) -> tuple[str, bool]:
    """Move the alias to a checked index; return which was live before, and whether towers were deployed."""
    alias, mark, deployed = address.index, mark_of(client, name), False
    if live != name:  # else a concurrent load of the same data was faster
        if live:  # searches by text must work without interruption
            deployed = bring_towers(client, address.at(name), live)
        before = mark_of(client, live).history if live else ()
        mark = mark.after(live, before)
        change_mark(client, name, lambda mark: mark.after(live, before))
        swap(client, alias, live, name)
    note_live(client, name)
    return next(iter(mark.history), ""), deployed


def go_live(address: Address, name: str = "") -> dict[str, object]:
    """Move an alias to an index that was staged.

    :param address: of the alias.
    :param name: the index; empty for the newest that is staged.
    :return: the alias, the index, the one that it replaced, and whether its towers were deployed.
    :raises IndexNotFound: if no index is staged, or not this one.
    :raises SearchIndexError: if its shards are lost, or the alias is moved by others at the same time.
    """
    alias = address.index
    with contextlib.closing(Client(address)) as client:
        live, indexes = _indexes(client, alias)
        staged = [one for one in indexes if _is_staged(one, alias) and name in ("", one.name)]
        if not staged:
            which = f"{name} is not staged" if name else "nothing is staged"
            raise IndexNotFound(
                f"{address}: {which}; load or reindex behind the alias with `stage` first, or go back to an index that "
                f"was live with hybrid-search rollback {address}"
            )
        chosen = max(staged, key=lambda one: one.name)
        if chosen.health == "red":
            raise SearchIndexError(
                f"{chosen.name} has shards that are lost, so it can't go live; {_still(alias, live)}"
            )
        replaced, deployed = _moved(client, address, chosen.name, live)
    return {"alias": alias, "index": chosen.name, "replaced": replaced, "deployed": deployed}


def _is_staged(one: ServerIndex, alias: str) -> bool:
    mark = one.mark
    return mark is not None and (mark.alias, mark.state) == (alias, "ready") and not (one.aliases or mark.went_live)


def _still(alias: str, live: str | None) -> str:
    return f"{alias} still stands for {live}." if live else f"There is no alias {alias}."


class RefusedIds:
    """Passes rejections on, and keeps the ids of the documents that the index rejected."""

    def __init__(self, reject: Rejecting | None) -> None:
        self.ids: set[str] = set()
        self._reject = reject
        self._seen = 0

    def __call__(self, rejection: Rejection) -> None:
        """Pass on one rejection."""
        self._seen += 1
        with contextlib.suppress(msgspec.DecodeError, KeyError, TypeError):
            self.ids.add(msgspec.json.decode(rejection.record)["id"])
        if self._reject is not None:
            self._reject(rejection)

    @property
    def count(self) -> int:
        """Number of rejections, including those of the data set's reader if known."""
        return self._seen if self._reject is None else self._reject.count


def check_towers_can_follow(client: Client, alias: str, address: Address, model: Path | None) -> None:
    """Refuse, before encoding, an index whose towers can't be deployed when the alias moves.

    Towers behind a connector are served by a process of the user's, which must serve those of the next index, too.

    :param address: of the next index, which exists.
    :param model: for the message; None if the towers are stored on the server.
    :raises UsageError: if the live index's towers are behind a connector, and the next one's are not deployed yet.
    """
    live = live_index(client, alias)
    if not live or live == address.index:
        return
    endpoint = _endpoint(client, live)
    if endpoint and find_deployment(client, address.index) is None:
        towers = f" --model {model}" if model else ""
        raise UsageError(
            f"{live} has its towers at {endpoint}, which serves one model; deploy those of {address.index} first: "
            f"hybrid-search deploy --to {address} --connector URL{towers}; then do the same again, without "
            f"`recreate`"
        )


def bring_towers(client: Client, address: Address, live: str) -> bool:
    """Deploy an index's towers if those of the live index are deployed; return whether they are.

    :param address: of the next index.
    :param live: name of the live index.
    :raises HybridSearchError: as :func:`hybrid_search.in_cluster.deploy.deploy_like`.
    """
    if _endpoint(client, live) and find_deployment(client, address.index) is not None:
        return True  # deployed by the user, as only the user knows where they are served
    return deploy_like(str(address), live) is not None


def _endpoint(client: Client, index: str) -> str:
    deployed = find_deployment(client, index)
    return deployed.endpoint if deployed else ""
