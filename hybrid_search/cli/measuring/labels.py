"""``hybrid-search labels``: judgements out of what people clicked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hybrid_search.cli.options import allow_rejected_option, dead_letter_option, format_option, rejecting
from hybrid_search.cli.output import facts, say

if TYPE_CHECKING:
    from hybrid_search.loaders.allowance import Allowance

__all__ = ["command"]


@click.command("labels")
@click.argument(
    "logs", metavar="LOG...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "-o", "--out", "folder", required=True, type=click.Path(path_type=Path, file_okay=False),
    help="The data set's folder: queries.jsonl is added to, qrels/SPLIT.tsv is written.",
)  # fmt: skip
@click.option("--split", default="clicks", show_default=True, help="What the judgements are called.")
@click.option(
    "--min-clicks", type=click.IntRange(1), default=2, show_default=True,
    help="Fewest people who clicked a document.",
)  # fmt: skip
@click.option(
    "--eta", type=click.FloatRange(0, 4), default=1.0, show_default=True,
    help="How fast attention falls with the rank: a click at rank r counts r to the power of this; 0: all alike.",
)  # fmt: skip
@click.option("--cap", type=click.FloatRange(1), default=10.0, show_default=True, help="Largest weight of a click.")
@click.option("--levels", type=click.IntRange(1, 10), default=3, show_default=True, help="Largest grade.")
@click.option(
    "--action", "actions", multiple=True, default=("click",), show_default=True,
    help="Events of UBI that are clicks; may be repeated.",
)  # fmt: skip
@dead_letter_option
@allow_rejected_option("1%")
@format_option
def command(
    logs: tuple[Path, ...], folder: Path, split: str, min_clicks: int, eta: float, cap: float, levels: int,
    actions: tuple[str, ...], dead_letter: Path, allow_rejected: Allowance, form: str,
) -> None:  # fmt: skip
    """Turn logs of use into judgements for train, refit, tune and evaluate.

    A LOG has JSON lines: {"query", "shown": [ids], "clicked": [ids], "client"}, judgements {"query", "document",
    "grade"}, or entries of OpenSearch's ubi_queries and ubi_events. Clicks are weighted by the inverse of how likely
    somebody looks as far down as their rank; each person counts once.

    \b
    Examples:
      hybrid-search labels clicks.jsonl --out ./my-data
      hybrid-search labels ubi_queries.jsonl ubi_events.jsonl --out ./my-data --min-clicks 5
    """  # noqa: D301
    from hybrid_search.loaders.labels import LabelRules, labels_of
    from hybrid_search.loaders.use_log import read_use_log
    from hybrid_search.training.labels import write_labels

    with rejecting(dead_letter, allow_rejected) as reject:
        log = read_use_log(logs, reject, actions=actions)
        labels = labels_of(log, LabelRules(min_clicks=min_clicks, eta=eta, cap=cap, levels=levels))
        file = write_labels(folder, split, labels.queries, labels.judgements) if labels.queries else None
        facts(
            {
                "file": str(file or ""),
                "queries": len(labels.queries),
                "judgements": len(labels.judgements),
                "searches": labels.searches,
                "clicks": labels.clicks,
                "too_few_clicks": labels.too_few,
                "other_events": log.ignored,
                "clicks_without_their_search": log.unmatched,
                "clicks_not_shown": log.not_shown,
                "rejected": reject.count,
            },
            form,
        )
        if file is None:
            say(f"Nothing was written: no document was clicked by {min_clicks} people for one query.")
        elif not any(folder.glob("documents.*")):
            say(f"With the documents as documents.jsonl beside them, {folder} is a data set of the loader jsonl.")
