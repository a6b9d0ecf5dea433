"""``hybrid-search load``: documents into an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from hybrid_search.cli.options import (
    bm25_of,
    bm25_options,
    dataset_argument,
    format_option,
    fusion_of,
    fusion_options,
    opened_dataset,
)
from hybrid_search.cli.output import facts, progress, say
from hybrid_search.cli.server_load import ends_cleanly, server_load_of, server_load_options
from hybrid_search.cli.server_options import layout_of, layout_options, pipeline_options
from hybrid_search.cli.swapped import alias_options, load_and_swap
from hybrid_search.errors import UsageError
from hybrid_search.settings.index import FieldType, Fusion

__all__ = ["command"]


@click.command("load")
@dataset_argument
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="The towers that make the vectors. Left out: those of the existing index; a new index is then BM25 only.",
)
@click.option(
    "--to",
    "location",
    required=True,
    metavar="LOCATION",
    help="The index: a folder such as ./index, or opensearch://host:9200/name.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME:TYPE",
    help="Declare a metadata field (keyword, long, double, boolean); others are declared by their first value.",
)
@click.option(
    "--faiss",
    metavar="FACTORY",
    help="A FAISS index_factory string such as Flat, HNSW32, SQ8 or IVF1024,PQ32.  [default: auto, which is Flat below "
    "200,000 vectors and HNSW32 above]",
)
@click.option("--recreate", is_flag=True, help="Build anew, and put it in the place of an existing index at the end.")
@click.option("--threads", default=0, help="Encoding threads, 0 for all cores.")
@alias_options
@server_load_options
@layout_options
@pipeline_options
@bm25_options
@fusion_options
@format_option
def command(
    dataset: str, path: Path | None, dataset_config: str, dead_letter: Path, location: str, form: str, **given: Any
) -> None:
    """Load a data set's documents into an index, with the vectors of the document tower.

    Doing it again is harmless: documents that are there already are skipped, changed ones replaced. After a kill,
    run the same command again; on a server with --resume, which does not look at what was acknowledged.

    \b
    Examples:
      hybrid-search load jsonl --path ./my-data --model ./model --to ./index
      hybrid-search load jsonl --path ./my-data --model ./model --to opensearch://localhost:9200/passages --force-merge
      hybrid-search load jsonl --path ./my-data --model ./model --alias passages --to opensearch://localhost:9200
    """  # noqa: D301
    from hybrid_search.loading.load import load

    allow, model = given.pop("allow_rejected"), given.pop("model")
    alias, recall = given.pop("alias"), given.pop("least_recall")
    given["server"] = server_load_of(given, path, dataset_config)
    with ends_cleanly(), opened_dataset(dataset, path, dataset_config, dead_letter, allow) as (opened, reject):
        if alias is not None:
            from hybrid_search.loading.blue_green import alias_address  # the client library only where it is needed

            address = alias_address(location, alias)
            load_and_swap(opened, address, recall, form, model=model, options=_options(given), reject=reject)
            return
        report = load(opened, location, model=model, options=_options(given), reject=reject, progress=progress)
        values = msgspec.to_builtins(report)
        before = int(report.server.get("rejected_before", 0))
        # Those that the loader refused count too.
        facts(values | values.pop("server") | {"rejected": reject.count + before}, form)
        if report.cut:
            say(
                f"{report.cut:,} of the documents added have more tokens than the towers read; what comes after these "
                "is found by BM25 alone."
            )
        if before:
            say(f"{before:,} of the rejected were so before the load was interrupted; that run wrote them down.")


def _options(given: dict[str, Any]) -> Any:
    from hybrid_search.loading.load import LoadOptions

    fusion_given = any(
        given[n] is not None for n in ("method", "combination", "bm25_weight", "window", "rank_constant")
    )
    fusion = fusion_of(Fusion(), given)
    return LoadOptions(
        bm25=bm25_of(given.pop("bm25_k1"), given.pop("bm25_b")),
        fusion=fusion if fusion_given else None,
        fields=dict(_field(text) for text in given.pop("fields")),
        layout=layout_of(given),
        **given,
    )


def _field(text: str) -> tuple[str, Any]:
    name, _, kind = text.partition(":")
    if not name or kind not in get_args(FieldType):
        raise UsageError(f"--field {text!r}: write NAME:TYPE with a type of {', '.join(get_args(FieldType))}")
    return name, kind
