"""A search in a form that people can send: plain JSON, with the texts in the answer. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

import msgspec

from hybrid_search.engines.opensearch.transport.curl import shell_line

__all__ = ["SHOWN", "ShownRequest", "console_form", "for_people"]

Body = dict[str, Any]

SHOWN = ["title", "text", "metadata"]
"""The fields of a hit that people see."""

_NOT_SHOWN = ("stored_fields", "docvalue_fields", "seq_no_primary_term")

# JSON texts contain no line breaks, so no text in a query matches this.
_NUMBERS = re.compile(r"\[\n\s+-?\d[-+.\deE]*(?:,\n\s+-?\d[-+.\deE]*)*\n\s+\]")


@dataclass(frozen=True, slots=True)
class ShownRequest:
    """A search to be pasted; it contains no secret.

    :ivar arguments: further arguments of ``curl``, besides the URL and the body.
    """

    server: str
    path: str
    body: Body
    arguments: tuple[str, ...] = ()

    @property
    def curl(self) -> str:
        """The request as a shell command; ``curl`` asks for a password if one is needed."""
        words = ["curl", "-s", *self.arguments, "-H", "Content-Type: application/json", self.server + self.path]
        # The body contains a user's query, in which nothing must have a meaning for the shell.
        return f"{shell_line(words)} -d {shlex.quote(msgspec.json.encode(self.body).decode())}"

    @property
    def console(self) -> str:
        """The request in the form of OpenSearch Dashboards' Dev Tools."""
        return console_form("POST", self.path, self.body)


def console_form(method: str, path: str, body: Body | None) -> str:
    """Return a request in the form of OpenSearch Dashboards' Dev Tools; lists of numbers are kept on one line."""
    if body is None:
        return f"{method} {path}"
    lines = msgspec.json.format(msgspec.json.encode(body), indent=2).decode()
    return f"{method} {path}\n{_NUMBERS.sub(_on_one_line, lines)}"


def for_people(body: Body, size: int, offset: int = 0) -> Body:
    """Return a search with texts in its answer, and the hits of one page only."""
    kept = {name: value for name, value in body.items() if name not in _NOT_SHOWN}
    page = {"size": size, "from": offset} if offset else {"size": size}
    return {**kept, **page, "_source": SHOWN}


def _on_one_line(found: re.Match[str]) -> str:
    return re.sub(r"\s+", "", found[0])
