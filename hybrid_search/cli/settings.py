"""``hybrid-search settings``: all settings with default, values and meaning, and the options that give them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import click
import msgspec

from hybrid_search.cli.options import format_option
from hybrid_search.cli.output import print_json, print_jsonl, print_table
from hybrid_search.errors import ConfigError, UsageError
from hybrid_search.settings.base import Setting, meta_of, plain_kind, wanted
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.server import SearchOptions, ServerOptions
from hybrid_search.settings.service import ServiceOptions
from hybrid_search.settings.training import NegativeSource
from hybrid_search.training.recipes import DEFAULT, RECIPES, TrainSettings

__all__ = [
    "Named",
    "command",
    "given_settings",
    "nested",
    "parse_mix",
    "parse_value",
    "set_option",
    "setting_options",
    "written_as_set",
]

F = TypeVar("F", bound=Callable[..., Any])

_GIVEN = "hybrid_search.settings"
_BOOLEANS = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}

_ELSEWHERE: Mapping[str, str] = {
    "index.bm25.k1": "load --bm25-k1",
    "index.bm25.b": "load --bm25-b",
    "index.fusion.method": "load --fusion, query --fusion",
    "index.fusion.combination": "load --combination, query --combination",
    "index.fusion.weights": "load --bm25-weight, query --bm25-weight, refit",
    "index.fusion.window": "load --window, query --window",
    "index.fusion.rank_constant": "load --rank-constant, query --rank-constant",
    "index.fields": "load --field",
    "index.faiss": "load --faiss",
    "server.shards": "load --shards",
    "server.replicas": "load --replicas",
    "server.knn_engine": "load --knn-engine",
    "server.m": "load --hnsw-m",
    "server.ef_construction": "load --ef-construction",
    "server.compression": "load --compression",
    "server.on_disk": "load --on-disk",
    "service.writable": "serve --writable",
    "service.keys": "serve --keys",
    "service.judgements": "serve --judgements",
    "service.origins": "serve --origin",
    "service.max_body": "serve --max-body",
    "service.max_query": "serve --max-query",
    "service.max_k": "serve --max-k",
    "service.max_batch": "serve --max-batch",
    "service.concurrency": "serve --concurrency",
    "service.threads": "serve --threads",
    "service.time_limit": "serve --time-limit",
    "service.drain": "serve --drain",
    "service.grace": "serve --grace",
    "search.pipeline": "query --pipeline",
    "search.explain": "SearchOptions, in Python",
    "search.in_cluster": "query --in-cluster",
    "search.log_queries": "query --log-queries, --hash-queries",
}
"""Setting that does not belong to training -> what gives it."""


@dataclass(frozen=True, slots=True)
class Named:
    """A setting.

    :ivar name: as in a ``--settings`` file, with dots: ``training.word_vectors.window``.
    :ivar kind: the field's type, including its ``Meta``.
    """

    name: str
    kind: Any
    default: Any

    @property
    def given_by(self) -> str:
        """The option that gives it."""
        return _ELSEWHERE.get(self.name, "train --set")

    @property
    def row(self) -> dict[str, Any]:
        """The setting's row in the output."""
        return {
            "name": self.name,
            "default": msgspec.to_builtins(self.default),
            "values": wanted(self.kind),
            "meaning": meta_of(self.kind).description or "",
            "given_by": self.given_by,
        }


def _of_training(recipe: str = DEFAULT) -> dict[str, Named]:
    chosen, teacher = RECIPES[recipe], "training.teacher"
    # Recipes for a teacher are invalid without one, so any name is filled in; the default shown is none all the same.
    towers, training = chosen.joined_with({"training": {"teacher": "any"}} if "loss" in chosen.training else {})
    settings = TrainSettings.from_mapping({"towers": towers, "training": training}, source=recipe)
    found = {one.name: one for one in _walk(settings, "")}
    return found | {teacher: replace(found[teacher], default="")}


def _others() -> list[Named]:
    index = [one for one in _walk(IndexSettings(), "index.") if one.name in _ELSEWHERE]
    hints, search = get_type_hints(SearchOptions, include_extras=True), SearchOptions()
    of_search = [Named(f"search.{one.name}", hints[one.name], getattr(search, one.name)) for one in fields(search)]
    of_search = [one for one in of_search if one.name in _ELSEWHERE]
    return [*index, *_walk(ServerOptions(), "server."), *of_search, *_walk(ServiceOptions(), "service.")]


