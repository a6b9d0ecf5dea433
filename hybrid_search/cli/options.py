"""Options shared by several verbs, as decorators."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
import msgspec

from hybrid_search.analysis import languages
from hybrid_search.cli.output import FORMATS, in_options, say
from hybrid_search.errors import ConfigError, UsageError
from hybrid_search.search import MAX_K
from hybrid_search.second_stage import RERANK_DEPTH
from hybrid_search.settings.base import Setting, meta_of
from hybrid_search.settings.index import Bm25, Combination, Fusion, Normalisation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hybrid_search.loaders.allowance import Allowance
    from hybrid_search.loaders.intake import Intake
    from hybrid_search.loaders.mapping import Fields
    from hybrid_search.protocols import Dataset, Reranker

__all__ = [
    "MODEL",
    "WithOldName",
    "about",
    "allow_rejected_option",
    "bm25_of",
    "bm25_options",
    "chosen_fields",
    "dataset_argument",
    "dead_letter_option",
    "fields_of",
    "format_option",
    "from_option",
    "fusion_of",
    "fusion_options",
    "language_option",
    "measures_of",
    "model_option",
    "opened_dataset",
    "optional_dataset_argument",
    "rejecting",
    "rerank_depth_of",
    "rerank_options",
    "reranker_of",
    "say_not_read",
]

_NAMED = 10

F = TypeVar("F", bound=Callable[..., Any])


def about(settings: type[Setting], name: str) -> str:
    """Return a setting's meaning for its option's help, with the server's default if it has none of its own."""
    kind = next(field.type for field in msgspec.structs.fields(settings) if field.name == name)
    note = meta_of(kind)
    default = (note.extra or {}).get("default")
    return (note.description or "") + (f"  [default: {default}]" if default else "")


class WithOldName(click.Option):
    """An option with a former name (its last one), which still works but is not shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Show only the first name."""
        names = self.opts
        self.opts = names[:1]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = names


format_option = click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print the result."
)


