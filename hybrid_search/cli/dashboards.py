"""``hybrid-search dashboards``: make an index on a server visible to people in OpenSearch Dashboards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from hybrid_search.cli.options import WithOldName, dataset_argument, format_option, opened_dataset
from hybrid_search.cli.output import facts, progress, say

__all__ = ["command"]

Command = TypeVar("Command", bound=Callable[..., Any])

_from_option = click.option(
    "--from",
    "location",
    required=True,
    metavar="LOCATION",
    help="The index or alias, opensearch://host:9200/name; the panels are about it by this name.",
)


def _out_option(about: str) -> Callable[[Command], Command]:
    return click.option(
        "--out", "-o", "file", required=True, type=click.Path(path_type=Path, dir_okay=False), help=about
    )


@click.group("dashboards")
def command() -> None:
    """Make an index on a server visible to people, in OpenSearch Dashboards.

    \b
    Examples:
      hybrid-search dashboards measure --from opensearch://localhost:9200/passages
      hybrid-search dashboards import --from opensearch://localhost:9200/passages --dashboards-url http://localhost:5601
      hybrid-search query "read a csv file" --from opensearch://localhost:9200/passages --log-queries
    """  # noqa: D301


@command.command("export")
@_from_option
@_out_option("The file to write; its name ends in .ndjson.")
@format_option
def export_command(location: str, file: Path, form: str) -> None:
    """Write the pack: index patterns, saved searches, visualisations and a dashboard, for Dashboards to import.

    \b
    Example:
      hybrid-search dashboards export --from opensearch://localhost:9200/passages -o pack.ndjson
    """  # noqa: D301
    from hybrid_search.dashboards.exports import export_pack

    exported = export_pack(location, file)
    facts({"file": str(exported.file), "index": exported.index, **exported.objects}, form)
    say(
        f"Import it in Dashboards (Dashboards Management, Saved objects), or: "
        f"hybrid-search dashboards import --from {location} --dashboards-url URL"
    )


@command.command("import")
@_from_option
@click.option(
    "--dashboards-url",
    "url",
    required=True,
    metavar="URL",
    help="Dashboards as in the browser, http://localhost:5601. User, password and certificates are said as for a "
    "server, before the command.",
)
@click.option(
    "--tenant", default="", help="Of the security plugin: global, private or a name.  [default: the user's own choice]"
)
@format_option
def import_command(location: str, url: str, tenant: str, form: str) -> None:
    """Import the pack into Dashboards, in the place of what was imported before, and read what became of it.

    \b
    Example:
      hybrid-search dashboards import --from opensearch://localhost:9200/passages --dashboards-url http://localhost:5601
    """  # noqa: D301
    from hybrid_search.dashboards.exports import import_pack

    facts(msgspec.to_builtins(import_pack(location, url, tenant=tenant)), form)


@command.command("measure")
@_from_option
@click.option("--sample", default=2_000, show_default=True, help="Documents drawn at random, 10,000 at most.")
@click.option("--seed", default=0, show_default=True, help="Another one draws other documents.")
@format_option
def measure_command(location: str, sample: int, seed: int, form: str) -> None:
    """Measure a sample of the documents: lengths, words out of vocabulary, norms of vectors; kept in NAME-statistics.

    \b
    Example:
      hybrid-search dashboards measure --from opensearch://localhost:9200/passages --sample 10000
    """  # noqa: D301
    from hybrid_search.dashboards.measure import measure_documents

    measured = measure_documents(location, sample=sample, seed=seed, progress=progress)
    facts(msgspec.to_builtins(measured), form)


@command.command("relevance")
@dataset_argument
@_from_option
@click.option("--split", default="", help="Whose queries.  [default: test, or the data set's last split]")
@click.option("--judgements", "judgement_set", default="", metavar="NAME", help="The set, where there are several.")
@click.option(
    "--pipeline",
    "--search-pipeline",
    "pipeline",
    cls=WithOldName,
    default="",
    metavar="NAME",
    help="A search pipeline with towers in the cluster, for k-NN and hybrid.  [default: vectors in the query set on "
    "3.8 or later; before, deploy's; else BM25 only]",
)
@_out_option("The file to write: requests for Dev Tools.")
@format_option
def relevance_command(
    dataset: str, path: Path | None, dataset_config: str, dead_letter: Path, form: str, **given: str | Path
) -> None:
    """Write a query set, its judgements and search configurations for the plugin Search Relevance.

    \b
    Example:
      hybrid-search dashboards relevance beir --path ./nfcorpus --from opensearch://localhost:9200/nfcorpus -o set.http
    """  # noqa: D301
    from hybrid_search.dashboards.exports import export_relevance
    from hybrid_search.dashboards.relevance import MOST_QUERIES

    with opened_dataset(dataset, path, dataset_config, dead_letter) as (opened, _):
        location, file = str(given["location"]), Path(given["file"])
        written = export_relevance(
            opened,
            location,
            file,
            split=str(given["split"]),
            judgement_set=str(given["judgement_set"]),
            pipeline=str(given["pipeline"]),
        )
    facts({"file": str(file), "queries": written.queries, "configurations": written.configurations}, form)
    if not written.plugin:
        say("This server lacks the plugin opensearch-search-relevance; the requests are for one that has it.")
    if written.queries > MOST_QUERIES:
        say(
            f"A query set holds {MOST_QUERIES:,} queries unless the server is told otherwise; first set "
            f"plugins.search_relevance.query_set.maximum to {written.queries} (PUT /_cluster/settings)."
        )
    if written.configurations == 1:
        say(
            "BM25 only: before 3.8 a text becomes a vector where towers are deployed in the cluster (hybrid-search "
            "deploy), later also where they are stored with the index."
        )
