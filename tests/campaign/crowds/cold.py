"""Threads that all come first: every cache of an index just opened is filled by several at once.

What a cache learns wrongly stays wrong for as long as the process lives, so each document is searched again afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from campaign.attack import Attempt, Bench, Finding, Outcome
from campaign.crowds.crowd import switching_fast
from campaign.crowds.opening import created, opened
from campaign.crowds.planted import planted
from hybrid_search import Document, Retriever

__all__ = ["ColdCrowd"]

_LIVING = 64
_ROWS = 12_000
"""Rows that were ever there. Documents far apart make caches by row grow often, and each time take long."""

_THREADS = 8
_WORDS = ("cat", "dog", "tree", "car")


class ColdCrowd:
    """Threads look for one document each, in a folder that was opened just now."""

    name, unit, wanted, short, needs_server = "crowd-cold", "searches", 60_000, 2_500, False
    planted: ClassVar[Mapping[str, str]] = {"torn-growth": "a cache of ids is copied while another thread fills it in"}

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        folder = bench.folder / "sparse"
        _make(folder)
        with planted(bench.planted), switching_fast():
            yield lambda trial: _trial(bench, folder, trial)


def _living(number: int) -> Document:
    return Document(f"d{number:03}", f"own{number} {_WORDS[number % 4]}", metadata={"number": number})


def _make(folder: Path) -> None:
    every = _ROWS // _LIVING
    with created(folder) as retriever:
        for number in range(_LIVING):
            fillers = [Document(f"f{number}-{one}", "filler") for one in range(every - 1)]
            retriever.engine.add([*fillers, _living(number)], retriever.encode_documents([""] * every))
            retriever.engine.delete([one.id for one in fillers])
        retriever.engine.delete([_living(number).id for number in range(_LIVING)])
        retriever.engine.commit()
        # Again, with vectors, so that both legs have them, at rows up to the last.
        for number in range(_LIVING):
            fillers = [Document(f"g{number}-{one}", "filler") for one in range(every - 1)]
            retriever.engine.add(fillers, retriever.encode_documents([""] * len(fillers)))
            retriever.engine.delete([one.id for one in fillers])
            retriever.engine.add([_living(number)], retriever.encode_documents([_living(number).text]))
        retriever.engine.commit()


def _trial(bench: Bench, folder: Path, trial: int) -> Outcome:
    where = f"seed {bench.seed}, trial {trial}"
    wrong: list[Finding] = []
    with opened(folder) as retriever:
        start = threading.Barrier(_THREADS)

        def look(first: int) -> None:
            start.wait()
            for number in range(first, _LIVING, _THREADS):
                try:
                    wrong.extend(_missing(retriever, number, where))
                except Exception as error:
                    wrong.append(Finding(f"{type(error).__name__}: {error}", where))

        threads = [threading.Thread(target=look, args=(first,)) for first in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in range(_LIVING):
            wrong.extend(_missing(retriever, number, f"{where}, afterwards"))
    return Outcome(4 * _LIVING, tuple(wrong[:5]))


def _missing(retriever: Retriever, number: int, where: str) -> Iterator[Finding]:
    ways: tuple[tuple[str, Callable[[], list[str]]], ...] = (
        # Rankings, not hits: a hit's id is its document's, and comes from no cache.
        ("bm25", lambda: list(retriever.rankings([f"own{number}"], 5, mode="bm25")[0].ids)),
        ("hybrid", lambda: list(retriever.rankings([f"own{number} {_WORDS[number % 4]}"], _LIVING)[0].ids)),
    )
    for mode, search in ways:
        found = search()
        if _living(number).id not in found or len(set(found)) != len(found):
            yield Finding(f"{_living(number).id} is not found, or not once, among {len(found)} in mode {mode}", where)
