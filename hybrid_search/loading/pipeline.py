"""Runs two stages of work on a stream of batches concurrently; results come in the order of the batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["pipelined"]

Batch = TypeVar("Batch")
Made = TypeVar("Made")
Result = TypeVar("Result")

_WAITING = 2
"""Batches prepared in advance, so that senders don't wait for the slowest batch."""


def pipelined(
    batches: Iterable[Batch],
    make: Callable[[Batch], Made],
    send: Callable[[Made], Result],
    *,
    senders: int,
    stop: Callable[[], None],
) -> Generator[tuple[Batch, Result]]:
    """Prepare batches one at a time and in order, while several threads send those prepared before.

    Yields each batch with its result, in order; the number of batches in progress is limited. After a failure no batch
    is begun, and those in progress are awaited; the results before the first failure are still yielded, then the error
    is raised. Leaving the loop early closes the generator, which waits in the same way.

    :param stop: called after a failure, to end the batches in progress soon.
    """
    makers, sending = ThreadPoolExecutor(1, "make"), ThreadPoolExecutor(senders, "send")
    under_way: deque[tuple[Batch, Future[Future[Result]]]] = deque()

    def begin(batch: Batch) -> Future[Result]:
        return sending.submit(send, make(batch))

    def oldest() -> tuple[Batch, Result]:
        batch, made = under_way[0]
        result = made.result().result()
        under_way.popleft()
        return batch, result

    try:
        for batch in batches:
            under_way.append((batch, makers.submit(begin, batch)))
            if len(under_way) > 2 * senders + _WAITING:
                yield oldest()
        while under_way:
            yield oldest()
    except GeneratorExit:
        stop()
        raise
    except BaseException:
        stop()
        _end(makers, sending)
        while under_way and _went_well(under_way[0][1]):
            yield oldest()
        raise
    finally:
        _end(makers, sending)


def _end(*pools: ThreadPoolExecutor) -> None:
    for pool in pools:
        pool.shutdown(cancel_futures=True)


def _went_well(made: Future[Future[Result]]) -> bool:
    def well(future: Future[Any]) -> bool:
        return not future.cancelled() and future.exception() is None

    return well(made) and well(made.result())
