"""Command lines: each verb with options and paths drawn from what its own declaration says, and from nonsense."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import click
from fakes import PETS
from hypothesis import strategies as st

from campaign.attack import Attempt, Bench, Outcome
from campaign.fuzz.draws import drawn
from campaign.fuzz.expectation import Broken, outcome_of
from campaign.fuzz.planted import planted
from campaign.fuzz.strategies import QUERIES, TEXTS
from campaign.fuzz.trial import Trial
from hybrid_search.cli import cli, main

__all__ = ["Commands"]

_LEFT_OUT = frozenset({"quickstart", "serve-towers"})
"""One takes minutes, one waits for requests for ever."""

_NOWHERE = "opensearch://127.0.0.1:1"
"""Nobody listens there."""

_CODES = frozenset({*range(10), 130})
_SECONDS = 120.0

_PATHS = st.sampled_from(
    [
        *(
            "data",
            "data/documents.jsonl",
            "index",
            "model",
            "nothing",
            "file",
            "new",
            "a/b/c",
            "",
            ".",
            "-",
            "/dev/null",
        ),
        *(
            "index/documents.sqlite",
            "data/qrels.tsv",
            "\udcff",
            "x" * 300,
            "é\n",
            _NOWHERE,
            f"{_NOWHERE}/i",
            "http://x/y",
        ),
    ]
)
_USUAL = {
    "--path": ["data", "data", "data/documents.jsonl"],
    "--from": ["index", "index", f"{_NOWHERE}/passages"],
    "--to": ["new", "new", "index", f"{_NOWHERE}/passages"],
    "--out": ["new"],
    "--model": ["model"],
    "--set": ["training.temperature=0.1", "towers.encoder=mean", "training.rank_window=5-9", "training.nope=1", "x"],
    "--filter": ["lang = en", "lang in (en, de) and not exists(lang)", "lang", "year > 1"],
}
_NUMBERS = st.sampled_from(
    ["0", "1", "5", "-1", "2", "10001", "99999999999999999999", "0.5", "nan", "inf", "1e400", "x", ""]
)
_ARGUMENTS = {
    "dataset": ["jsonl", "jsonl", "beir", "msmarco_passage", "python", "x", ""],
    "ids": ["d1", "nobody", "-", ""],
    "names": ["training", "temprature", ""],
}


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb, with those inside a verb."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        if inner is not None and name not in _LEFT_OUT:
            yield from _commands(inner, (*path, name))


def _value(parameter: click.Parameter) -> st.SearchStrategy[str]:
    named = [one for name in parameter.opts if name in _USUAL for one in _USUAL[name]]
    if named:
        return st.one_of(*[st.sampled_from(named)] * 3, _PATHS, TEXTS)
    match parameter.type:
        case click.Choice():
            return st.one_of(*[st.sampled_from([str(one) for one in parameter.type.choices])] * 3, TEXTS)
        case click.Path():
            return _PATHS
    if parameter.type.name in ("integer", "float", "integer range", "float range"):
        return _NUMBERS
    return st.one_of(_PATHS, _NUMBERS, TEXTS, QUERIES)


def _option(parameter: click.Option) -> st.SearchStrategy[list[str]]:
    name = st.sampled_from([*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag or parameter.count:
        return name.map(lambda one: [one])
    values = st.lists(_value(parameter), min_size=parameter.nargs, max_size=parameter.nargs)
    return st.builds(lambda one, given: [one, *given], name, values)


@st.composite
def _lines(draw: st.DrawFn, path: tuple[str, ...], command: click.Command) -> list[str]:
    line = list(path)
    options = [one for one in command.params if isinstance(one, click.Option)]
    for argument in command.params:
        if isinstance(argument, click.Argument) and (argument.required or draw(st.booleans())):
            known = _ARGUMENTS.get(str(argument.name))
            line.append(draw(st.sampled_from(known) if known else st.one_of(QUERIES, _PATHS)))
    for option in options:
        if option.required and draw(st.integers(0, 9)):
            line += draw(_option(option))
    for option in draw(st.lists(st.sampled_from(options), max_size=4)) if options else []:
        line += draw(_option(option))
    if path[0] == "train":  # whatever else is asked, it ends soon
        line += ["--max-steps", "2", "--set", "training.epochs=1", "--set", "training.threads=1", "--start", "none"]
    return [word for word in line if "\0" not in word]  # which no shell can hand over


class Commands:
    """A verb a trial, called in several ways, in a folder of its own."""

    name = "fuzz-commands"
    unit = "inputs"
    wanted = 800
    short = 24
    needs_server = False
    planted: ClassVar = {"a traceback": "the loaders' folder is looked up without a guard"}

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        from made_models import make_model  # loads torch

        home = bench.folder / "home"
        home.mkdir()
        model = make_model(bench.folder / "model", ["cat dog car tree kitten puppy sleeps the"] * 3, seed=1)
        data = bench.folder / "data"
        data.mkdir()
        rows = [{"id": one.id, "text": one.text, "title": one.title, "metadata": dict(one.metadata)} for one in PETS]
        (data / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (data / "queries.jsonl").write_text('{"id": "q1", "text": "cat"}\n{"id": "q2", "text": "dog"}\n')
        (data / "qrels.tsv").write_text("q1\td1\t1\nq2\td3\t1\n")
        verbs = list(_commands(cli))
        environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        environment |= {"HYBRID_SEARCH_CACHE": str(home), "OPENSEARCH_RETRIES": "0", "COLUMNS": "100"}
        with patch.dict(os.environ, environment), contextlib.chdir(bench.folder):
            made = _called(["load", "jsonl", "--path", "data", "--model", str(model), "--to", "index"], "")
            assert made[0] == 0, made

            def attempt(trial: int) -> Outcome:
                path, command = verbs[trial % len(verbs)]
                return _tried(bench.folder, _lines(path, command), bench.draw(trial))

            with planted(bench.planted):
                yield attempt


def _tried(folder: Path, lines: st.SearchStrategy[list[str]], number: int) -> Outcome:
    trial = Trial()
    for line in drawn(lines, number, 4):
        place = folder / "here"
        place.mkdir()
        for name in ("data", "index", "model"):
            shutil.copytree(folder / name, place / name)
        (place / "file").write_bytes(b"neither a model nor an index\n")
        with contextlib.chdir(place), trial.doing(f"hybrid-search {line!r}", 1):
            code, out, err = _called(line, "cat\ndog\n\n")
            _check(code, out, err)
        shutil.rmtree(place)
    return trial.outcome()


def _called(line: Sequence[str], stdin: str) -> tuple[Any, str, str]:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape") for _ in range(2))

    def call() -> Any:
        try:
            main()
        except SystemExit as end:
            return end.code
        return None

    given = patch.multiple(sys, argv=["hybrid-search", *line], stdin=io.StringIO(stdin))
    with given, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        told = outcome_of(call, seconds=_SECONDS)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "surrogateescape"))  # type: ignore[attr-defined]
    if not hasattr(told, "value"):
        raise Broken(f"an error came through the command line: {told}")
    return told.value, texts[0], texts[1]


def _check(code: Any, out: str, err: str) -> None:
    if code not in _CODES:
        raise Broken(f"the exit code is {code!r}")
    if "Traceback (most recent call last)" in out + err:
        raise Broken(f"a traceback is shown: {(out + err)[-600:]}")
    if code not in (0, 130) and not err.strip():
        raise Broken(f"it ends with {code} and says nothing")
