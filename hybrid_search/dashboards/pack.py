"""Builds the pack: all saved objects of one index's dashboard, and the dashboard itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hybrid_search.dashboards.objects import Panel, SavedObject, dashboard
from hybrid_search.dashboards.panels import Panels, Shown

__all__ = ["build_pack"]

_WIDTH = 48
_TALL = 26
_SINCE = "now-30d"

Row = tuple[int, Sequence[SavedObject]]
"""The height of a row of panels, and the panels from left to right."""


def build_pack(shown: Shown) -> list[SavedObject]:
    """Make all objects; each comes after the objects that it refers to.

    The same index always gives the same objects with the same ids.
    """
    panels = Panels(shown)
    rows = list(_rows(panels))
    listed, texts = panels.searches()[0], panels.texts()
    board = dashboard(
        shown.id("dashboard"), f"Hybrid search: {shown.name}", list(_placed(rows)),
        since=_SINCE, description="Documents, queries, agreement of BM25 and k-NN, evaluations.",
    )  # fmt: skip
    return [*panels.patterns, *(one for _, row in rows for one in row), listed, texts, board, *_typed(shown, panels)]


def _typed(shown: Shown, panels: Panels) -> Iterator[SavedObject]:
    """Make the panel of typed queries and its own dashboard: a text in the query bar applies to all panels of one."""
    if shown.typed is None:
        return
    panel = panels.typed(shown.typed)
    yield panel
    title = f"Hybrid search: {shown.name}, try a query"
    description = "BM25, hybrid and k-NN for what is typed into the query bar."
    panels_placed = [Panel(panel, 0, 0, _WIDTH, _TALL)]
    yield dashboard(shown.id("try"), title, panels_placed, since=_SINCE, description=description)


def _rows(panels: Panels) -> Iterator[Row]:
    lengths, vocabulary, norms = panels.of_statistics()
    outcomes, latency, overlap, agreement = panels.of_queries()
    evaluations, differences = panels.of_evaluations()
    _, nothing, only_dense, disagreeing = panels.searches()
    yield 8, (panels.about(), panels.count())
    yield 22, (panels.rankings(),)
    yield 14, (outcomes, latency)
    yield 14, (overlap, agreement)
    yield 14, (disagreeing, panels.most_asked())
    yield 12, (nothing, only_dense)
    yield 14, (evaluations, differences)
    fields = list(panels.fields())
    for first in range(0, len(fields), 3):
        yield 14, fields[first : first + 3]
    yield 13, (lengths, vocabulary, norms)


def _placed(rows: Iterable[Row]) -> Iterator[Panel]:
    y = 0
    for height, row in rows:
        width = _WIDTH // len(row)
        for number, one in enumerate(row):
            yield Panel(one, number * width, y, width, height)
        y += height
