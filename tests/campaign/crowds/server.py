"""Threads and tasks on one index on a server, some of which write; and what is left when all have gone."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from campaign.attack import Attempt, Bench, Outcome
from campaign.crowds.crowd import Crowd, switching_fast
from campaign.crowds.folder import fill
from campaign.crowds.judge import Query, forbidden_hits, forbidden_texts
from campaign.crowds.members import Searcher, Writer
from campaign.crowds.model import Ledger, name_of
from campaign.crowds.opening import created, opened
from campaign.crowds.planted import planted
from hybrid_search import AsyncRetriever, Retriever
from hybrid_search.errors import UsageError
from hybrid_search.opening import drop_index

__all__ = ["ServerCrowd", "asked", "left_behind", "location_of"]

_DOCUMENTS = 16
_PER_TRIAL = 500
_WRITERS = 3
_TASKS = 3
_SEARCHES_PER_WRITE = 60


class ServerCrowd:
    """What is acknowledged is found, refreshing is given back, and a closed retriever says so."""

    name, unit, wanted, short, needs_server = "crowd-server", "searches", 15_000, 500, True
    planted: ClassVar[Mapping[str, str]] = {"unrefreshed": "additions are acknowledged without a refresh"}

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        with planted(bench.planted), switching_fast():
            yield lambda trial: _trial(bench, trial)


def location_of(bench: Bench, name: str) -> str:
    """Return the location of an index on the bench's server."""
    assert bench.server is not None
    return f"{bench.server.replace('http://', 'opensearch://')}/{name}"


def asked(bench: Bench, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Ask the server itself."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{bench.server}{path}", data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def left_behind(bench: Bench, name: str) -> Iterator[str]:
    """Tell of what writers must not leave on an index."""
    settings = asked(bench, "GET", f"/{name}/_settings?flat_settings=true")[name]["settings"]
    if (interval := settings.get("index.refresh_interval")) is not None:
        yield f"refresh_interval of {name} was left at {interval}"
    meta = asked(bench, "GET", f"/{name}/_mapping")[name]["mappings"].get("_meta", {})
    if held := meta.get("held_settings"):
        yield f"the note of settings that are held stayed behind in {name}: {held}"


def _trial(bench: Bench, trial: int) -> Outcome:
    seed, name = bench.draw(trial), f"crowd-{bench.draw(trial)}-{bench.planted or 'sound'}"
    location = location_of(bench, name)
    drop_index(location)
    ledger = Ledger(_DOCUMENTS)
    writable = created(location)
    fill(writable, ledger)
    reading = opened(location)
    crowd = Crowd(f"seed {bench.seed}, trial {trial}", _PER_TRIAL)
    for number, retriever in enumerate((writable, reading, reading)):
        crowd.search(f"searcher {number}", Searcher(retriever, ledger, 100 * seed + number).step)
    shares = [range(number, _DOCUMENTS, _WRITERS + _TASKS) for number in range(_WRITERS + _TASKS)]
    writers = [Writer(ledger, share, 100 * seed + 20 + number) for number, share in enumerate(shares)]
    for number, writer in enumerate(writers[:_WRITERS]):
        crowd.write(f"writer {number}", lambda writer=writer: writer.step(writable), _SEARCHES_PER_WRITE * _WRITERS)
    crowd.tasks("tasks", _tasks(writable, ledger, writers[_WRITERS:], 100 * seed + 50))
    crowd.run(lambda: _closed(writable, reading), UsageError)
    try:
        if not crowd.findings:
            for wrong in (*_check_at_rest(location, ledger), *left_behind(bench, name)):
                crowd.found(wrong)
    finally:
        drop_index(location)
    return Outcome(max(1, crowd.counted), crowd.findings)


def _closed(*retrievers: Retriever) -> None:
    for retriever in retrievers:
        retriever.close()


def _tasks(retriever: Retriever, ledger: Ledger, writers: list[Writer], seed: int):
    async def work(told: Callable[[int, str], None]) -> None:
        awaited = AsyncRetriever(retriever)
        searcher = Searcher(retriever, ledger, seed)

        async def search() -> None:
            for _ in range(_SEARCHES_PER_WRITE // 4):
                told(*await searcher.step_awaited(awaited))

        async def write(writer: Writer) -> None:
            told(0, await writer.step_awaited(awaited))

        try:
            while True:
                await asyncio.gather(search(), search(), *(write(writer) for writer in writers))
        finally:
            await awaited.close()

    return work


def _check_at_rest(location: str, ledger: Ledger) -> Iterator[str]:
    before, after = ledger.acknowledged(), ledger.begun()
    with opened(location) as retriever:
        numbers = range(ledger.documents)
        yield forbidden_texts(numbers, retriever.get([name_of(number) for number in numbers]), before, after)
        for query in (Query("common", "bm25", 200), Query("cat", "knn", 200), Query("cat common", "hybrid", 200)):
            yield forbidden_hits(query, retriever.search(query.word, 200, mode=query.mode), before, after)
