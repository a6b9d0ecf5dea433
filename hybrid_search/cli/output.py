"""What commands print: data on stdout as a table, JSON or JSON lines; messages and progress on stderr.

Also the handling of these streams: readers that have gone, and encodings that lack a character.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from hybrid_search.protocols import Task

__all__ = [
    "FORMATS",
    "READER_WENT",
    "Marked",
    "ReaderWent",
    "Warnings",
    "facts",
    "forgive",
    "in_options",
    "let_go",
    "print_json",
    "print_jsonl",
    "print_table",
    "progress",
    "say",
    "some",
    "to_a_reader",
]

READER_WENT = 141
"""The exit code that shells show for SIGPIPE, by which programs usually end if the reader of their output has gone."""

_ESCAPES = "hybrid-search-escapes"
_SPELT = {
    "allow": "--allow-rejected",
    "also_live": "--live",
    "may_be_smaller": "--yes",
    "negatives_files": "--negatives-file",
    "partial": "--allow-partial",
}
"""Parameters of the library whose option has another name."""

_PARAMETERS = (
    "alias|allow_settings|ca_certs|client_cert|default_pipeline|filter|in_cluster|lexical_only|mode|model|out|password_file|path|"
    "pipeline|read_timeout|recreate|restart|resume|split|stage|systems|user|" + "|".join(_SPELT)
)
"""Other parameters that occur in the library's messages."""

_WITH_VALUE = re.compile(rf"(?<![\w.'\"`=?&/-])({_PARAMETERS})=([\w-]+(?:[./:][\w-]+)*)")
_ALONE = re.compile(rf"`({_PARAMETERS})`")
_SETTING = re.compile(r"(?<![\w.'\"`=-])(?<!--set )((?:training|towers)\.[\w.]+=)")

_SENTENCE = 80
"""Most characters of an item that is listed beside others on one line."""

FORMATS = ("table", "json", "jsonl")
PIPED_WIDTH = 160
_NARROW = 12
_GAPS: Mapping[int, tuple[int, int] | tuple[int, int, int, int]] = {3: (0, 1), 2: (0, 1, 0, 0), 1: (0, 0)}
"""Blanks between columns -> the padding for that, together with the box's own blank."""
_SECONDS_BETWEEN_LINES = 15.0


def say(text: str) -> None:
    """Print a message to the user, on stderr."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """Print a JSON document, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_jsonl(values: Sequence[Any]) -> None:
    """Print a JSON document per line."""
    for value in values:
        click.echo(msgspec.json.encode(value).decode())


class Marked(str):
    """A table's cell with bold parts, on a terminal.

    :ivar spans: (first character, the one after the last) of each.
    """

    spans: Sequence[tuple[int, int]] = ()

    @classmethod
    def joined(cls, parts: Sequence[str], separator: str) -> Marked:
        """Join texts, marked or not."""
        spans, at = list[tuple[int, int]](), 0
        for part in parts:
            if isinstance(part, Marked):
                spans += [(at + start, at + end) for start, end in part.spans]
            at += len(part) + len(separator)
        return cls.of(separator.join(parts), spans)

    @classmethod
    def of(cls, text: str, spans: Sequence[tuple[int, int]]) -> Marked:
        """Mark the parts of a text."""
        made = cls(text)
        made.spans = spans
        return made

    def without_gaps(self) -> Marked:
        """Return the text with one blank for each run of them, as tables and manuals have."""
        gaps = [(gap.start() + 1, gap.end()) for gap in re.finditer("  +", self)]

        def moved(at: int) -> int:
            return at - sum(min(end, at) - start for start, end in gaps if start < at)

        return self.of(re.sub("  +", " ", self), [(moved(start), moved(end)) for start, end in self.spans])


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
) -> None:
    """Print a table; columns named in ``right`` contain numbers and are aligned right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # as other output does; main converts it to the exit code

    # Numbers and headings are never broken; texts are, and columns move closer together in a narrow terminal.
    whole = [max(len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
    least = [size if name in right else min(size, _NARROW) for name, size in zip(columns, whole, strict=True)]
    needed = {gap: sum(least) + gap * (len(least) - 1) + 2 for gap in _GAPS}  # the box's margins are 2
    # Piped output is not limited to 80 columns; if no gap makes a table fit, the terminal breaks its lines.
    console = Terminal(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    console.width = max(console.width, needed[1])
    gap = next(gap for gap in _GAPS if needed[gap] <= console.width)
    if title:  # not the table's own, which would be broken at the table's width
        console.print(Text(title, style="italic"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=_GAPS[gap])
    for column, size in zip(columns, least, strict=True):
        numbers = column in right
        table.add_column(
            column, justify="right" if numbers else "left", overflow="fold", no_wrap=numbers,
            min_width=size,
        )  # fmt: skip
    for row in rows:
        texts = [Text(cell) for cell in row]  # brackets in a document are no markup of rich
        for text, cell in zip(texts, row, strict=True):
            for start, end in cell.spans if isinstance(cell, Marked) else ():
                text.stylize("bold", start, end)
        table.add_row(*texts)
    console.print(table)


def facts(values: Mapping[str, Any], form: str) -> None:
    """Print named values: two columns, or one JSON object."""
    if form == "json":
        print_json(values)
    elif form == "jsonl":
        print_jsonl([values])
    else:
        print_table(["what", "value"], [(name, _plain(value)) for name, value in values.items()])


def _plain(value: Any) -> str:
    """Write a value for people: a record's names and values, a list's items, sentences on lines of their own."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.4g}"
        case int():
            return f"{value:,}"
        case str():
            return value or "none"
        case Mapping():
            parts = [f"{name} ({_plain(one)})" if isinstance(one, Mapping) else f"{name} {_plain(one)}"
                     for name, one in value.items()]  # fmt: skip
            return ", ".join(parts) or "none"
        case Sequence():
            items = [_plain(one) for one in value]
            return ("\n" if any(len(one) > _SENTENCE for one in items) else ", ").join(items) or "none"
        case _:
            return msgspec.json.encode(value).decode()