def _walk(settings: Setting, prefix: str) -> Iterator[Named]:
    for field in msgspec.structs.fields(type(settings)):
        value = getattr(settings, field.name)
        if isinstance(value, Setting):
            yield from _walk(value, f"{prefix}{field.name}.")
        else:
            server_default = (meta_of(field.type).extra or {}).get("default")  # of a server's setting that is not sent
            yield Named(f"{prefix}{field.name}", field.type, server_default if value is None else value)


@click.command("settings")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--recipe", type=click.Choice(list(RECIPES)), default=DEFAULT, show_default=True, help="Whose defaults.")
@format_option
def command(names: tuple[str, ...], recipe: str, form: str) -> None:
    """List all settings (training, towers, index, server, search, service): default, values, meaning, what gives them.

    With a NAME only those whose name has it in it. A training's are given with `train --set NAME=VALUE`, or in a file
    for `train --settings`: {"towers": {...}, "training": {...}}.

    \b
    Examples:
      hybrid-search settings temperature
      hybrid-search settings training.word_vectors --recipe distil
      hybrid-search settings --format json
    """  # noqa: D301
    everything = [*_of_training(recipe).values(), *_others()]
    found = [one for one in everything if not names or any(name in one.name for name in names)]
    if not found:
        raise _unknown(names[0])
    rows = [one.row for one in found]
    if form != "table":
        (print_json if form == "json" else print_jsonl)(rows)
        return
    cells = [[row["name"], _shown(one.default), *list(row.values())[2:]] for one, row in zip(found, rows, strict=True)]
    print_table(["name", "default", "values", "meaning", "given by"], cells)


def _shown(default: Any) -> str:
    if default is None or default in ("", (), {}):
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple) and isinstance(default[0], tuple):
        return "; ".join(_shown_stage(*stage) for stage in default)
    if isinstance(default, tuple):
        return ("-" if isinstance(default[0], int) else ", ").join(map(str, default))
    return str(default)


def _shown_stage(start: float, mix: Mapping[str, float]) -> str:
    shares = ",".join(source if share == 1 else f"{source}:{share:g}" for source, share in mix.items())
    return f"{start:g}@{shares}" if start else shares


def parse_value(name: str, text: str) -> Any:
    """Parse a training setting's value.

    :return: a plain value, as in a ``--settings`` file.
    :raises ConfigError: if there is no such setting (names similar ones), or the value is invalid.
    """
    setting = _of_training().get(name)
    if setting is None:
        raise _unknown(name) if name not in _ELSEWHERE else ConfigError(f"{name} is given by {_ELSEWHERE[name]}")
    plain = plain_kind(setting.kind)
    try:
        if plain is bool:
            return _BOOLEANS[text.lower()]
        if get_origin(plain) is tuple:
            value = msgspec.json.decode(text) if text.lstrip().startswith("[") else _sequence(name, text)
            msgspec.convert(value, setting.kind)
            return value
        return msgspec.convert(text, setting.kind, strict=False)
    except ConfigError:  # its message names the part of a mix that is invalid
        raise
    except (KeyError, ValueError, msgspec.MsgspecError):
        raise ConfigError(f"{name} is {text!r}; it must be {wanted(setting.kind)}") from None


def _sequence(name: str, text: str) -> list[Any]:
    if name == "training.negatives":
        return parse_mix(text)
    return [int(part) for part in text.split("-")]


def _unknown(name: str) -> ConfigError:
    names = [*_of_training(), *_ELSEWHERE]
    last = name.rpartition(".")[2]
    near = [one for one in names if one.rpartition(".")[2] == last]
    ends = difflib.get_close_matches(last, [one.rpartition(".")[2] for one in names], 2, 0.75)
    near += [one for one in names if one.rpartition(".")[2] in ends]  # whole names are alike by their group alone
    meant = f"did you mean {', '.join(list(dict.fromkeys(near))[:3])}? " if near else ""
    return ConfigError(f"there is no setting {name!r}; {meant}`hybrid-search settings` lists all")


