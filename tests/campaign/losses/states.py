"""The states that a journaled file system may leave of a recorded run when the power goes.

What the rules of POSIX promise, and no more: a content is on the disk when its file was forced there after it was
written; a name is when its folder was. Of the rest any part may be missing: the names in another order than they were
given, a content torn at any byte, in any selection of pages, or its size there without it. A milder disk keeps names
in the order of their journal, and forces them all with each file; half of the states are such a one's.
"""

from __future__ import annotations

import os
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaign.losses.recording import Event

__all__ = ["Loss", "built", "lost"]

_PAGE = 4096
_OF_NAMES = ("create", "mkdir", "link", "rename", "remove")
_OF_CONTENT = ("write", "size")
_NO_MATTER = re.compile(r"-shm$|\.lock$")
"""Files whose content nobody reads after the power has gone; not worth telling."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A state: the events that are on the disk, in order, contents cut as the disk has them.

    :ivar events: to be carried out in a new folder.
    :ivar acknowledged: how many operations had returned.
    :ivar told: how much is missing, for people.
    """

    events: list[Event]
    acknowledged: int
    told: str


def lost(events: Sequence[Event], end: int, acknowledged: int, drawn: random.Random) -> Loss:
    """Let the power go before event ``end``."""
    done = events[:end]
    strict = drawn.random() < 0.5
    names, missing_names = (_strict_names if strict else _journaled_names)(done, drawn)
    contents, missing_contents = _contents(done, drawn)
    kept = [event for _, event in sorted([*names, *contents], key=lambda pair: pair[0])]
    at = events[end].told if end < len(events) else "the end"
    missing = [event.told for event in (*missing_names, *missing_contents) if not _NO_MATTER.search(event.told)]
    return Loss(
        kept, acknowledged,
        f"the power went before {at}; {'names of a folder in any order' if strict else 'names in their order'}; "
        f"missing or torn: {'; '.join(missing[-8:]) or 'nothing'}",
    )  # fmt: skip


def _strict_names(done: Sequence[Event], drawn: random.Random) -> tuple[list[tuple[int, Event]], list[Event]]:
    """Each folder for itself: what came after it was forced may be missing, in order or not."""
    of_folder: dict[int, list[tuple[int, Event]]] = defaultdict(list)
    safe: dict[int, int] = {}
    for number, event in enumerate(done):
        if event.kind in _OF_NAMES:
            of_folder[event.folder].append((number, event))
        elif event.kind == "sync":
            safe[event.thing] = number
    kept: list[tuple[int, Event]] = []
    missing: list[Event] = []
    for folder, pairs in of_folder.items():
        forced = [pair for pair in pairs if pair[0] < safe.get(folder, -1)]
        loose = pairs[len(forced) :]
        if drawn.random() < 0.6:
            chosen = loose[: drawn.randint(0, len(loose))]
        else:
            chosen = [pair for pair in loose if drawn.random() < 0.5]
        kept += forced + chosen
        missing += [event for number, event in loose if (number, event) not in chosen]
    return kept, missing


def _journaled_names(done: Sequence[Event], drawn: random.Random) -> tuple[list[tuple[int, Event]], list[Event]]:
    """One journal for all: a beginning of it is there, at least up to the last forcing of anything."""
    forced = max((number for number, event in enumerate(done) if event.kind == "sync"), default=0)
    until = drawn.randint(forced, len(done))
    pairs = [(number, event) for number, event in enumerate(done) if event.kind in _OF_NAMES]
    return [pair for pair in pairs if pair[0] < until], [event for number, event in pairs if number >= until]


def _contents(done: Sequence[Event], drawn: random.Random) -> tuple[list[tuple[int, Event]], list[Event]]:
    of_file: dict[int, list[tuple[int, Event]]] = defaultdict(list)
    safe: dict[int, int] = {}
    for number, event in enumerate(done):
        if event.kind in _OF_CONTENT:
            of_file[event.thing].append((number, event))
        elif event.kind == "sync":
            safe[event.thing] = number
    kept: list[tuple[int, Event]] = []
    missing: list[Event] = []
    for thing, pairs in of_file.items():
        forced = [pair for pair in pairs if pair[0] < safe.get(thing, -1)]
        loose = pairs[len(forced) :]
        kept += forced
        if loose:
            left = _left_of(loose, drawn)
            kept += left
            missing += [event for number, event in loose if (number, event) not in left]
    return kept, missing


def _left_of(loose: list[tuple[int, Event]], drawn: random.Random) -> list[tuple[int, Event]]:
    """What of a file's last changes the disk has."""
    match drawn.randrange(5):
        case 0:
            return loose
        case 1:
            return []
        case 2:  # a beginning, and a part of the next
            number, event = loose[(count := drawn.randrange(len(loose)))]
            torn = _torn(event, drawn.randint(0, len(event.data)))
            return [*loose[:count], (number, torn)] if torn.data else loose[:count]
        case 3:  # some pages
            return [
                (number, page) for number, event in loose for page in _pages(event) if drawn.random() < 0.5
            ]  # fmt: skip
        case _:  # the size, and nothing in it
            return [(number, _empty(event)) for number, event in loose]


def _torn(event: Event, length: int) -> Event:
    return Event(event.kind, event.thing, event.acknowledged, at=event.at, data=event.data[:length], told=event.told)


def _empty(event: Event) -> Event:
    """A write that had only made the file longer: what stood there before still does."""
    if event.kind != "write":
        return event
    end = event.at + len(event.data)
    return Event("longer", event.thing, event.acknowledged, at=end, told=event.told)


def _pages(event: Event) -> Iterable[Event]:
    if event.kind != "write":
        yield event
        return
    begin, end = event.at, event.at + len(event.data)
    while begin < end:
        until = min(end, (begin // _PAGE + 1) * _PAGE)
        part = event.data[begin - event.at : until - event.at]
        yield Event("write", event.thing, event.acknowledged, at=begin, data=part, told=event.told)
        begin = until


def built(events: Sequence[Event], target: Path) -> None:
    """Carry events out in a new folder: names by the folders' numbers, contents by the files'."""
    names: dict[int, dict[str, int]] = defaultdict(dict)
    folders = {0}
    contents: dict[int, bytearray] = defaultdict(bytearray)
    for event in events:
        match event.kind:
            case "create" | "link":
                names[event.folder][event.name] = event.thing
            case "mkdir":
                names[event.folder][event.name] = event.thing
                folders.add(event.thing)
            case "rename":
                folder, name = event.other
                if names[folder].get(name) == event.thing:
                    del names[folder][name]
                names[event.folder][event.name] = event.thing
            case "remove":
                if names[event.folder].get(event.name) == event.thing:
                    del names[event.folder][event.name]
            case _:
                _change(contents[event.thing], event)
    _write(0, target, names, folders | {thing for thing in names if names[thing]}, contents)


def _change(content: bytearray, event: Event) -> None:
    if event.kind == "size":
        del content[event.at :]
    end = event.at + len(event.data)
    content.extend(bytes(max(0, end - len(content))))
    if event.kind == "write":
        content[event.at : end] = event.data


def _write(
    folder: int, target: Path, names: dict[int, dict[str, int]], folders: set[int], contents: dict[int, bytearray]
) -> None:
    os.mkdir(target)
    for name, thing in names[folder].items():
        if thing in folders:
            _write(thing, target / name, names, folders, contents)
        else:
            (target / name).write_bytes(contents[thing])
