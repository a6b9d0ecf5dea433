"""``hybrid-search doctor``: what a server can do, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from hybrid_search.cli.options import MODEL, format_option
from hybrid_search.cli.output import print_json, print_jsonl, print_table, say

if TYPE_CHECKING:
    from hybrid_search.doctor.diagnosis import Diagnosis

__all__ = ["command"]

_ONLY_WARNINGS = 1
_ERRORS = 4


@click.command("doctor")
@click.option(
    "--from",
    "location",
    required=True,
    metavar="LOCATION",
    help="A server, opensearch://host:9200, to look at all indexes on it; or with the name of an index or alias.",
)
@click.option("--model", type=MODEL, help="Check that the vectors were made with these towers.")
@format_option
@click.pass_context
def command(context: click.Context, location: str, model: Path | None, form: str) -> None:
    """Show what a server can do, what is used in place of what it can't, and its faults with what mends them.

    Changes nothing. Exit code 0 without a fault, 1 with warnings, 4 with errors.

    \b
    Examples:
      hybrid-search doctor --from opensearch://localhost:9200
      hybrid-search doctor --from opensearch://localhost:9200/passages --model ./model
    """  # noqa: D301
    from hybrid_search.doctor.diagnosis import diagnose

    diagnosis = diagnose(location, model=model)
    if form == "json":
        print_json(msgspec.to_builtins(diagnosis))
    elif form == "jsonl":
        print_jsonl(msgspec.to_builtins(diagnosis.findings))
    else:
        _print(diagnosis)
    if diagnosis.errors or diagnosis.warnings:
        say(f"{diagnosis.errors} errors, {diagnosis.warnings} warnings")
        context.exit(_ERRORS if diagnosis.errors else _ONLY_WARNINGS)
    say("healthy")


def _print(diagnosis: Diagnosis) -> None:
    title = f"{diagnosis.server}, OpenSearch {diagnosis.version}"
    rows = [[one.name, "yes" if one.has else "no", one.substitute] for one in diagnosis.abilities]
    print_table(["ability", "", "how, or what is used instead"], rows, title=title)
    say(f"indexes looked at: {', '.join(diagnosis.indexes) or 'none'}")
    if not diagnosis.findings:
        return
    # Not a table, which would break the lines of commands that users copy.
    for finding in diagnosis.findings:
        click.echo(f"{finding.severity}: {finding.subject}: {finding.fault} [{finding.check}]")
        for command_ in finding.mend:
            click.echo(f"    {command_}")
