"""Ctrl-C between two steps instead of in the middle of one. Layer 3."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["deferred_interrupt"]


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Hold the first Ctrl-C back and give a function that tells whether there was one; a second one strikes at once.

    One that the body did not act on is raised at the end, so none is lost.

    An interrupt inside an optimiser's step would leave half of the weights moved, a state that no run can go on from
    with the same result. Outside the main thread, where Python delivers no interrupt, nothing is changed.
    """
    arrived = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield arrived.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        arrived.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield arrived.is_set
    finally:
        signal.signal(signal.SIGINT, before)
    if arrived.is_set():
        raise KeyboardInterrupt
