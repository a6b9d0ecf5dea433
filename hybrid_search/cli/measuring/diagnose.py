"""``hybrid-search diagnose``: what is wrong with an index's vectors, texts and legs, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from hybrid_search.cli.options import format_option, model_option, opened_dataset, optional_dataset_argument
from hybrid_search.cli.output import print_json, print_jsonl, print_table, progress, say
from hybrid_search.errors import UsageError

if TYPE_CHECKING:
    from hybrid_search.evaluation.diagnose import Diagnosis
    from hybrid_search.evaluation.neighbours import Near
    from hybrid_search.loaders.allowance import Allowance

__all__ = ["command"]


@click.command("diagnose")
@click.argument("location", metavar="LOCATION")
@optional_dataset_argument
@model_option
@click.option("--split", default="", help="Whose queries.  [default: test, else dev, else validation]")
@click.option(
    "--judgements", "judgement_set", default="", metavar="NAME", help="The judgement set, where there are several."
)
@click.option("--min-grade", default=1, show_default=True, help="Lowest grade that is relevant.")
@click.option(
    "--near",
    multiple=True,
    metavar="TEXT",
    help="A word, or a document's id, whose nearest words or documents are shown; repeatable.  [default: three "
    "frequent words, and a document]",
)
@format_option
def command(
    location: str,
    dataset: str | None,
    path: Path | None,
    dataset_config: str,
    dead_letter: Path,
    allow_rejected: Allowance,
    form: str,
    *,
    model: Path | None,
    split: str,
    judgement_set: str,
    min_grade: int,
    near: tuple[str, ...],
) -> None:
    """Say what is wrong with an index's vectors, texts and legs, and what to do about it.

    Without DATASET: duplicates, words and texts that the towers don't read, dimensions used, collapse, hubs, what is
    nearest to some words and to a document. With one that has judged queries: answers against random documents,
    agreement of the legs, who wins which queries, what neither leg finds. Vectors are measured on a sample of 5,000.
    doctor looks at a server instead.

    \b
    Examples:
      hybrid-search diagnose ./index
      hybrid-search diagnose ./index --near invoice --near doc-17
      hybrid-search diagnose ./index beir --path ./nfcorpus --split dev
    """  # noqa: D301
    from hybrid_search.evaluation.diagnose import diagnose

    if dataset is None:
        if path is not None or split:
            raise UsageError("--path and --split are of a data set; name its loader after the location, such as jsonl")
        _print(diagnose(location, near=near, model=model, progress=progress), form)
        say("Without judged queries the legs were not compared: name a DATASET that has some.")
        return
    with opened_dataset(dataset, path, dataset_config, dead_letter, allow_rejected) as (opened, _):
        found = diagnose(
            location, opened, split=split, judgement_set=judgement_set, min_grade=min_grade, near=near,
            model=model, progress=progress,
        )  # fmt: skip
        _print(found, form)


def _print(found: Diagnosis, form: str) -> None:
    if form != "table":
        values = msgspec.to_builtins(found)
        print_json(values) if form == "json" else print_jsonl(values["findings"])
        return
    header = ("", "what", "found", "what to do, and examples")
    rows = [
        (one.state, one.name, one.value, "\n".join([*([one.advice] if one.advice else []), *one.examples]))
        for one in found.findings
    ]
    of_queries = f", {found.queries:,} queries of split {found.split}" if found.queries else ""
    print_table(header, rows, title=f"{found.documents:,} documents, {found.sampled:,} in the sample{of_queries}")
    if found.near:
        of_kind = {True: "document", False: "word"}
        alike = [(of_kind[one.is_document], one.to, _listed(one)) for one in found.near]
        print_table(("", "of", "nearest by the towers"), alike)


def _listed(near: Near) -> str:
    if not near.found:
        return "no other document" if near.is_document else "none: no document's id, and no word that the towers know"
    return ", ".join(f"{name} {score:.2f}" for name, score in near.found)
