"""Options of the same meaning have the same name in every verb, and the same name means the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from hybrid_search.cli import HOSTS, VERBS, cli

OF_TWO_MEANINGS = {"--host"}
"""A further node of a cluster (before the verb), and the address that serve-towers listens on."""


def options(command: click.Command = cli, name: str = "") -> Iterator[tuple[str, click.Option]]:
    """Every option with the verb that has it; the names of old, which are not shown, left out."""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield name, parameter
    if isinstance(command, click.Group):
        context = click.Context(command)
        for verb in command.list_commands(context):
            inner = command.get_command(context, verb)
            assert inner is not None
            yield from options(inner, f"{name} {verb}".strip())


def shown_names(option: click.Option) -> list[str]:
    record = option.get_help_record(click.Context(cli))
    assert record is not None
    words = record[0].replace("/", ",").replace(",", " ").split()
    return [word for word in words if word.startswith("--")]


def test_an_option_of_one_name_takes_the_same_in_every_verb() -> None:
    kinds: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for _, option in options():
        for name in shown_names(option):
            kind = tuple(option.type.choices) if isinstance(option.type, click.Choice) else type(option.type)
            kinds[name].add((kind, option.is_flag, option.multiple))
    different = {name: kinds[name] for name in kinds if len(kinds[name]) > 1}
    assert set(different) == OF_TWO_MEANINGS, different


def test_what_is_written_and_printed_is_named_alike() -> None:
    by_verb = defaultdict(set)
    for verb, option in options():
        by_verb[verb] |= set(option.opts)
    for verb, names in by_verb.items():
        assert ("--out" in names) == ("-o" in names), verb
        if "--path" in names:
            assert {"--config", "--dead-letter", "--allow-rejected", "--format"} <= names, verb


@pytest.mark.parametrize(
    ("verb", "old", "new"),
    [
        ("load", "--connections", "--parallel"),
        ("rollback", "--to-index", "--to"),
        ("dashboards relevance", "--search-pipeline", "--pipeline"),
    ],
)
def test_a_name_of_old_works_and_is_not_shown(verb: str, old: str, new: str) -> None:
    (option,) = (option for name, option in options() if name == verb and old in option.opts)
    assert new in option.opts
    text = CliRunner().invoke(cli, [*verb.split(), "--help"]).output
    assert f"  {new} " in text
    assert old not in text


def test_a_verb_in_another_ones_module_is_called_by_its_own_name() -> None:
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        assert command is not None
        assert command.name == verb
    assert set(HOSTS) <= set(VERBS)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("hybrid-search refi", "refit"),
        ("hybrid-search train m", "ms_marco"),
        ("hybrid-search load jsonl --syn", "--sync"),
        ("hybrid-search train jsonl --set training.temp", "training.temperature="),
    ],
)
def test_the_shell_completes_verbs_data_sets_options_and_settings(words: str, completed: str) -> None:
    ask = {"_HYBRID_SEARCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    program = "import sys; sys.argv = ['hybrid-search']; from hybrid_search.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **ask})
    assert f"plain,{completed}" in done.stdout.splitlines()
