"""The same documents, ids, queries and filters into a folder and into a server's index: equal answers come out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from fakes import AxisEncoder

from campaign.attack import Attempt, Bench, Outcome
from campaign.fuzz.conditions import CONDITIONS, leaves
from campaign.fuzz.draws import drawn
from campaign.fuzz.expectation import Broken, shown
from campaign.fuzz.folders import MODES, SETTINGS
from campaign.fuzz.place import Place
from campaign.fuzz.planted import planted
from campaign.fuzz.strategies import DOCUMENTS, IDS, QUERIES
from campaign.fuzz.trial import Trial
from hybrid_search import Hit, Retriever
from hybrid_search.opening import create_index, drop_index

__all__ = ["DECLARED", "Engines"]

CLOSE = 1e-4
"""Relative; each engine adds single-precision numbers up in its own order."""

_ROUNDING = 1e-5
_LEAST = 1e-3
"""What min-max gives the least score of a leg, and not one a rounding above it."""

_MOST_LEAVES = 200

DECLARED = {
    "BM25 after documents were deleted or replaced": "Lucene counts them in its statistics until their segment is "
    "merged, a folder never does; so rankings are compared in indexes that are made of what is held at the end",
    f"filters of more than {_MOST_LEAVES} conditions": "a server has a limit (indices.query.bool.max_clause_count), "
    "which the query's words come under too; it says so, a folder answers",
    "a hybrid's share of a leg whose two least scores are a rounding apart": "min-max gives the least one .001 and the "
    "other next to nothing, and each engine rounds in its own order",
}
"""Where the engines may differ: what, and why it is let be."""


class Engines:
    """Two new indexes a trial, one in a folder and one on the node, and everything to both."""

    name = "fuzz-engines"
    unit = "inputs"
    wanted = 20_000
    short = 320
    needs_server = True
    planted: ClassVar = {
        "a filter differs": "the server is asked for less where a filter says less or equal",
        "a ranking differs": "the server's queries count their first word twice",
        "an addition differs": "the server takes no document with a title",
    }

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        location = f"{str(bench.server).replace('http', 'opensearch')}/fuzz-{bench.seed}-{bench.planted is not None:d}"
        with planted(bench.planted):
            yield lambda trial: _tried(bench.folder / f"index-{trial}", f"{location}-{trial}", bench.draw(trial))


class _Pair:
    """A folder and a server's index."""

    def __init__(self, folder: Path, location: str) -> None:
        self.folder = Place(Retriever(AxisEncoder(), create_index(folder, SETTINGS)))
        self.server = Place(Retriever(AxisEncoder(), create_index(location, SETTINGS)), most_leaves=_MOST_LEAVES)
        self.both = (self.folder, self.server)

    def add(self, documents: Sequence[Any]) -> None:
        refused = [place.add(documents) for place in self.both]
        for place, positions in zip(self.both, refused, strict=True):
            place.check([documents[position].id for position in positions])
        if refused[0] != refused[1]:
            one = next(iter(set(refused[0]) ^ set(refused[1])))
            where = "folder" if one in refused[0] else "server"
            raise Broken(f"only the {where} refuses {shown(documents[one])}")
        if self.folder.kinds != self.server.kinds:
            raise Broken(f"the folder declares {self.folder.kinds}, the server {self.server.kinds}")

    def delete(self, ids: Sequence[Any]) -> None:
        for place in self.both:
            place.delete(ids)
            place.check(ids)
        if self.folder.held.keys() != self.server.held.keys():
            raise Broken(f"deleting {ids!r} leaves {list(self.folder.held)} and {list(self.server.held)}")

    def ask(self, queries: Sequence[str], mode: str) -> None:
        here, there = (place.ask(queries, mode) for place in self.both)
        for query, folder, server in zip(queries, here, there, strict=True):
            if why := _difference(folder, server):
                raise Broken(f"query {shown(query, 300)} ({mode}): {why}")

    def narrow(self, condition: Any, mode: str, bases: Sequence[frozenset[str]]) -> None:
        found = [place.narrow(condition, mode, base) for place, base in zip(self.both, bases, strict=True)]
        if found[0] != found[1] and not (found[1] is None and leaves(condition) > _MOST_LEAVES):
            told = ["refused" if one is None else sorted(one) for one in found]
            raise Broken(f"filter {shown(condition)}: the folder {told[0]}, the server {told[1]}")

    def close(self) -> None:
        for place in self.both:
            place.retriever.close()


def _difference(folder: Sequence[Hit], server: Sequence[Hit]) -> str:
    """Say how two rankings differ; hits whose scores are as good as equal may stand in either order."""
    here, there = ([(hit.id, hit.score) for hit in hits] for hits in (folder, server))
    told = f"the folder has {here}, the server {there}"
    if len(folder) != len(server):
        return told
    if any(
        not _close(one.score, other.score) and not (_is_least(one, folder) and abs(one.score - other.score) <= _LEAST)
        for one, other in zip(folder, server, strict=True)
    ):
        return told
    last = folder[-1].score if folder else 0.0
    of_server = {hit.id: hit.score for hit in server}
    for hit in folder:
        of_other = of_server.get(hit.id, last)
        if not _close(of_other, hit.score) and not (_is_least(hit, folder) and abs(of_other - hit.score) <= _LEAST):
            return told
    return ""


def _is_least(hit: Hit, hits: Sequence[Hit]) -> bool:
    """Whether a hybrid's hit has, but for rounding, the least score of one of its legs."""
    if len(hit.legs) < 2:
        return False
    for name, leg in hit.legs.items():
        least = min(other.legs[name].score for other in hits if name in other.legs)
        if leg.score - least <= _ROUNDING * abs(least):
            return True
    return False


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= CLOSE * max(abs(one), abs(other), 1e-3)


def _tried(folder: Path, location: str, number: int) -> Outcome:
    documents, ids = drawn(DOCUMENTS, number, 30), drawn(IDS, number, 10)
    trial = Trial()
    with _opened(folder / "first", f"{location}-first") as pair:
        for start in range(0, len(documents), 10):
            batch = documents[start : start + 10]
            with trial.doing(f"documents {shown(batch, 3_000)}", len(batch)):
                pair.add(batch)
        with trial.doing(f"deleted ids {ids!r}", len(ids)):
            pair.delete(ids)
        held = list(pair.folder.held.values())
    if trial.findings:  # what follows would only repeat it
        return trial.outcome()
    with _opened(folder / "second", f"{location}-second") as pair:
        with trial.doing(f"documents {shown(held, 3_000)} once more", 1):
            pair.add(held)
        _asked(pair, trial, f"among {shown(held, 3_000)}", number)
    return trial.outcome()


def _asked(pair: _Pair, trial: Trial, among: str, number: int) -> None:
    queries = drawn(QUERIES, number, 45)
    for start in range(0, len(queries), 15):
        asked = queries[start : start + 15]
        with trial.doing(f"queries {shown(asked, 1_000)} {among}", len(asked)):
            pair.ask(asked, MODES[start // 15 % 3])
    bases = {mode: [place.everything(mode) for place in pair.both] for mode in MODES}
    for position, condition in enumerate(drawn(CONDITIONS, number, 75)):
        mode = MODES[position % 3]
        with trial.doing(f"filter {shown(condition)} {among}", 1):
            pair.narrow(condition, mode, bases[mode])


@contextmanager
def _opened(folder: Path, location: str) -> Iterator[_Pair]:
    drop_index(location)
    pair = _Pair(folder, location)
    try:
        yield pair
    finally:
        pair.close()
        drop_index(location)
        shutil.rmtree(folder, ignore_errors=True)
