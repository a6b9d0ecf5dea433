"""What the documentation shows must be there and run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from docs.how_it_works import PICTURES
from hybrid_search.cli import VERBS, cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def commands_shown() -> list[str]:
    lines = [line.strip() for page in PAGES for line in page.read_text().splitlines()]
    return sorted(
        {line.split("  ")[0] if " --" not in line else line for line in lines if line.startswith("hybrid-search ")}
    )


def known_options(words: list[str]) -> set[str]:
    """Return the options of a verb, or of a group's verb: ``dashboards export``."""
    command = cli.get_command(click.Context(cli), words[0])
    if isinstance(command, click.Group) and len(words) > 1:
        command = command.get_command(click.Context(command), words[1])
    assert command is not None
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def options_in(words: list[str]) -> set[str]:
    return {word for word in words if re.fullmatch(r"--?[a-z][a-z0-9-]*", word)}


@pytest.mark.parametrize("line", commands_shown())
def test_every_command_in_the_documentation_exists_with_its_options(line: str) -> None:
    words = shlex.split(line.replace("|", " ").replace("…", ""), comments=True)
    verb = next((word for word in words if word in VERBS), words[1])
    if verb in VERBS:
        before, after = words[: words.index(verb)], words[words.index(verb) :]
        assert options_in(before) <= {name for parameter in cli.params for name in parameter.opts}
        assert options_in(after) <= known_options(after) | {"--help", "-h"}
    else:
        assert verb in {"VERB", "[OPTIONS]"}


def test_every_setting_in_the_documentation_exists() -> None:
    rows = CliRunner().invoke(cli, ["settings", "--format", "json"]).output
    names = {row["name"] for row in json.loads(rows)}
    pages = [*PAGES, *(ROOT / "docs" / "studies").glob("*.md")]
    shown = {name for page in pages for name in re.findall(r"--set ([a-z][\w.]+)=", page.read_text())}
    assert "training.temperature" in shown
    assert shown <= names


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_reference(verb: str) -> None:
    assert f"## hybrid-search {verb}\n" in (ROOT / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_the_pictures_of_how_it_works_are_what_their_script_draws(name: str) -> None:
    assert (ROOT / "docs" / "pictures" / name).read_text(encoding="utf-8") == PICTURES[name]().svg()


def test_the_changelog_names_the_version_or_what_is_unreleased() -> None:
    import hybrid_search

    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text or f"## [{hybrid_search.__version__}]" in text
