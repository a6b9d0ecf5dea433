"""What commands print: data on stdout as a table, JSON or JSON lines; talk and progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from hybrid_search.protocols import Task

__all__ = ["FORMATS", "facts", "print_json", "print_jsonl", "print_table", "progress", "say"]

FORMATS = ("table", "json", "jsonl")


def say(text: str) -> None:
    """Talk to the person at the terminal, on stderr."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """Print one JSON document, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_jsonl(values: Sequence[Any]) -> None:
    """Print one JSON document a line."""
    for value in values:
        click.echo(msgspec.json.encode(value).decode())


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
) -> None:
    """Print a table; columns named in ``right`` are numbers and align on the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: brackets in a document are not rich's markup
    # Piped output is not cut at 80 columns.
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)


def facts(values: Mapping[str, Any], form: str) -> None:
    """Print named values: two columns, or one JSON object."""
    if form == "json":
        print_json(values)
    elif form == "jsonl":
        print_jsonl([values])
    else:
        print_table(["what", "value"], [(name, _plain(value)) for name, value in values.items()])


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class _RichTask:
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def advance(self, amount: int = 1) -> None:
        self._bar.advance(self._task, amount)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Task]:
    """Show a bar with count, rate and time left on stderr; a plain line at the end where stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Task as BarTask
    from rich.text import Text

    class Rate(TextColumn):
        def __init__(self) -> None:
            super().__init__("")

        def render(self, task: BarTask) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed else "")

    console = Console(stderr=True)
    left = [TimeRemainingColumn()] if total is not None else []
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        *left,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(label, total=total)
        yield _RichTask(bar, task)
        done = bar.tasks[0]
    say(f"{label}: {int(done.completed):,} in {done.elapsed or 0:.1f} s")
