"""Searches through an alias that moves from index to index, of two models in turn, while the old ones are dropped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from fakes import AXIS_SETTINGS, AxisEncoder

from campaign.attack import Attempt, Bench, Outcome
from campaign.crowds.crowd import Crowd, switching_fast
from campaign.crowds.planted import planted
from campaign.crowds.server import asked, location_of
from hybrid_search import AsyncRetriever, Document, Hit, Retriever
from hybrid_search.errors import UsageError
from hybrid_search.opening import create_index, drop_index, open_engine
from hybrid_search.protocols import Vectors
from hybrid_search.retrieval.alias_retriever import AliasFollower
from hybrid_search.retrieval.open_index import OpenIndex

__all__ = ["AliasCrowd"]

_DOCUMENTS = 9
_PER_TRIAL = 400
_SEARCHERS = 4
_CHECK_EVERY = 0.05
_SECONDS_TO_FOLLOW = 10.0
_ENCODING = 0.003
_WORDS = ("cat", "dog", "tree")


class _Slow(AxisEncoder):
    """Towers that take their time, as real ones do: a move finds searches at work in them."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        time.sleep(_ENCODING)
        return super().encode_queries(texts)


class _Rotated(_Slow):
    """Towers that put each word on the next axis: with the other towers' index every score would be wrong."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return np.ascontiguousarray(np.roll(super().encode_queries(texts), 1, axis=1))


_TOWERS = {"axes": _Slow(), "rotated": _Rotated("rotated")}


class AliasCrowd:
    """An answer comes from one index with its own towers, the newest soon after the alias moved; none fails."""

    name, unit, wanted, short, needs_server = "crowd-alias", "searches", 10_000, 400, True
    planted: ClassVar[Mapping[str, str]] = {"closed-early": "the old index is closed while searches are at work in it"}

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        with planted(bench.planted), switching_fast():
            yield lambda trial: _trial(bench, trial)


class _Moves:
    """The generations of an alias: the index of generation n is NAME-n, and a move is begun before it is done."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench = bench
        self.name = name
        self.begun = self.done = 0

    def move(self) -> None:
        """Make the next index, move the alias to it, and drop the one before."""
        new = self.begun + 1
        fingerprint = ("axes", "rotated")[new % 2]
        location = location_of(self._bench, f"{self.name}-{new}")
        drop_index(location)
        with Retriever(
            _TOWERS[fingerprint], create_index(location, AXIS_SETTINGS.replace(fingerprint=fingerprint))
        ) as made:
            made.add([_document(number, new) for number in range(_DOCUMENTS)])
        actions = [{"add": {"index": f"{self.name}-{new}", "alias": self.name}}]
        if self.done:
            actions.append({"remove": {"index": f"{self.name}-{self.done}", "alias": self.name}})
        self.begun = new
        asked(self._bench, "POST", "/_aliases", {"actions": actions})
        old, self.done = self.done, new
        if old:
            drop_index(location_of(self._bench, f"{self.name}-{old}"))

    def opened(self) -> OpenIndex:
        """Open what the alias stands for."""
        engine = open_engine(location_of(self._bench, self.name))
        return OpenIndex(_TOWERS[engine.settings.fingerprint], engine)


def _document(number: int, generation: int) -> Document:
    return Document(f"d{number}", f"common {_WORDS[number % 3]}", metadata={"generation": generation})


def _trial(bench: Bench, trial: int) -> Outcome:
    moves = _Moves(bench, f"crowd-alias-{bench.draw(trial)}-{bench.planted or 'sound'}")
    moves.move()
    follower = Retriever.through(AliasFollower(moves.opened(), moves.opened, _moved, check_every=_CHECK_EVERY))
    crowd = Crowd(f"seed {bench.seed}, trial {trial}", _PER_TRIAL)
    shown = _Shown(moves)
    for number in range(_SEARCHERS):
        crowd.search(f"searcher {number}", _searching(follower, shown, number))
    crowd.tasks("tasks", _tasks(follower, shown))
    crowd.write("mover", _moving(moves, shown, crowd), _PER_TRIAL // 4, beside=True)
    crowd.run(follower.close, UsageError)
    drop_index(location_of(bench, f"{moves.name}-{moves.done}"))
    return Outcome(max(1, crowd.counted), crowd.findings)


def _moved(index: OpenIndex) -> bool:
    engine: Any = index.engine
    moved: bool = engine.moved()
    return moved


class _Shown:
    """Judges answers, and knows the newest generation that one has shown."""

    def __init__(self, moves: _Moves) -> None:
        self._moves = moves
        self._guard = threading.Lock()
        self.newest = 0

    def judged(self, word: str, hits: Sequence[Hit]) -> str:
        generations = {hit.metadata["generation"] for hit in hits}
        if len(generations) != 1:
            return f"an answer mixes the generations {sorted(map(str, generations))}"
        if len({hit.id for hit in hits}) != _DOCUMENTS or len(hits) != _DOCUMENTS:
            return f"{[hit.id for hit in hits]} were found, not {_DOCUMENTS} documents"
        (generation,) = generations
        if not isinstance(generation, int) or generation > self._moves.begun:
            return f"generation {generation} was found, and {self._moves.begun} is the newest"
        for hit in hits:
            right = 1.0 if word in hit.text.split() else 0.5
            if abs(hit.legs["knn"].score - right) > 1e-4:
                return f"{hit.id} of generation {generation} has the k-NN score {hit.legs['knn'].score}: other towers'"
        with self._guard:
            self.newest = max(self.newest, generation)
        return ""


def _searching(follower: Retriever, shown: _Shown, number: int) -> Callable[[], tuple[int, str]]:
    def step() -> tuple[int, str]:
        word = _WORDS[number % 3]
        return 1, shown.judged(word, follower.search(word, 50, mode=("knn", "hybrid")[number % 2]))  # type: ignore[arg-type]

    return step


def _moving(moves: _Moves, shown: _Shown, crowd: Crowd) -> Callable[[], str]:
    def step() -> str:
        moves.move()
        deadline = time.monotonic() + _SECONDS_TO_FOLLOW
        while shown.newest < moves.done and not crowd.closing:
            if time.monotonic() > deadline:
                return (
                    f"{_SECONDS_TO_FOLLOW:g} s after the alias moved to generation {moves.done}, {shown.newest} answers"
                )
            time.sleep(0.01)
        return ""

    return step


def _tasks(follower: Retriever, shown: _Shown):
    async def work(told: Callable[[int, str], None]) -> None:
        awaited = AsyncRetriever(follower)

        async def search(word: str) -> None:
            told(1, shown.judged(word, await awaited.search(word, 50)))

        try:
            while True:
                await asyncio.gather(*(search(word) for word in _WORDS))
        finally:
            await awaited.close()

    return work
