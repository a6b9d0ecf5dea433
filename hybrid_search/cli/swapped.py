"""The option ``--alias``, and what verbs with it do and print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import msgspec

from hybrid_search.cli.output import facts, progress, say
from hybrid_search.errors import UsageError

if TYPE_CHECKING:
    from hybrid_search.loaders.intake import Intake
    from hybrid_search.loading.blue_green import Swap
    from hybrid_search.loading.gate import Gate
    from hybrid_search.loading.load import LoadOptions, LoadReport
    from hybrid_search.location import Address
    from hybrid_search.protocols import Dataset

__all__ = ["alias_options", "gate_of", "load_and_swap", "print_swap", "say_declared", "shown"]

F = TypeVar("F", bound=Callable[..., Any])


def alias_options(function: F) -> F:
    """Add --alias, --least-recall, --gate and --stage."""
    for decorator in (
        click.option(
            "--stage",
            is_flag=True,
            help="With --alias: build and check the new index, and leave the alias as it is; query and evaluate the "
            "index by its name, then `swap`.",
        ),
        click.option(
            "--gate",
            metavar="[LOADER:]PATH",
            help="With --alias, or load --recreate into a folder: a data set with judged queries (jsonl unless another "
            "loader is named), on which the new index must not be significantly worse than the live one.",
        ),
        click.option(
            "--least-recall",
            type=click.FloatRange(0, 1),
            default=0.9,
            show_default=True,
            help="With --alias: share of the exact ten nearest neighbours that the new index's graph must find.",
        ),
        click.option(
            "--alias",
            metavar="NAME",
            help="On a server: write a new index, NAME-000001 and so on, check it, then let the alias NAME stand for "
            "it; --to names the server. A check that fails leaves the alias as it was.",
        ),
    ):
        function = decorator(function)
    return function


def gate_of(
    judged: str | None, alias: str | None, *, stage: bool, may_be_smaller: bool, in_folder: bool = False
) -> Gate:
    """Open the data set of --gate, and return what is to be compared.

    :param in_folder: an index in a folder is to be replaced.
    :raises UsageError: if there is no alias, or no such index.
    """
    if alias is None and (stage or (judged and not in_folder)):
        raise UsageError(
            "--gate and --stage are for an alias, and --gate for load --recreate into a folder; give --alias NAME"
        )
    if alias is None and judged is None:
        return cast("Gate", None)
    from hybrid_search.loaders.registry import available, open_dataset
    from hybrid_search.loading.gate import Gate

    if judged is None:
        return Gate(may_be_smaller, None, stage)
    loader, _, path = judged.partition(":")
    if not path or loader not in available():
        loader, path = "jsonl", judged
    data = open_dataset(loader, Path(path), reject=lambda one: say(f"{one.source}, line {one.line}: {one.reason}"))
    return Gate(may_be_smaller, data, stage)


def load_and_swap(
    dataset: Dataset,
    address: Address,
    least_recall: float,
    form: str,
    *,
    model: Path | None,
    options: LoadOptions,
    reject: Intake,
    gate: Gate,
) -> None:
    """Load behind an alias and print the result. Rejected records don't prevent the swap, unless there are many."""
    from hybrid_search.loading.blue_green import load_behind_alias

    swap = load_behind_alias(
        dataset,
        address,
        model=model,
        options=options,
        reject=reject,
        least_recall=least_recall,
        gate=gate,
        progress=progress,
    )
    before = int(swap.load.server.get("rejected_before", 0))
    print_swap(swap, address, form, {"rejected": reject.count + before})


_LISTS = frozenset({"taken_over", "absent"})
_ALWAYS = frozenset({"documents", "added", "unchanged", "rejected"})


def shown(report: LoadReport, form: str) -> dict[str, Any]:
    """Return a report's values to print; in a table only the counts that a load always has, and what there is to say.

    What a nought or a nothing of the others would mean is no news to a reader, and a program finds it in JSON.
    """
    values = msgspec.to_builtins(report)
    values |= values.pop("server")
    if form == "table":
        return {name: one for name, one in values.items() if one or name in _ALWAYS}
    return {name: one for name, one in values.items() if one or name not in _LISTS}


def say_declared(report: LoadReport) -> None:
    """Say what a new index has from the one that it replaces, and which declared fields no document has."""
    if report.taken_over:
        say(f"Taken over from the index that was there: {', '.join(report.taken_over)}.")
    if report.absent:
        are = "is a declared field" if len(report.absent) == 1 else "are declared fields"
        say(f"{', '.join(report.absent)} {are}, and none of these documents has one.")


def print_swap(swap: Swap, address: Address, form: str, changes: Mapping[str, Any] | None = None) -> None:
    """Print what was loaded, checked and swapped, and on stderr how to undo it.

    :param changes: figures of the load that the caller knows better.
    """
    values = shown(swap.load, form) | dict(changes or {})
    if not values.get("read"):  # documents of an index: no reader counted anything
        values.pop("read", None)
    values |= {"alias": swap.alias, "index": swap.index, "replaced": swap.replaced}
    if form == "table":
        values |= {f"check: {check.name}": check.told for check in swap.checks}
    else:
        values["checks"] = msgspec.to_builtins(swap.checks)
    facts(values, form)
    say_declared(swap.load)
    if swap.is_staged:
        at, still = address.at(swap.index), f"{swap.alias} stands for {swap.replaced or 'nothing'} as before"
        say(
            f"{swap.index} is staged, {still}. Try it: hybrid-search query … --from {at}, or evaluate; then let it go "
            f"live: hybrid-search swap {address}"
        )
        return
    if swap.deployed:
        say(f"towers of {swap.index} deployed in the cluster")
    if swap.replaced:
        say(f"{swap.alias} now stands for {swap.index}. Back to {swap.replaced}: hybrid-search rollback {address}")
    else:
        say(f"{swap.alias} now stands for {swap.index}, its first index: hybrid-search query ... --from {address}")
