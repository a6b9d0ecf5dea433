"""Two stages at the same time: order kept, a bounded number under way, errors and goodbyes stop everything."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing

import pytest

from hybrid_search.loading.pipeline import pipelined


def test_results_come_in_the_order_of_the_batches_although_later_ones_end_sooner() -> None:
    def send(made: int) -> int:
        time.sleep(0.02 if made % 2 else 0)
        return made * 10

    results = list(pipelined(range(8), lambda batch: batch + 1, send, senders=4, stop=lambda: None))
    assert results == [(n, (n + 1) * 10) for n in range(8)]


def taken(into: list[tuple[int, int]], results: Iterable[tuple[int, int]]) -> None:
    for result in results:
        into.append(result)  # one by one, so that what came before an error is there


def test_making_goes_on_while_sending_waits_and_only_so_many_batches_are_read() -> None:
    read, made = [], []
    full, sent = threading.Event(), threading.Event()

    def batches() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            if number == 6:  # 2 senders, twice as many and 2 more are under way
                full.set()
            yield number

    def send(number: int) -> int:
        assert full.wait(5)
        assert sent.wait(5)
        return number

    def make(number: int) -> int:
        made.append(number)
        return number

    stopped: list[bool] = []
    threading.Timer(0.1, sent.set).start()
    results = pipelined(batches(), make, send, senders=2, stop=lambda: stopped.append(True))
    with closing(results):
        assert next(results) == (0, 0)
    assert stopped == [True]  # whoever takes no more of it ends what is under way
    assert read == list(range(7))
    assert made[:3] == [0, 1, 2]


@pytest.mark.parametrize("stage", ["make", "send"])
def test_an_error_in_a_stage_comes_out_and_stops_the_rest(stage: str) -> None:
    stopped: list[bool] = []
    results: list[tuple[int, int]] = []

    def fails(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    def passes(number: int) -> int:
        return number

    make, send = (fails, passes) if stage == "make" else (passes, fails)
    with pytest.raises(ValueError, match="three"):
        taken(results, pipelined(range(50), make, send, senders=2, stop=lambda: stopped.append(True)))
    assert results == [(0, 0), (1, 1), (2, 2)]
    assert stopped == [True]


def test_what_went_well_before_the_stream_broke_is_told() -> None:
    results: list[tuple[int, int]] = []

    def breaks() -> Iterator[int]:
        yield from range(3)
        time.sleep(0.1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taken(results, pipelined(breaks(), lambda n: n, lambda n: n, senders=2, stop=lambda: None))
    assert results == [(0, 0), (1, 1), (2, 2)]