def parse_mix(text: str) -> list[list[Any]]:
    """Parse a schedule of negatives: ``bm25``, ``bm25:0.7,in_row:0.3`` or ``random; 0.3@bm25:0.8,random:0.2``.

    Stages are separated by ``;``; ``0.3@`` is the share of the run from which a stage applies.

    :raises ConfigError: names the part that is invalid.
    """
    stages: list[list[Any]] = []
    for stage in filter(None, (part.strip() for part in text.split(";"))):
        start, _, mix = stage.rpartition("@")
        shares: dict[str, float] = {}
        for entry in mix.split(","):
            source, _, share = entry.strip().partition(":")
            if source not in get_args(NegativeSource):
                raise ConfigError(f"negatives: no source {source!r}; there are {', '.join(get_args(NegativeSource))}")
            shares[source] = _number(share or "1", entry)
        stages.append([_number(start or "0", stage), shares])
    return stages


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"negatives: {text!r} in {where!r} is not a number; write for example bm25:0.7") from None


def setting_options(*names: str) -> Callable[[F], F]:
    """Add options for some of training's settings, with their help and default; see :func:`given_settings`.

    :param names: of the settings.
    """

    def decorate(function: F) -> F:
        for setting in reversed([_of_training()[name] for name in names]):
            flag = f"--{setting.name.rpartition('.')[2].replace('_', '-')}"
            default = _shown(setting.default)
            about = (meta_of(setting.kind).description or "") + (f"  [default: {default}]" if default else "")
            function = click.option(
                flag,
                type=plain if (plain := plain_kind(setting.kind)) in (int, float) else str,
                expose_value=False,
                callback=_keeping(setting.name),
                metavar=_metavar(setting.kind),
                help=about,
            )(function)
        return function

    return decorate


def _metavar(kind: Any) -> str:
    plain = plain_kind(kind)
    return "N" if plain in (int, float) else "FIRST-LAST" if get_origin(plain) is tuple else "TEXT"


def _keeping(name: str) -> Callable[[click.Context, click.Parameter, str | float | None], None]:
    def keep(context: click.Context, parameter: click.Parameter, value: str | float | None) -> None:
        if value is not None:
            context.meta.setdefault(_GIVEN, {})[name] = parse_value(name, str(value))

    return keep


def set_option(function: F) -> F:
    """Add --set NAME=VALUE, for all of training's settings; see :func:`given_settings`."""
    return click.option(
        "--set",
        multiple=True,
        expose_value=False,
        callback=_keep_set,
        shell_complete=lambda context, parameter, incomplete: [
            f"{name}=" for name in _of_training() if name.startswith(incomplete)
        ],
        metavar="NAME=VALUE",
        help="Any setting by its name, such as training.temperature=0.1; may be repeated. All: hybrid-search settings.",
    )(function)


def _keep_set(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> None:
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: write NAME=VALUE, such as training.temperature=0.1")
        values[name.strip()] = parse_value(name.strip(), value.strip())
    context.meta[f"{_GIVEN}.set"] = values


def given_settings(context: click.Context) -> dict[str, Any]:
    """Return the settings that a command was given by options: name -> value.

    :raises UsageError: if a setting has different values by its own option and by ``--set``.
    """
    own, by_set = context.meta.get(_GIVEN, {}), context.meta.get(f"{_GIVEN}.set", {})
    for name in own.keys() & by_set.keys():
        if own[name] != by_set[name]:
            option = f"--{name.rpartition('.')[2].replace('_', '-')}"
            raise UsageError(f"{option} {own[name]} and --set {name}={by_set[name]} contradict one another; give one")
    return {**by_set, **own}


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert names with dots to a ``--settings`` file's form: ``{"training": {"word_vectors": {"window": 8}}}``."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        *parents, last = name.split(".")
        parent_values = made
        for parent in parents:
            parent_values = parent_values.setdefault(parent, {})
        parent_values[last] = value
    return made


def written_as_set(option: str) -> str:
    """Return how to give a training setting that was written as an option of its own; empty if it is none.

    :param option: ``--batch-size``, ``--no-residual``, ``--word2vec-window``.
    """
    name = option.removeprefix("--").replace("-", "_")
    of_words = "training.word_vectors." + name.removeprefix("word2vec_")
    settings = _of_training()
    if name.startswith("word2vec_") and of_words in settings:
        return _with_value(settings[of_words])
    for chosen in (name, name.removeprefix("no_")):
        for section in ("training", "towers"):
            if setting := settings.get(f"{section}.{chosen}"):
                return f"--set {setting.name}=no" if chosen != name else _with_value(setting)
    return f"--set {of_words}=no" if (of_words := of_words.replace("no_word2vec_", "")) in settings else ""


def _with_value(setting: Named) -> str:
    return f"--set {setting.name}=VALUE ({wanted(setting.kind)})"
