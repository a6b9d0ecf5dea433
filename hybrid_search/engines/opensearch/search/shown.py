"""A search as a person can send it: the same query in plain JSON, with the texts in the answer. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hybrid_search.engines.opensearch.search import bodies as requests
from hybrid_search.engines.opensearch.search.reading import Reading
from hybrid_search.engines.opensearch.transport.curl import shell_line
from hybrid_search.errors import UsageError
from hybrid_search.filters import Filter, check_filter
from hybrid_search.filters.numbers import in_its_type
from hybrid_search.protocols import DenseQueries, Vectors
from hybrid_search.settings.index import Bm25, Fusion
from hybrid_search.steps import Encode, Steps

__all__ = ["SHOWN", "Showing", "ShownRequest", "console_form", "for_people", "shown_body"]

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


def shown_body(steps: Steps[Any], encode: Callable[[list[str]], Vectors], showing: Showing) -> Body:
    """Take a search's steps up to the first that would ask the server, and show that.

    :raises UsageError: if there is none.
    """
    try:
        step = next(steps)
        while isinstance(step, Encode):
            step = steps.send(encode(step.texts))
    except StopIteration:
        raise UsageError("the query is empty, so it finds nothing and is not sent") from None
    body: Body = step.call(showing)
    steps.close()
    return body


class Showing:
    """Answers the calls of a search with the body that would be sent, instead of sending it.

    :ivar fusion: of the hybrid query that was shown, if its vector is not zero.
    """

    def __init__(self, reading: Reading, k: int, offset: int) -> None:
        self.fusion: Fusion | None = None
        self._reading = reading
        self._page = k, offset

    def search_lexical(
        self, texts: Sequence[str], k: int, filter: Filter | None = None, *, bm25: Bm25 | None = None
    ) -> Body:
        """Show a BM25 search."""
        filter = self._checked(filter)
        [asked] = self._reading.asked(texts, filter)
        return self._for_people(requests.lexical(asked, k, filter))

    def search_dense(self, vectors: DenseQueries, k: int, filter: Filter | None = None) -> Body:
        """Show a k-NN search.

        :raises UsageError: if the vector is zero, so that nothing would be sent.
        """
        filter = self._checked(filter)
        [query] = self._reading.dense_queries(vectors, 1)
        if query is None:
            raise UsageError("the towers know no word of the query, so a k-NN search finds nothing and is not sent")
        return self._for_people(requests.dense(query, k, filter))

    def search_hybrid(
        self,
        texts: Sequence[str],
        vectors: DenseQueries,
        k: int,
        *,
        fusion: Fusion,
        filter: Filter | None,
        **_: Any,
    ) -> Body:
        """Show a hybrid search."""
        filter = self._checked(filter)
        [query] = self._reading.dense_queries(vectors, 1)
        self.fusion = None if query is None else fusion
        [asked] = self._reading.asked(texts, filter)
        return self._for_people(self._reading.asking(fusion, filter).body((asked, query), k))

    def _checked(self, filter: Filter | None) -> Filter | None:
        """Check a filter; returns it as the server is asked."""
        if filter is None:
            return None
        check_filter(filter, self._reading.settings.fields)
        return in_its_type(filter, self._reading.settings.fields)

    def _for_people(self, body: Body) -> Body:
        return for_people(body, *self._page)


def _on_one_line(found: re.Match[str]) -> str:
    return re.sub(r"\s+", "", found[0])
