"""A search as a person can send it: the same query in plain JSON, with the texts in the answer. Pure."""

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
"""The fields that people see of a hit."""

_NOT_SHOWN = ("stored_fields", "docvalue_fields", "seq_no_primary_term")

# A text has no line ends of its own in JSON, so nothing in a query looks like this.
_NUMBERS = re.compile(r"\[\n\s+-?\d[-+.\deE]*(?:,\n\s+-?\d[-+.\deE]*)*\n\s+\]")


@dataclass(frozen=True, slots=True)
class ShownRequest:
    """A search, for a person to paste. There is no secret in it.

    :ivar arguments: what ``curl`` is told beside the URL and the body.
    """

    server: str
    path: str
    body: Body
    arguments: tuple[str, ...] = ()

    @property
    def curl(self) -> str:
        """The request as one line for a shell; ``curl`` asks for a password where one is needed."""
        words = ["curl", "-s", *self.arguments, "-H", "Content-Type: application/json", self.server + self.path]
        # The body holds what somebody asked, so nothing in it may mean anything to the shell.
        return f"{shell_line(words)} -d {shlex.quote(msgspec.json.encode(self.body).decode())}"

    @property
    def console(self) -> str:
        """The request as OpenSearch Dashboards' Dev Tools take it."""
        return console_form("POST", self.path, self.body)


def console_form(method: str, path: str, body: Body | None) -> str:
    """Write a request as OpenSearch Dashboards' Dev Tools take it; numbers of a list on one line."""
    if body is None:
        return f"{method} {path}"
    lines = msgspec.json.format(msgspec.json.encode(body), indent=2).decode()
    return f"{method} {path}\n{_NUMBERS.sub(_on_one_line, lines)}"


def for_people(body: Body, size: int, offset: int = 0) -> Body:
    """Return a search with the texts in its answer, and a page of hits instead of as many as we ask for."""
    kept = {name: value for name, value in body.items() if name not in _NOT_SHOWN}
    page = {"size": size, "from": offset} if offset else {"size": size}
    return {**kept, **page, "_source": SHOWN}


def _on_one_line(found: re.Match[str]) -> str:
    return re.sub(r"\s+", "", found[0])
