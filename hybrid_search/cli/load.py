"""``hybrid-search load``: load documents into an index."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hybrid_search.cli.documents import fields_option, types_of
from hybrid_search.cli.options import (
    MODEL,
    bm25_of,
    bm25_options,
    dataset_argument,
    format_option,
    fusion_of,
    fusion_options,
    language_option,
    opened_dataset,
    say_not_read,
)
from hybrid_search.cli.output import facts, progress, say, some
from hybrid_search.cli.server_load import ends_cleanly, server_load_of, server_load_options
from hybrid_search.cli.server_options import layout_of, layout_options, pipeline_options
from hybrid_search.cli.swapped import alias_options, gate_of, load_and_swap, say_declared, shown
from hybrid_search.errors import DataError, UsageError
from hybrid_search.settings.index import Fusion

if TYPE_CHECKING:
    from hybrid_search.loaders.intake import Intake
    from hybrid_search.loading.load import LoadReport
    from hybrid_search.protocols import Dataset
    from hybrid_search.settings.index import FieldType

__all__ = ["command"]

_MUCH = 0.1


@click.command("load")
@dataset_argument
@click.option(
    "--model",
    type=MODEL,
    help="The towers that make the vectors. Left out: those of the existing index.",
)
@click.option("--lexical-only", is_flag=True, help="Make an index without vectors, which BM25 alone searches.")
@click.option(
    "--to",
    "location",
    required=True,
    metavar="LOCATION",
    help="The index: a folder such as ./index, or opensearch://host:9200/name.",
)
@fields_option
@language_option
@click.option(
    "--faiss",
    metavar="FACTORY",
    help="A FAISS index_factory string such as Flat, HNSW32, SQ8 or IVF1024,PQ32.  [default: auto, which is exact "
    "below 200,000 vectors and HNSW32 above]",
)
@click.option("--recreate", is_flag=True, help="Build anew, and put it in the place of an existing index at the end.")
@click.option(
    "--sync",
    is_flag=True,
    help="At the end, delete the documents that the data set does not have any more; nothing is deleted where a record "
    "of it could not be read.",
)
@click.option(
    "--despite-rejected",
    is_flag=True,
    help="With --sync: delete even where records or files could not be read; their documents go, too.",
)
@click.option(
    "--yes",
    is_flag=True,
    help="With --sync: do not ask, even where more than a tenth of the index goes; with --alias or --gate: put an "
    "index of fewer than nine tenths of the documents in the live one's place.",
)
@click.option(
    "--no-weigh",
    "weigh",
    flag_value=False,
    default=True,
    help="Do not spend time on choosing the weights of BM25 and k-NN for a new index; the next load without this does. "
    "--bm25-weight sets them.",
)
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

    A new index takes the model for English that comes with the package (docs/en.md), if --model names no other and
    --lexical-only is not said. Doing it again is harmless: documents that are there already are skipped, changed ones
    replaced. After a kill, run the same command again; on a server with --resume, which does not look at what was
    acknowledged.

    \b
    Examples:
      hybrid-search load files --path ./docs --to ./index
      hybrid-search load jsonl --path ./my-data --model ./model --to ./index
      hybrid-search load jsonl --path ./my-data --model ./model --to opensearch://localhost:9200/passages --force-merge
      hybrid-search load jsonl --path ./my-data --model ./model --alias passages --to opensearch://localhost:9200
    """  # noqa: D301
    from hybrid_search.loading.load import load
    from hybrid_search.opening import is_on_server

    allow, model = given.pop("allow_rejected"), given.pop("model")
    alias, recall = given.pop("alias"), given.pop("least_recall")
    sync, yes, despite = given.pop("sync"), given.pop("yes"), given.pop("despite_rejected")
    if despite and not sync:
        raise UsageError("--despite-rejected is for --sync; leave it out")
    if sync:
        _check_sync(path, alias)
    in_folder = given["recreate"] and not sync and not is_on_server(location)
    gate = gate_of(given.pop("gate"), alias, stage=given.pop("stage"), may_be_smaller=yes, in_folder=in_folder)
    given["server"] = server_load_of(given, path, dataset_config)
    towers = _towers(location, alias, model, lexical_only=given["lexical_only"])
    with ends_cleanly(), opened_dataset(dataset, path, dataset_config, dead_letter, allow, towers) as (opened, reject):
        source = opened
        if declared := types_of(given["fields"]):
            opened = _in_types(opened, declared)
        if alias is not None:
            from hybrid_search.loading.blue_green import alias_address  # imports the client library, so only if needed

            address = alias_address(location, alias)
            load_and_swap(opened, address, recall, form, model=model, options=_options(given), reject=reject, gate=gate)
        elif sync:
            options = _options(given)
            _load_in_sync(
                opened, location, form, dead_letter, yes=yes, reject=reject, model=model, options=options,
                despite_rejected=despite,
            )  # fmt: skip
        else:
            report = load(
                opened, location, model=model, options=_options(given), reject=reject, progress=progress, gate=gate
            )
            _print(report, form, reject)
        say_not_read(source)


def _towers(location: str, alias: str | None, model: Path | None, *, lexical_only: bool) -> Path | None:
    """Return the towers that will read the documents; None if they are unknown here, which the load itself says."""
    from hybrid_search.errors import HybridSearchError
    from hybrid_search.opening import model_of_new, own_towers

    if model is not None or lexical_only:
        return model
    try:
        if alias is not None:
            from hybrid_search.loading.blue_green import alias_address

            location = str(alias_address(location, alias))
        return own_towers(location) or model_of_new(location, None, lexical_only=False)
    except HybridSearchError:
        return None