def measures_of(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Parse a list of measures' names; a comma in parentheses belongs to a name."""
    names = (name.strip() for name in re.split(r",(?![^(]*\))", value))
    return tuple(dict.fromkeys(name for name in names if name))


language_option = click.option(
    "--language",
    type=click.Choice([*languages()]),
    help="Whose words BM25 tells apart; cjk for Chinese, Japanese and Korean, any for what is not listed.  "
    "[default: en; load makes that cjk or any where the first texts are plainly not English]",
)
from_option = click.option(
    "--from",
    "location",
    required=True,
    metavar="LOCATION",
    help="The index: a folder such as ./index, or opensearch://host:9200/name.",
)


class _ModelPath(click.Path):
    """A model's folder, or the name of one that comes with the package."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from hybrid_search.towers.shipped import located

        return located(Path(os.fsdecode(super().convert(value, param, ctx))))


MODEL = _ModelPath(path_type=Path)
model_option = click.option(
    "--model",
    type=MODEL,
    help="Towers to use instead of those the index carries; refused unless they are the same.",
)


dead_letter_option = click.option(
    "--dead-letter",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("rejected.jsonl"),
    show_default=True,
    help="Where rejected records go, one JSON line each; written only if there are any, and of this run alone.",
)


def _allowance(context: click.Context, parameter: click.Parameter, value: str) -> Allowance:
    from hybrid_search.loaders.allowance import Allowance

    return Allowance.parse(value)


def allow_rejected_option(default: str, unless: str = "") -> Callable[[F], F]:
    """Add --allow-rejected.

    :param unless: explanation of the default, for the help.
    """
    return click.option(
        "--allow-rejected",
        callback=_allowance,
        metavar="N|P%",
        default=default,
        show_default=True,
        help="How many records, or which share of each file's, may be rejected with no more than a warning; above it "
        f"the exit code is 3, after all else is done.{unless}",
    )


def _loaders(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from hybrid_search.loaders.registry import available

    return [name for name in available() if name.startswith(incomplete)]


_FIELDS = "hybrid_search.fields"


def _chosen(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    # Kept in the context: the verbs pass a data set's options on without looking at these.
    if value is not None:
        context.meta.setdefault(_FIELDS, {})[parameter.name] = value


def _field_option(name: str, metavar: str, text: str) -> Callable[[F], F]:
    return click.option(f"--{name}", f"field_{name}", metavar=metavar, help=text, expose_value=False, callback=_chosen)


def chosen_fields() -> dict[str, str]:
    """Return the choice of fields as it was given, by parameter; empty for none."""
    return dict(click.get_current_context().meta.get(_FIELDS, {}))


def fields_of(chosen: Mapping[str, str]) -> Fields | None:
    """Return the choice of fields of :func:`chosen_fields`; None for none."""
    from hybrid_search.loaders.mapping import Fields

    if not chosen:
        return None

    def names(option: str) -> tuple[str, ...]:
        return tuple(name for part in chosen.get(option, "").split(",") if (name := part.strip()))

    metadata = names("field_metadata") if "field_metadata" in chosen else None
    return Fields(chosen.get("field_id", ""), chosen.get("field_title", ""), names("field_text"), metadata)


def dataset_argument(function: F) -> F:
    """Add DATASET, --path, --config, the choice of fields, --dead-letter and --allow-rejected."""
    return _with_dataset(function, required=True)


def optional_dataset_argument(function: F) -> F:
    """Add the same, with a DATASET that may be left out."""
    return _with_dataset(function, required=False)


def _with_dataset(function: F, *, required: bool) -> F:
    decorators = [
        click.argument("dataset", shell_complete=_loaders, required=required),
        click.option(
            "--path",
            type=click.Path(path_type=Path),
            help="The data set's folder or file, - for standard input; left out: the hub, where the loader has one.",
        ),
        click.option(
            "--config",
            "dataset_config",
            default="",
            metavar="NAME",
            help="v1.1 or v2.1 of ms_marco; of files and jsonl: words a passage, or whole.",
        ),
        _field_option("id", "FIELD", "The record's field (files, jsonl) that is the id; path+FIELD: after the path."),
        _field_option("title", "FIELD", "The field that is its title."),
        _field_option("text", "FIELD,...", "The fields that are its text, one after the other."),
        _field_option(
            "metadata", "FIELD,...", "The fields that are its metadata; '' for none.  [default: all the others]"
        ),
        dead_letter_option,
        allow_rejected_option("1%"),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


@contextmanager
def opened_dataset(
    name: str,
    path: Path | None,
    config: str,
    dead_letter: Path,
    allow: Allowance | None = None,
    towers: Path | None = None,
) -> Iterator[tuple[Dataset, Intake]]:
    """Open a data set; at the end report rejected records, and raise if there are more than allowed.

    :param allow: None for the default.
    :param towers: a checkpoint in whose word pieces passages are measured.
    :raises RecordsRejected: at the very end, if more records than allowed went to the dead-letter file.
    :raises UsageError: if that file would be part of the data set.
    """
    from hybrid_search.loaders.registry import open_dataset

    rejects = dead_letter.resolve()
    if path is not None and path.resolve() in (rejects, *rejects.parents):
        raise UsageError(
            f"--dead-letter {dead_letter} lies in the data set ({path}), which would be read while it is written; "
            f"name a file elsewhere"
        )
    with rejecting(dead_letter, allow) as rejected:
        fields = fields_of(chosen_fields())
        pieces = None
        if towers is not None and (towers / "tokenizer.json").is_file():
            from hybrid_search.towers.coverage import pieces_of

            pieces = pieces_of(towers)
        yield open_dataset(name, path, reject=rejected, config=config, fields=fields, pieces=pieces), rejected


def say_not_read(dataset: Dataset) -> None:
    """Name the files of a data set that were not read, and why, and the fields that were left out."""
    for what, names in getattr(dataset, "not_read", {}).items():
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        say(f"Not read, as {what}: {', '.join(names[:_NAMED])}{more}.")
    if unfit := list(getattr(getattr(dataset, "left_out", None), "unfit", ())):
        say(f"Left out, as metadata can't hold such values: {', '.join(unfit)}{', …' if len(unfit) == _NAMED else ''}.")


def rejecting(dead_letter: Path, allow: Allowance | None = None) -> AbstractContextManager[Intake]:
    """Collect rejected records; at the end report them, and raise if there are more than allowed.

    :param allow: None for the default.
    :raises RecordsRejected: as :func:`opened_dataset`.
    """
    from hybrid_search.loaders.allowance import DEFAULT
    from hybrid_search.loaders.rejecting import rejecting as collecting
    from hybrid_search.storage import check_outside_indexes

    check_outside_indexes(dead_letter)
    context = click.get_current_context()
    return collecting(
        dead_letter,
        allow=allow or DEFAULT,
        tell=lambda text: say(in_options(text)),
        run=context.command_path,
        goes_on=bool(context.params.get("resume")),
    )


def bm25_options(function: F) -> F:
    """Add --bm25-k1 and --bm25-b."""
    for decorator in (
        click.option("--bm25-b", type=float, help="BM25's b, 0..1; left out: the index's."),
        click.option("--bm25-k1", type=float, help="BM25's k1; left out: the index's."),
    ):
        function = decorator(function)
    return function


def bm25_of(k1: float | None, b: float | None, base: Bm25 | None = None) -> Bm25 | None:
    """Return the requested BM25 parameters; None if neither is given."""
    if k1 is None and b is None:
        return None
    base = base or Bm25()
    return Bm25(k1=base.k1 if k1 is None else k1, b=base.b if b is None else b)


def rerank_options(function: F) -> F:
    """Add --rerank and --rerank-depth."""
    for decorator in (
        click.option(
            "--rerank-depth",
            type=click.IntRange(1, MAX_K),
            metavar="N",
            help=f"How many hits are ranked again; there are no others then.  [default: {RERANK_DEPTH}]",
        ),
        click.option(
            "--rerank",
            metavar="MODEL",
            help="Score the first hits anew with this cross-encoder: a folder, or a name on the hub such as "
            "cross-encoder/ms-marco-MiniLM-L6-v2 (extra rerank).",
        ),
    ):
        function = decorator(function)
    return function


def rerank_depth_of(depth: int | None, *, reranks: bool) -> int:
    """Return how many hits are ranked again.

    :raises UsageError: if that is asked for where nothing is ranked again.
    """
    if depth is not None and not reranks:
        raise UsageError(f"--rerank-depth is {depth}, and nothing is ranked again; say --rerank MODEL too, or leave it")
    return depth or RERANK_DEPTH


def reranker_of(model: str | None) -> Reranker | None:
    """Open a cross-encoder; None for none.

    :raises ModelNotFound: if it can't be opened.
    """
    if not model:
        return None
    from hybrid_search.retrieval.reranking import CrossEncoderReranker, is_to_fetch

    if is_to_fetch(model):
        say(f"{model} is no folder here: fetching it from the hub.")
    return CrossEncoderReranker(model)


def fusion_options(function: F) -> F:
    """Add --fusion, --combination, --bm25-weight, --window and --rank-constant."""
    for decorator in (
        click.option("--rank-constant", type=int, help=about(Fusion, "rank_constant")),
        click.option("--window", type=int, help=about(Fusion, "window")),
        click.option("--bm25-weight", type=float, help="BM25's weight, 0..1; k-NN gets the rest."),
        click.option("--combination", type=click.Choice(get_args(Combination)), help=about(Fusion, "combination")),
        click.option(
            "--fusion",
            "method",
            type=click.Choice(get_args(Normalisation)),
            help=about(Fusion, "method"),
        ),
    ):
        function = decorator(function)
    return function


def fusion_of(base: Fusion, values: dict[str, Any]) -> Fusion:
    """Return a fusion with the given options applied; removes these from ``values``."""
    weight = values.pop("bm25_weight")
    names = ("method", "combination", "window", "rank_constant")
    changes = {name: value for name in names if (value := values.pop(name)) is not None}
    if weight is not None:
        if not 0 <= weight <= 1:
            raise ConfigError(f"--bm25-weight is {weight}; it must be from 0 to 1")
        changes["weights"] = (weight, round(1 - weight, 12))
    return base.replace(**changes) if changes else base
