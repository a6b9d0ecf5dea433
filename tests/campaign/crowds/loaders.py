"""Several loads and retrievers that write into one index on a server at once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import ClassVar

import hybrid_search
from campaign.attack import Attempt, Bench, Finding, Outcome
from campaign.crowds.planted import planted
from campaign.crowds.server import left_behind, location_of
from hybrid_search import Document
from hybrid_search.loading.load import LoadOptions, ServerLoad
from hybrid_search.loading.sources import Corpus
from hybrid_search.opening import drop_index

__all__ = ["LoaderCrowd"]

_DOCUMENTS = 60
_LOADERS = ("a", "b", "d")
_ADDERS = 3
_ADDED = 4


class LoaderCrowd:
    """All find their documents there, their fields declared, and nothing of their settings left."""

    name, unit, wanted, short, needs_server = "crowd-loaders", "writers", 120, 9, True
    planted: ClassVar[Mapping[str, str]] = {"refreshing-lost": "a load gives back no setting that it held"}

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        with planted(bench.planted):
            yield lambda trial: _trial(bench, trial)


def _documents(loader: str) -> list[Document]:
    return [
        Document(f"{loader}{number:04}", f"common from{loader} own{loader}{number}", metadata={f"of_{loader}": number})
        for number in range(_DOCUMENTS)
    ]


def _slowly(documents: list[Document], pause: float) -> Iterator[Document]:
    for number, document in enumerate(documents):
        if number % 50 == 0:
            time.sleep(pause)
        yield document


def _trial(bench: Bench, trial: int) -> Outcome:
    seed = bench.draw(trial)
    where = f"seed {bench.seed}, trial {trial}"
    name = f"crowd-loads-{seed}-{bench.planted or 'sound'}"
    location = location_of(bench, name)
    drop_index(location)
    found: list[str] = []
    first = Corpus("seed", lambda: iter([Document("z", "common zero", metadata={"of_z": 1})]))
    hybrid_search.load(first, location, options=LoadOptions(lexical_only=True))

    def load(loader: str) -> None:
        rng = random.Random(f"{seed} {loader}")
        time.sleep(rng.uniform(0, 0.03))
        pause = rng.uniform(0, 0.05)
        source = LoadOptions(server=ServerLoad(source=f"{where} {loader}", connections=2))
        corpus = Corpus(loader, lambda: _slowly(_documents(loader), pause))
        report = hybrid_search.load(corpus, location, options=source)
        if (report.added, report.rejected) != (_DOCUMENTS, 0):
            found.append(f"load {loader} took {report.added} and refused {report.rejected} of {_DOCUMENTS}")

    opened = threading.Barrier(_ADDERS)

    def add(adder: int) -> None:
        """Add a few documents, which are found at once; opened beside others who do."""
        rng = random.Random(f"{seed} {adder}")
        with hybrid_search.open(location, writable=True) as retriever, hybrid_search.open(location) as other:
            opened.wait(60)
            for number in range(_ADDED):
                time.sleep(rng.uniform(0, 0.05 if number else 0.5))
                own = f"c{adder}x{number}"
                retriever.add([Document(own, f"common own{own}", metadata={f"of_c{adder}": number})])
                if [hit.id for hit in other.search(f"own{own}", mode="bm25")] != [own]:
                    found.append(f"{own} was acknowledged, and another retriever did not find it")

    loaders = () if trial % 2 else _LOADERS
    _together([*(partial(load, one) for one in loaders), *(partial(add, one) for one in range(_ADDERS))], found)
    try:
        found += _wrong(location, loaders) if not found else []
        found += left_behind(bench, name) if not found else []
    finally:
        drop_index(location)
    return Outcome(len(loaders) + _ADDERS, tuple(Finding(what, where) for what in found[:5]))


def _together(works: list[Callable[[], None]], found: list[str]) -> None:
    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        if thread.is_alive():
            found.append("a load hangs")


def _wrong(location: str, loaders: Sequence[str]) -> Iterator[str]:
    with hybrid_search.open(location) as retriever:
        for loader in loaders:
            ids = {hit.id for hit in retriever.search(f"from{loader}", 1_000, mode="bm25")}
            if missing := {one.id for one in _documents(loader)} - ids:
                yield f"{len(missing)} documents of load {loader} are not found"
            filtered = retriever.search("common", 1_000, mode="bm25", filter=f"of_{loader} >= 0")
            if len(filtered) != _DOCUMENTS:
                yield f"the filter of_{loader} >= 0 finds {len(filtered)} documents, not {_DOCUMENTS}"
        everything = len(loaders) * _DOCUMENTS + _ADDERS * _ADDED + 1
        if (count := retriever.engine.count()) != everything:
            yield f"count() is {count}, not {everything}"
