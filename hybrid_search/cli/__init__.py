"""The command line: a file for each verb, imported when it is called."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from typing import Any

import click

from hybrid_search import __version__
from hybrid_search.cli.output import READER_WENT, ReaderWent, Warnings, forgive, in_options, let_go, to_a_reader
from hybrid_search.cli.server_options import CONNECTION_SETTINGS, connect, connection_options
from hybrid_search.errors import HybridSearchError, StorageError, UsageError, shown

__all__ = ["cli", "main"]

VERBS = (
    "quickstart", "example", "train", "sweep", "labels", "mine", "load", "query", "evaluate", "compare", "diagnose",
    "report", "info", "create", "add", "get", "list", "count", "delete", "backup", "restore",
    "dashboards", "reindex", "tune", "refit", "indexes", "swap", "rollback", "drop", "repair", "serve", "new-key",
    "mcp", "deploy", "undeploy", "serve-towers", "doctor", "settings",
)  # fmt: skip
"""In the order in which a new user needs them. Each is ``command`` in the module of its name, with these exceptions:"""

HOSTS = {
    **dict.fromkeys(("info", "delete", "swap", "rollback", "drop", "repair"), "indexes"),
    **dict.fromkeys(("create", "add", "get", "list", "count"), "documents"),
    "restore": "backup",
    **dict.fromkeys(("undeploy", "serve-towers"), "deploy"),
    **dict.fromkeys(("new-key", "mcp"), "serve"),
    "refit": "tune",
}
"""Verb -> the module of another verb that defines it, as ``VERB_command``."""

MEASURING = ("compare", "diagnose", "evaluate", "labels", "report", "sweep", "tune")
"""Modules that lie in the folder ``measuring``."""


class VerbGroup(click.Group):
    """A group that imports a verb's module when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of use, not of the alphabet."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_")
        host = HOSTS.get(cmd_name, name)
        module = import_module(f"hybrid_search.cli.{'measuring.' * (host in MEASURING)}{host}")
        command = getattr(module, f"{name}_command" if cmd_name in HOSTS else "command")
        assert isinstance(command, click.Command)
        return command

    def make_context(self, *arguments: Any, **values: Any) -> click.Context:
        """Parse the arguments; click would exit with 1 if the reader of the help has gone."""
        with to_a_reader():
            return super().make_context(*arguments, **values)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; click would exit with 1 if the reader of its output has gone."""
        with to_a_reader():
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs before the options, which few users need."""
        own: list[tuple[str, str]] = []
        of_servers: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                (of_servers if parameter.name in CONNECTION_SETTINGS else own).append(record)
        with formatter.section("Options"):
            formatter.write_dl(own)
        self.format_commands(ctx, formatter)
        with formatter.section("Options for an index on a server, before the command"):
            formatter.write_dl(of_servers)


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="hybrid-search")
@connection_options
@click.pass_context
def cli(context: click.Context, /, **connection: Any) -> None:
    """Hybrid retrieval: BM25 plus RNN two-tower vectors that you train on your own data.

    \b
    The main job, on your own documents:
      hybrid-search load  jsonl --path ./my-data --to ./index
      hybrid-search query "how do I reset the password" --from ./index

    Data goes to stdout, talk to stderr. Exit codes: 0 done · 1 other error · 2 wrong usage · 3 bad or rejected data
    · 4 index · 5 model · 6 training · 7 disk · 8 missing extra · 9 not supported · 10 a reranker failed
    · 130 interrupted · 141 nobody reads the output any more, as in `| head`.
    """  # noqa: D301 - \b is click's mark for "do not rewrap"
    connect(context, connection)


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    # Before torch or FAISS is loaded: threads that spin while they wait take cores from threads with work to do,
    # even of the same process (benchmarks/contention.py).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    forgive()
    logging.lastResort = Warnings()
    try:
        exit_code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        exit_code = error.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort) as error:
        _complain("interrupted")
        # What is kept is said by who kept it, in notes. click raises an Abort from a KeyboardInterrupt.
        for note in getattr(error.__cause__ or error, "__notes__", ()):
            _complain(note)
        exit_code = 130
    except HybridSearchError as error:
        _complain(f"Error: {in_options(str(error))}")
        exit_code = error.exit_code
    except ReaderWent:
        let_go()
        exit_code = READER_WENT
    except UnicodeEncodeError as error:  # click passes the system a path that can't be encoded
        _complain(f"Error: {shown(error.object)} can't be a path ({error.reason}); give another one")
        exit_code = UsageError.exit_code
    except OSError as error:  # a name that the system refuses, or a failing disk
        place = f"{shown(str(error.filename))}: " if error.filename else ""
        _complain(f"Error: {place}{error.strerror or error}; check the path and the disk")
        exit_code = StorageError.exit_code
    sys.exit(exit_code if isinstance(exit_code, int) else 0)


def _complain(text: str) -> None:
    click.echo(text, err=True)
