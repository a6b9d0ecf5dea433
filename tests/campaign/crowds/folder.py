"""Threads and tasks of one process on one folder: through one writable retriever, and through one that reads."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from campaign.attack import Attempt, Bench, Outcome
from campaign.crowds.crowd import Crowd, switching_fast
from campaign.crowds.judge import Query, forbidden_hits, forbidden_texts
from campaign.crowds.members import Searcher, Writer
from campaign.crowds.model import Ledger, contents, name_of
from campaign.crowds.opening import created, opened
from campaign.crowds.planted import planted
from hybrid_search import AsyncRetriever, Retriever
from hybrid_search.errors import UsageError

__all__ = ["FolderCrowd", "check_at_rest", "fill"]

DOCUMENTS = 24
PER_TRIAL = 4_000
_WRITERS = 4
_TASKS = 6
_SEARCHES_PER_WRITE = 300
_ROUNDS_BETWEEN_BURSTS = 8


class FolderCrowd:
    """Nobody may miss what was acknowledged, see what is gone, or be told anything but that the index is closed."""

    name, unit, wanted, short, needs_server = "crowd-folder", "searches", 865_000, 4_000, False
    planted: ClassVar[Mapping[str, str]] = {
        "no-reading-lock": "a commit does not wait for the searches at work",
        "no-writing-lock": "two threads may write at once",
        "invisible-add": "every tenth commit is acknowledged, and not yet visible",
        "swallowed-error": "an addition that fails is reported as taken",
    }

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        with planted(bench.planted), switching_fast():
            yield lambda trial: _trial(bench, trial)


def _trial(bench: Bench, trial: int) -> Outcome:
    seed, folder = bench.draw(trial), bench.folder / f"i{trial}"
    ledger = Ledger(DOCUMENTS)
    writable = created(folder)
    fill(writable, ledger)
    reading = opened(folder)
    crowd = Crowd(f"seed {bench.seed}, trial {trial}", PER_TRIAL)
    for number in range(3):
        crowd.search(f"searcher {number}", Searcher(writable, ledger, 100 * seed + number).step)
    for number in range(2):
        crowd.search(f"reader {number}", Searcher(reading, ledger, 100 * seed + 10 + number).step)
    shares = [range(number, DOCUMENTS, _WRITERS + _TASKS) for number in range(_WRITERS + _TASKS)]
    writers = [Writer(ledger, share, 100 * seed + 20 + number) for number, share in enumerate(shares)]
    for number, writer in enumerate(writers[:_WRITERS]):
        crowd.write(f"writer {number}", _writing(writer, writable), _SEARCHES_PER_WRITE * _WRITERS)
    crowd.tasks("tasks", _tasks(writable, ledger, writers[_WRITERS:], 100 * seed + 50))
    crowd.run(lambda: _closed(writable, reading), UsageError)
    if not crowd.findings:
        for wrong in check_at_rest(folder, ledger):
            crowd.found(wrong)
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(max(1, crowd.counted), crowd.findings)


def fill(retriever: Retriever, ledger: Ledger) -> None:
    """Write the first version of every document."""
    numbers = list(range(ledger.documents))
    ledger.begin(numbers)
    retriever.add([one for number in numbers if (one := contents(number, 1).document) is not None])
    ledger.acknowledge(numbers)


def _writing(writer: Writer, retriever: Retriever) -> Callable[[], str]:
    return lambda: writer.step(retriever)


def _closed(*retrievers: Retriever) -> None:
    for retriever in retrievers:
        retriever.close()
        retriever.close()


def _tasks(retriever: Retriever, ledger: Ledger, writers: list[Writer], seed: int):
    """Search and write in tasks of one event loop: bursts of writes, all at once, between searches."""

    async def work(told: Callable[[int, str], None]) -> None:
        awaited = AsyncRetriever(retriever)
        searcher = Searcher(retriever, ledger, seed)

        async def search() -> None:
            for _ in range(30):
                told(*await searcher.step_awaited(awaited))

        async def write(writer: Writer) -> None:
            told(0, await writer.step_awaited(awaited))

        while True:
            await asyncio.gather(search(), search(), *(write(writer) for writer in writers))
            for _ in range(_ROUNDS_BETWEEN_BURSTS):
                await asyncio.gather(search(), search())

    return work


def check_at_rest(folder: Path, ledger: Ledger) -> Iterator[str]:
    """Open the index again and tell what is not as it was acknowledged."""
    before, after = ledger.acknowledged(), ledger.begun()
    with opened(folder) as retriever:
        yield from retriever.engine.verify()
        numbers = range(ledger.documents)
        yield forbidden_texts(numbers, retriever.get([name_of(number) for number in numbers]), before, after)
        for query in (Query("common", "bm25", 200), Query("cat", "knn", 200), Query("cat common", "hybrid", 200)):
            yield forbidden_hits(query, retriever.search(query.word, 200, mode=query.mode), before, after)
        there = [one is not None for one in retriever.get([name_of(number) for number in numbers])]
        if retriever.engine.count() != sum(there):
            yield f"count() is {retriever.engine.count()}, and get() finds {sum(there)}"
