"""The option ``--alias``, and what verbs with it do and print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from hybrid_search.cli.output import facts, progress, say

if TYPE_CHECKING:
    from hybrid_search.loading.blue_green import Swap
    from hybrid_search.loading.load import LoadOptions
    from hybrid_search.location import Address
    from hybrid_search.protocols import Dataset
    from loaders.intake import Intake

__all__ = ["alias_options", "load_and_swap", "print_swap"]

F = TypeVar("F", bound=Callable[..., Any])


def alias_options(function: F) -> F:
    """Add --alias and --least-recall."""
    for decorator in (
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


def load_and_swap(
    dataset: Dataset,
    address: Address,
    least_recall: float,
    form: str,
    *,
    model: Path | None,
    options: LoadOptions,
    reject: Intake,
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
        progress=progress,
    )
    before = int(swap.load.server.get("rejected_before", 0))
    print_swap(swap, address, form, {"rejected": reject.count + before})


def print_swap(swap: Swap, address: Address, form: str, changes: Mapping[str, Any] | None = None) -> None:
    """Print what was loaded, checked and swapped, and on stderr how to undo it.

    :param changes: figures of the load that the caller knows better.
    """
    values = msgspec.to_builtins(swap.load)
    values |= values.pop("server") | dict(changes or {})
    if not values["read"]:  # documents of an index: no reader counted anything
        del values["read"]
    values |= {"alias": swap.alias, "index": swap.index, "replaced": swap.replaced}
    if form == "table":
        values |= {f"check: {check.name}": check.told for check in swap.checks}
    else:
        values["checks"] = msgspec.to_builtins(swap.checks)
    facts(values, form)
    if swap.deployed:
        say(f"towers of {swap.index} deployed in the cluster")
    if swap.replaced:
        say(f"{swap.alias} now stands for {swap.index}. Back to {swap.replaced}: hybrid-search rollback {address}")
    else:
        say(f"{swap.alias} now stands for {swap.index}, its first index: hybrid-search query ... --from {address}")