def _in_types(dataset: Dataset, declared: Mapping[str, FieldType]) -> Dataset:
    """Return a data set whose metadata are read as the declared types."""
    from hybrid_search.loading.sources import Corpus, in_types

    return Corpus(dataset.name, lambda: in_types(dataset.documents(), declared), dataset.report)


def _check_sync(path: Path | None, alias: str | None) -> None:
    """Refuse --sync with options that make it pointless or unsafe.

    :raises UsageError: with advice.
    """
    from hybrid_search.loaders.opening import is_stream

    if alias is not None:
        raise UsageError("--alias makes a new index, which has what the data set has and no more; leave --sync out")
    if path is not None and is_stream(path):
        raise UsageError(
            f"--path {path}: a stream may end early unnoticed, and --sync would delete what did not come; write it to "
            f"a file first"
        )


def _load_in_sync(
    dataset: Dataset, location: str, form: str, dead_letter: Path, *, yes: bool, reject: Intake, **given: Any
) -> None:
    from hybrid_search.loading.sync import load_in_sync

    was_asked = False

    def may_remove(count: int, before: int) -> bool:
        nonlocal was_asked
        was_asked = True
        what = "passages" if dataset.report().get("passages") else "documents"
        question = f"{count:,} of {before:,} {what} are not in the data set any more. Delete them?"
        return yes or (sys.stdin.isatty() and click.confirm(question, err=True))

    synced = load_in_sync(dataset, location, reject=reject, may_remove=may_remove, progress=progress, **given)
    _print(synced.load, form, reject, removed=synced.removed)
    if synced.not_synced:
        reason = f"{location}: the data set is loaded, and nothing was removed: {synced.not_synced}"
        if was_asked:
            raise UsageError(f"{reason}; say --yes to remove them")
        advice = f"; rejected records are in {dead_letter}; mend them, or say --despite-rejected to remove all the same"
        raise DataError(f"{reason}{advice}" if reject.count else reason)
    what = some(synced.removed, "document")
    if synced.load.read.get("passages"):
        what = f"{some(synced.removed, 'passage')} of {some(synced.of_documents, 'document')}"
    say(f"Removed {what} not in the data set any more.")


def _print(report: LoadReport, form: str, reject: Intake, **more: int) -> None:
    before = int(report.server.get("rejected_before", 0))
    # The number includes records rejected by the loader.
    facts(shown(report, form) | {"rejected": reject.count + before} | more, form)
    say_declared(report)
    if report.language not in ("", "en"):
        say(f"BM25 tells words apart as {report.language} (--language).")
    if report.unknown > _MUCH:
        say(
            f"The towers know no piece of {report.unknown:.0%} of the words of the first texts, so their vectors say "
            "little; train towers on these texts, or search by BM25 alone (--lexical-only)."
        )
    if _is_unlike_words(report) and report.in_pieces > report.unknown:
        say(
            f"The towers read {report.in_pieces:.0%} of the words of the first texts in pieces, as they do ids and "
            "languages that they don't know: their vectors say little. Unless you or the model say otherwise, BM25 "
            "gets nearly all of the weight. Judged queries tell more: hybrid-search refit."
        )
    if report.cut:
        have = "has" if report.cut == 1 else "have"
        say(
            f"{report.cut:,} of the documents added {have} more tokens than the towers read; what comes after these "
            "is found by BM25 alone. `--config passages` of files and jsonl cuts them."
        )
    if told := _of_weights(report):
        say(told)
    if passages := report.read.get("passages"):
        documents = some(report.read["documents"], "document")
        say(f"Read {documents} in {some(passages, 'passage')}, which the index counts.")
    from hybrid_search.loaders.dataset import not_read

    if passed_over := not_read(report.read):
        say(f"Not read: {passed_over}.")
    if before:
        say(f"{before:,} of the rejected were so before the load was interrupted; that run wrote them down.")


def _is_unlike_words(report: LoadReport) -> bool:
    from hybrid_search.towers.coverage import MOSTLY

    return report.in_pieces + report.unknown > MOSTLY


def _of_weights(report: LoadReport) -> str:
    """Say which weights the legs of a new index have, and why; empty if there was nothing to choose."""
    if report.weights is None:
        return ""
    legs = "BM25 has {:.2f} of the weight and k-NN {:.2f}".format(*report.weights)
    if report.weighed_by:
        return (
            f"{legs}: the best on {report.weighed_by:,} queries made of these documents. Judged queries tell more: "
            "hybrid-search refit."
        )
    if report.not_weighed:
        return (
            f"{legs}, as before; better ones were not chosen: {report.not_weighed}. The next load tries again; "
            "hybrid-search refit does it by judged queries."
        )
    return f"{legs}." if _is_unlike_words(report) else ""


def _options(given: dict[str, Any]) -> Any:
    from hybrid_search.loading.load import LoadOptions

    fusion_given = any(
        given[n] is not None for n in ("method", "combination", "bm25_weight", "window", "rank_constant")
    )
    fusion = fusion_of(Fusion(), given)
    return LoadOptions(
        bm25=bm25_of(given.pop("bm25_k1"), given.pop("bm25_b")),
        fusion=fusion if fusion_given else None,
        fields=types_of(given.pop("fields")),
        layout=layout_of(given),
        **given,
    )
