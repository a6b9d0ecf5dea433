"""The library names parameters; the command line says them as options."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from hybrid_search.cli.output import Warnings, in_options

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("rebuild this one with recreate=True", "rebuild this one with --recreate"),
        ("give model=PATH, or drop it", "give --model PATH, or drop it"),
        ("search with pipeline=_inline.", "search with --pipeline _inline."),
        ("or say lexical_only=True for", "or say --lexical-only for"),
        ("with split=none", "with --split none"),
        ("load without `resume`", "load without --resume"),
        ("give another `out`", "give another --out"),
        ("its file as `negatives_files`", "its file as --negatives-file"),
        ("drop both with also_live=True", "drop both with --live"),
        ("`may_be_smaller` allows it", "--yes allows it"),
        ("(`partial` takes what is there)", "(--allow-partial takes what is there)"),
        ("which is allowed (`allow` 1%)", "which is allowed (--allow-rejected 1%)"),
        ("use training.loss=infonce and", "use --set training.loss=infonce and"),
        ("train with --set training.loss=kl", "train with --set training.loss=kl"),
        ("with ca_certs=FILE or OPENSEARCH_CA_CERTS", "with --ca-certs FILE or OPENSEARCH_CA_CERTS"),
        ("training.seed is 0; it must be above 0", "training.seed is 0; it must be above 0"),
        # What a user typed or a document holds is quoted, and stays.
        ("can't parse 'model=x'", "can't parse 'model=x'"),
        ('the query "out=1"', 'the query "out=1"'),
        ("http://host/?user=me&path=x", "http://host/?user=me&path=x"),
    ],
)
def test_parameters_become_options_and_nothing_else_does(message: str, said: str) -> None:
    assert in_options(message) == said


def test_what_the_library_logs_is_said_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("hybrid_search.test_in_options")
    handler = Warnings()
    log.addHandler(handler)
    try:
        log.warning("loading with %s goes on", "resume=True")
        log.info("nobody asked")
    finally:
        log.removeHandler(handler)
    assert capsys.readouterr().err == "loading with --resume goes on\n"


def test_no_message_of_the_library_names_a_bare_option() -> None:
    """Whole commands may be named (`hybrid-search info --verify`), and what curl is given; nothing else has a dash."""
    a_command = re.compile(r"hybrid-search|curl|arguments \+=|``|#|deploy --connector|load --alias")
    a_style = re.compile(r"var\(--|--\w+: ")  # of a page
    parts_of_commands = re.compile(r"""f?" ?(\{.*\} )?--(yes|model|default-pipeline|host)\b|--connector \{""")
    found = []
    for package in ("hybrid_search", "loaders"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if "cli" in parts or path.name in ("curl.py", "documents.py") or parts[-2:] == ("general", "__main__.py"):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if re.search(r"[\"' (]--[a-z]", line) and not (
                    a_command.search(line) or parts_of_commands.search(line) or a_style.search(line)
                ):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found
