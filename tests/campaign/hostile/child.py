"""What is done with a hostile place, in a process of so much memory and time at most, whose files are seen."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hybrid_search
from hybrid_search import Document
from hybrid_search.errors import HybridSearchError

__all__ = ["ACTIONS", "MEMORY", "SECONDS", "tried"]

MEMORY = 3 << 30
"""Bytes of addresses that an action may take, beside what the process has before; a thread alone reserves 100 MB."""

SECONDS = 15

_QUERY = "river stone light"


def tried(
    action: str, place: str, outside: str, cache: str, planted: str | None = None, memory: int = MEMORY
) -> dict[str, Any]:
    """Carry an action out; returns how it ended, and the files outside that were opened.

    :param outside: of which no file may be opened.
    """
    from campaign.hostile.planted import planted as planting

    os.environ["HYBRID_SEARCH_CACHE"] = cache
    opened: list[str] = []
    _watch(outside, opened)
    _bound(memory)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)  # whose signal ends the process
    told = ""
    with planting(planted):
        try:
            ACTIONS[action](place)
        except HybridSearchError as error:
            told = "" if str(error).strip() else f"an empty {type(error).__name__}"
        except BaseException as error:
            told = f"{type(error).__name__}: {str(error)[:300]} ({_place(error)})"
    signal.setitimer(signal.ITIMER_REAL, 0)
    return {"told": told, "opened": opened[:3]}


def _watch(outside: str, opened: list[str]) -> None:
    """Note the files outside that Python opens; what libraries open below it is seen by what they change there."""
    inside = os.path.realpath(outside)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if isinstance(flags := arguments[2], int) and flags & os.O_NOFOLLOW:  # a link there is refused
                path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            else:
                path = os.path.realpath(path)
            if path.startswith(inside + os.sep):
                opened.append(path)

    sys.addaudithook(hook)


def _bound(memory: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _place(error: BaseException) -> str:
    places = []
    step = error.__traceback__
    while step is not None:
        places.append(f"{Path(step.tb_frame.f_code.co_filename).name}:{step.tb_lineno}")
        step = step.tb_next
    return " < ".join(reversed(places[-4:]))


def _search(place: str) -> None:
    with hybrid_search.open(place) as retriever:
        hits = retriever.search(_QUERY, 10, mode="bm25")
        if retriever.searches_vectors:
            hits += retriever.search(_QUERY, 10)
            hits += retriever.search(_QUERY, 10, mode="knn", filter="year >= 2000")
        retriever.get([hit.id for hit in hits])
        for _ in zip(range(50), retriever.engine.documents(), strict=False):
            pass


def _write(place: str) -> None:
    with hybrid_search.open(place, writable=True) as retriever:
        retriever.add([Document("new", "winter music", metadata={"year": 2001})])
        retriever.delete(["new"])


def _verify(place: str) -> None:
    from hybrid_search.models import inspect_index

    inspect_index(place, verify=True)


def _repair(place: str) -> None:
    from hybrid_search.indexes import repair_index

    repair_index(place)


def _model(place: str) -> None:
    """Use a checkpoint: load with it, and look at it."""
    from hybrid_search.loading.load import load
    from hybrid_search.loading.sources import Corpus
    from hybrid_search.models import inspect_model

    failed: HybridSearchError | None = None
    target = Path(place).with_name("made")
    for use in (
        lambda: inspect_model(Path(place)),
        lambda: load(Corpus("one", lambda: iter([Document("a", _QUERY)])), target, model=Path(place)),
        lambda: hybrid_search.open(target).search(_QUERY),
    ):
        try:
            use()
        except HybridSearchError as error:
            failed = error
    if failed is not None:
        raise failed


def _dataset(place: str) -> None:
    from campaign.hostile.reading import read_all

    read_all(Path(place))


def _each(*actions: Callable[[str], None]) -> Callable[[str], None]:
    def act(place: str) -> None:
        failed: HybridSearchError | None = None
        for action in actions:
            try:
                action(place)
            except HybridSearchError as error:
                failed = error
        if failed is not None:
            raise failed

    return act


ACTIONS: dict[str, Callable[[str], None]] = {
    "search": _search,
    "write": _write,
    "verify": _verify,
    "repair": _repair,
    "all": _each(_search, _write, _verify, _repair, _search),
    "model": _model,
    "dataset": _dataset,
}


def surroundings(folder: Path) -> Iterator[tuple[str, int, int, bytes]]:
    """Tell of everything below a folder: name, mode, size and content."""
    for path in sorted(folder.rglob("*")):
        found = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() and found.st_size < 1 << 20 else b""
        yield str(path.relative_to(folder)), found.st_mode, found.st_size if path.is_file() else 0, content
