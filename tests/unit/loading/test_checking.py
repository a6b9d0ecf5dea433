"""How much of the truth a walk over the graph found."""

from __future__ import annotations

import pytest

from hybrid_search.loading.checks import recall_of
from hybrid_search.types import Ranking

TRUTH = Ranking(("a", "b", "c", "d"), (0.9, 0.8, 0.7, 0.7))


@pytest.mark.parametrize(
    ("scores", "recall"),
    [
        ((0.9, 0.8, 0.7, 0.7, 0.6), 1.0),
        ((0.9, 0.8, 0.6, 0.5), 0.5),
        ((0.9, 0.8, 0.7, 0.7, 0.7), 1.0),  # another one that is as near as the last
        ((0.9, 0.8, 0.699999, 0.7), 1.0),  # as the server rounds
        ((), 0.0),
    ],
)
def test_the_share_of_the_true_neighbours_goes_by_how_near_they_are(scores: tuple[float, ...], recall: float) -> None:
    found = Ranking(tuple(f"id-{number}" for number in range(len(scores))), scores)
    assert recall_of(found, TRUTH) == recall


def test_where_there_is_nothing_to_find_nothing_is_missed() -> None:
    assert recall_of(Ranking((), ()), Ranking((), ())) == 1.0
