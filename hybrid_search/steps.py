"""What a search asks of its encoder and its engine, step by step; carried out at once, or awaited.

A search is written once, as a generator of steps, and both retrievers carry it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from hybrid_search.protocols import AsyncEngine, Encoder, Engine, Vectors

__all__ = ["Ask", "Encode", "Steps", "carried_out", "carried_out_async"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Encode:
    """Encode texts with the query tower."""

    texts: list[str]


@dataclass(frozen=True, slots=True)
class Ask:
    """Call a method that an :class:`Engine` and an :class:`AsyncEngine` share; the latter returns what to await."""

    call: Callable[[Any], Any]


Steps = Generator[Encode | Ask, Any, T]
"""Yields steps, is sent what each gave, returns the search's result."""


def carried_out(steps: Steps[T], encode: Callable[[list[str]], Vectors], engine: Engine) -> T:
    """Carry a search out."""
    try:
        step = next(steps)
        while True:
            step = steps.send(encode(step.texts) if isinstance(step, Encode) else step.call(engine))
    except StopIteration as done:
        result: T = done.value
        return result


async def carried_out_async(steps: Steps[T], encoder: Encoder | None, engine: AsyncEngine) -> T:
    """Carry a search out: texts are encoded in a worker thread, and the engine is awaited."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Ask):
                given = await step.call(engine)
            elif encoder is not None:
                given = await asyncio.to_thread(encoder.encode_queries, step.texts)
            step = steps.send(given)
    except StopIteration as done:
        result: T = done.value
        return result
