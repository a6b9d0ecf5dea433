"""How large a request may be: halved when refused, grown again, cut by count and bytes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hybrid_search.engines.opensearch.writing.load_settings import while_loading
from hybrid_search.engines.opensearch.writing.pacing import Limits, Pace, Traffic, cut


@dataclass(frozen=True)
class Sized:
    size: int


def test_a_refusal_halves_the_limits_and_successes_bring_them_back() -> None:
    pace = Pace(Limits(1_000, 8_000))
    pace.slower()
    assert pace.limits == Limits(500, 4_000)
    pace.slower()
    assert pace.limits == Limits(250, 2_000)
    pace.faster()
    assert pace.limits == Limits(312, 2_500)
    for _ in range(10):
        pace.faster()
    assert pace.limits == Limits(1_000, 8_000)


def test_the_limits_never_fall_below_a_document() -> None:
    pace = Pace(Limits(10, 100))
    for _ in range(20):
        pace.slower()
    assert pace.limits == Limits(1, 1)


@pytest.mark.parametrize(
    ("sizes", "limits", "taken"),
    [
        ([10, 10, 10], Limits(2, 100), 2),
        ([10, 10, 10], Limits(5, 20), 2),
        ([10, 10, 10], Limits(5, 25), 2),
        ([500, 10], Limits(5, 100), 1),
        ([10, 500], Limits(5, 100), 1),
        ([], Limits(5, 100), 0),
    ],
)
def test_items_are_cut_by_count_and_bytes_and_a_large_one_goes_alone(
    sizes: list[int], limits: Limits, taken: int
) -> None:
    items = [Sized(size) for size in sizes]
    assert cut(items, limits) == (items[:taken], items[taken:])


def test_traffic_is_counted() -> None:
    traffic = Traffic()
    traffic.sent([Sized(10), Sized(5)])
    traffic.sent_back(2)
    assert (traffic.requests, traffic.bytes, traffic.retries, traffic.refusals) == (1, 15, 1, 2)


def test_what_is_set_while_loading() -> None:
    assert while_loading(without_replicas=False, without_graphs=False) == {"index.refresh_interval": "-1"}
    assert while_loading(without_replicas=True, without_graphs=True) == {
        "index.refresh_interval": "-1",
        "index.number_of_replicas": "0",
        "index.auto_expand_replicas": "false",
        "index.knn.advanced.approximate_threshold": "-1",
    }