class _Bar:
    """A progress bar on a terminal."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def advance(self, amount: int = 1) -> None:
        self._bar.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._bar.update(self._task, note=text)


class _Lines:
    """A progress line from time to time, if stderr is a file or a pipe, so that long work does not look hung."""

    def __init__(self, label: str, total: int | None) -> None:
        self.done = 0
        self._label, self._total = label, total
        self._note = ""
        self._started = self._spoken = time.monotonic()

    def advance(self, amount: int = 1) -> None:
        self.done += amount
        now = time.monotonic()
        if now - self._spoken < _SECONDS_BETWEEN_LINES:
            return
        self._spoken = now
        rate = self.done / (now - self._started)
        of_total = f" of {self._total:,}" if self._total else ""
        left = f", {(self._total - self.done) / rate:.0f} s left" if self._total and rate else ""
        note = f", {self._note}" if self._note else ""
        say(f"{self._label}: {self.done:,}{of_total}, {rate:,.1f}/s{note}{left}")

    def note(self, text: str) -> None:
        self._note = text


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Task]:
    """Show progress on stderr, as a bar on a terminal and as lines elsewhere, and a summary at the end.

    Nothing is shown for work of unknown length that turns out to be none.
    """
    started = time.monotonic()
    if sys.stderr.isatty():
        with _bar(label, total) as (task, done):
            yield task
        count = done()
    else:
        lines = _Lines(label, total)
        yield lines
        count = lines.done
    if count or total:
        say(f"{label}: {count:,} in {time.monotonic() - started:.1f} s")


@contextmanager
def _bar(label: str, total: int | None) -> Iterator[tuple[Task, Callable[[], int]]]:
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

    left = [TimeRemainingColumn()] if total is not None else []
    note = TextColumn("{task.fields[note]}", markup=False)
    columns = (BarColumn(bar_width=30), MofNCompleteColumn(), Rate(), note, TimeElapsedColumn(), *left)
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), *columns, console=Console(stderr=True), transient=True
    )
    with bar:
        task = bar.add_task(label, total=total, note="")
        yield _Bar(bar, task), lambda: int(bar.tasks[0].completed)


def some(count: int, noun: str) -> str:
    """Return a number with its noun, as *1 passage* or *1,200 passages*."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def in_options(message: str) -> str:
    """Say a message of the library in the command line's words.

    The library names parameters, as ``recreate=True``, ``model=PATH`` or a name in backticks; here these are options:
    ``--recreate``, ``--model PATH``. A training's setting with a value, ``training.loss=kl``, is given by ``--set``.
    """
    message = _SETTING.sub(r"--set \1", message)
    message = _WITH_VALUE.sub(lambda found: _option(found[1]) + ("" if found[2] == "True" else f" {found[2]}"), message)
    return _ALONE.sub(lambda found: _option(found[1]), message)


class Warnings(logging.Handler):
    """Prints what the library logs, from warnings on, like other messages."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        say(in_options(self.format(record)))


def _option(parameter: str) -> str:
    return _SPELT.get(parameter, f"--{parameter.replace('_', '-')}")


class ReaderWent(Exception):
    """The reader of the output has gone, as with ``| head``."""


def forgive() -> None:
    r"""Keep characters of a document or a query from ending a command with an encoding error.

    Characters that the encoding of stdout or stderr lacks are written as ``\\u2192``, as in JSON, so JSON output stays
    valid; bytes on stdin that are invalid in its encoding become replacement characters.
    """
    codecs.register_error(_ESCAPES, _escaped)
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, _ESCAPES), (sys.stderr, _ESCAPES)):
        # Other error handlers were chosen by the user (PYTHONIOENCODING=ascii:replace).
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape", "backslashreplace"):
            stream.reconfigure(errors=errors)


@contextlib.contextmanager
def to_a_reader() -> Iterator[None]:
    """Flush everything that the block prints.

    :raises ReaderWent: if the reader has gone.
    """
    try:
        try:
            yield
        finally:  # flush now, while a failure can still be reported
            if sys.stdout is not None and not sys.stdout.closed:
                sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderWent from error


def let_go() -> None:
    """Redirect unwritten output to nowhere, so that the interpreter does not fail at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError, OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_units(error.object[error.start : error.end])), error.end


def _units(text: str) -> Iterator[str]:
    """Yield JSON's escapes of each character: its UTF-16 units, two for characters beyond the first 65,536."""
    data = text.encode("utf-16-be", "surrogatepass")
    for offset in range(0, len(data), 2):
        yield f"\\u{data[offset] << 8 | data[offset + 1]:04x}"
