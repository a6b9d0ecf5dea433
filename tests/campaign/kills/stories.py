"""Commands on an index of a server, one of which is killed, and what the server holds before and after it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaign.kills.scripts import document

__all__ = ["STORIES", "Place", "Story", "write_files"]

_FIRST = {f"doc-{number}": 1 for number in range(6)}
_SECOND = {f"doc-{number}": 2 for number in range(3, 8)}
_BOTH = {**_FIRST, **_SECOND}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a story plays.

    :ivar server: as in ``opensearch://127.0.0.1:9200``.
    :ivar name: of its index or alias, its own.
    :ivar folder: with the files of documents and two models.
    """

    server: str
    name: str
    folder: Path

    @property
    def location(self) -> str:
        """The index or alias."""
        return f"{self.server}/{self.name}"

    def filled(self, words: Sequence[str]) -> list[str]:
        """Put names in the place of what a command has in braces."""
        kept = {"location": self.location, "server": self.server, "name": self.name, "folder": str(self.folder)}
        return [word.format(**kept) for word in words]


Command = tuple[str, ...]


def _load(file: str, *options: str) -> Command:
    path = "{folder}/" + file
    return ("load", "jsonl", "--path", path, "--threads", "1", "--dead-letter", "{folder}/rejected.jsonl", *options)


_INTO = ("--to", "{location}", "--parallel", "1")
_BEHIND = ("--to", "{server}", "--alias", "{name}", "--parallel", "1")
_MODEL = ("--model", "{folder}/model")
_REQUESTS = ("--requests", "{folder}/requests.http")


@dataclass(frozen=True, slots=True)
class Story:
    """What is done.

    :ivar before: commands that are not disturbed.
    :ivar killed: the one that is.
    :ivar after: the commands that follow, which must make everything whole.
    :ivar held: what was acknowledged before it: id -> version; None for no index.
    :ivar then: what is held when all is done; None for no index.
    """

    name: str
    before: tuple[Command, ...]
    killed: Command
    after: tuple[Command, ...]
    held: Mapping[str, int] | None
    then: Mapping[str, int] | None
    needs_ml: bool = False


_FIRST_LOAD = _load("first.jsonl", *_INTO, *_MODEL)
_FIRST_BEHIND = _load("first.jsonl", *_BEHIND, *_MODEL)
_BOTH_BEHIND = _load("both.jsonl", *_BEHIND)
_REINDEX = (
    "reindex", "--model", "{folder}/other", "--alias", "{name}", "--to", "{server}", "--threads", "1",
    "--least-recall", "0", "--dead-letter", "{folder}/rejected.jsonl",
)  # fmt: skip
_DROP = ("drop", "{location}", "--yes")
_DEPLOY = ("deploy", "--to", "{location}", "--allow-settings", *_REQUESTS)

STORIES = (
    Story("a first load", (), _FIRST_LOAD, (_FIRST_LOAD,), None, _FIRST),
    Story(
        "a second load, resumed",
        (_FIRST_LOAD,), _load("second.jsonl", *_INTO), (_load("second.jsonl", *_INTO, "--resume"),), _FIRST, _BOTH,
    ),
    Story(
        "a load without replicas",
        (_FIRST_LOAD,), _load("second.jsonl", *_INTO, "--without-replicas"),
        (_load("second.jsonl", *_INTO, "--without-replicas"),), _FIRST, _BOTH,
    ),
    Story("a load behind an alias", (_FIRST_BEHIND,), _BOTH_BEHIND, (_BOTH_BEHIND,), _FIRST, _BOTH),
    Story("the first load behind an alias", (), _FIRST_BEHIND, (_FIRST_BEHIND,), None, _FIRST),
    Story("a reindexing behind an alias", (_FIRST_BEHIND,), _REINDEX, (_REINDEX,), _FIRST, _FIRST),
    Story(
        "a rollback", (_FIRST_BEHIND, _BOTH_BEHIND), ("rollback", "{location}"),
        (("rollback", "{location}", "--to", "{name}-000001"),), _BOTH, _FIRST,
    ),
    Story("a drop", (_FIRST_LOAD,), _DROP, (_DROP,), _FIRST, None),
    Story(
        "an index built anew",
        (_FIRST_LOAD,), _load("both.jsonl", *_INTO, *_MODEL, "--recreate"),
        (_load("both.jsonl", *_INTO, *_MODEL, "--recreate"),), None, _BOTH,
    ),
    Story("a deployment", (_FIRST_LOAD,), _DEPLOY, (_DEPLOY,), _FIRST, _FIRST, needs_ml=True),
    Story(
        "the end of a deployment",
        (_FIRST_LOAD, _DEPLOY), ("undeploy", "{location}"), (("undeploy", "{location}"),), _FIRST, _FIRST,
        needs_ml=True,
    ),
)  # fmt: skip
"""``recreate`` deletes first, as its help says: nothing is held before it."""


def write_files(folder: Path) -> None:
    """Write the files of documents."""
    for name, held in (("first", _FIRST), ("second", _SECOND), ("both", _BOTH)):
        lines = []
        for id, version in held.items():
            one = document(id, version)
            record = {"id": id, "text": one.text, "title": one.title, "metadata": dict(one.metadata)}
            lines.append(json.dumps(record))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
