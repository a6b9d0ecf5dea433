"""A trial: a command on an index of a server, killed at some of its requests, and the one that follows."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from campaign.kills.checks import Checks
from campaign.kills.on_server import OnServer
from campaign.kills.server_planted import planted
from campaign.kills.stories import STORIES, Place, Story, write_files
from campaign.seam.folders import names_in
from campaign.seam.watching import KILL, End, Step, watched
from hybrid_search.errors import HybridSearchError

__all__ = ["killed_at_requests"]

_LIMIT = 180.0
_ALREADY = ("is live already", "no such index")
"""What ``rollback --to`` and ``drop`` say where there is nothing to do."""


class _AtSend:
    """Counts what is sent, and kills at one of them: before it, or after it."""

    def __init__(self, number: int = -1, *, after: bool = False) -> None:
        self._number, self._after = number, after
        self.sent = 0

    def before(self, step: Step) -> int:
        if not step.sends:
            return 0
        self.sent += 1
        return KILL if self.sent - 1 == self._number and not self._after else 0

    def after(self, step: Step, result: int) -> int:
        return KILL if step.sends and self.sent - 1 == self._number and self._after else 0


def killed_at_requests(
    *, story: int, seed: str, share: list[float], server: str, model: str, other: str, folder: str,
    known: Mapping[str, Any] | None, fault: str | None,
) -> dict[str, Any]:  # fmt: skip
    """Carry out a trial in a fork of the forge; returns how many points were tried, what was found, what is known.

    :param share: where to kill, each as a share of the requests that the command sends.
    :param known: of the story, from a trial before.
    """
    told = STORIES[story]
    trial = _Trial(
        told,
        OnServer(server, f"kill-{seed}", _fingerprints(model, other)),
        Path(folder) / f"story-{seed}",
        server,
        Path(model),
        fault,
    )
    trial.prepare(Path(model), Path(other))
    try:
        known = known or trial.undisturbed()
        findings = []
        for number, part in enumerate(share):
            at, after = min(int(part * known["sent"]), known["sent"] - 1), (number + int(part * 1000)) % 2 == 0
            wrong = trial.killed(at, known, after=after)
            if wrong:
                where = f"{told.name}: killed {'after' if after else 'before'} request {at + 1} of {known['sent']}"
                findings.append({"what": "; ".join(wrong)[:3000], "where": where})
    finally:
        trial.clear()
    return {"counted": len(share), "findings": findings, "known": known}


def _fingerprints(*models: str) -> list[str]:
    return [str(json.loads((Path(model) / "model.json").read_text())["fingerprint"]) for model in models]


class _Trial:
    def __init__(
        self, story: Story, on_server: OnServer, folder: Path, server: str, model: Path, fault: str | None
    ) -> None:
        self._story, self._on_server, self._folder, self._fault = story, on_server, folder, fault
        self._place = Place(server.replace("http://", "opensearch://"), on_server.name, folder)
        self._model = model

    def prepare(self, model: Path, other: Path) -> None:
        """Write the files that the commands take."""
        self._folder.mkdir(parents=True)
        write_files(self._folder)
        shutil.copytree(model, self._folder / "model")
        shutil.copytree(other, self._folder / "other")

    def clear(self) -> None:
        """Remove everything, here and on the server."""
        self._on_server.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def undisturbed(self) -> dict[str, Any]:
        """Play the story without a kill; returns how many requests the command sends, and what is there afterwards.

        A command that was killed when it had done its work is done a second time by the one that follows.
        """
        self._begin()
        counting = _AtSend()
        self._must(self._run(counting, self._story.killed))
        once = self._shape()
        for command in self._story.after:
            self._must(self._run(_AtSend(), command))
        return {"sent": counting.sent, "shapes": [once, self._shape()]}

    def killed(self, number: int, known: Mapping[str, Any], *, after: bool) -> list[str]:
        """Play the story with a kill; returns what is wrong afterwards."""
        self._begin()
        end = self._run(_AtSend(number, after=after), self._story.killed)
        if end.status not in (0, -9):
            return [f"the command that was to be killed ended with {end.status}: {end.told[-1500:]}"]
        wrong = self._checked()
        for command in self._story.after:
            end = self._run(_AtSend(), command)
            if end.status and not self._is_done():
                wrong.append(
                    f"{' '.join(command[:2])} after the kill ended with {end.status}: {self._said()}{end.told[-1500:]}"
                )
        if not wrong:
            wrong += [f"after the next command: {line}" for line in self._checked(settled=True)]
            if (shape := self._shape()) not in known["shapes"]:
                wrong.append(f"left behind: {_difference(known['shapes'], shape)}")
        return wrong

    def _begin(self) -> None:
        self._on_server.clear()
        shutil.rmtree(self._folder / "cache", ignore_errors=True)
        for command in self._story.before:
            self._must(self._run(_AtSend(), command))

    def _run(self, watcher: _AtSend, command: tuple[str, ...]) -> End:
        words = self._place.filled(command)
        return watched(partial(self._command, words), watcher, self._folder / "cache", sends=True, limit=_LIMIT)

    def _command(self, words: list[str]) -> None:
        from hybrid_search.cli import main

        logging.disable()
        os.environ["HYBRID_SEARCH_CACHE"] = str(self._folder / "cache")
        os.chdir(self._folder)
        said = os.open(self._folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        # As in a process that has just begun: nothing read, nothing written yet.
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(os.open(os.devnull, 0)), os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["hybrid-search", *words]
        status: Any = 0
        with planted(self._fault):
            try:
                main()
            except SystemExit as end:
                status = end.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def _said(self) -> str:
        return (self._folder / "said.txt").read_text()[-1500:]

    def _is_done(self) -> bool:
        """Whether a command had nothing to do, and said so by an exit code."""
        return any(words in self._said() for words in _ALREADY)

    def _must(self, end: End) -> None:
        if end.status and not self._is_done():
            raise RuntimeError(f"{self._story.name}: {end.status} {self._said()} {end.told}")

    def _shape(self) -> dict[str, Any]:
        cache = self._folder / "cache"
        local = [self._on_server.plain(name) for name in names_in(cache)] if cache.exists() else []
        return {**self._on_server.shape(), "here": local}

    def _checked(self, *, settled: bool = False) -> list[str]:
        """Open the index in a process of its own, as sessions and connections must not be forked."""
        told, tell = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                found = self._answers(settled=settled)
            except BaseException as error:
                found = [f"{type(error).__name__}: {error}"]
            os.write(tell, msgspec.json.encode(found)[:60_000])
            os._exit(0)
        os.close(tell)
        with os.fdopen(told, "rb") as pipe:
            found = pipe.read()
        os.waitpid(pid, 0)
        return msgspec.json.decode(found, type=list[str])

    def _answers(self, *, settled: bool) -> list[str]:
        logging.disable()
        os.environ["HYBRID_SEARCH_CACHE"] = str(self._folder / "looking")
        before, then = self._story.held, self._story.then
        self._on_server.refresh()
        allowed = {
            id: {(then or {}).get(id)} if settled else {(before or {}).get(id), (then or {}).get(id)}
            for id in {*(before or {}), *(then or {})}
        }
        models = [self._folder / "other", self._model] if "reindex" in self._story.killed else [self._model]
        wrong: list[str] = []
        for model in models:  # of a reindexing, the alias stands for an index with the one or the other
            checks = Checks(model, self._folder / "undisturbed")
            try:
                wrong = checks.on_server(self._place.location, allowed, model=model)
            except HybridSearchError as error:
                wrong = [f"{type(error).__name__}: {error}"]
            if not wrong or len(models) == 1:
                break
        if settled and then is None:
            is_gone = bool(wrong) and wrong[0].startswith("IndexNotFound")
            return [] if is_gone else wrong or ["the index is still there"]
        return [] if not settled and None in (before, then) else wrong


def _difference(usual: list[dict[str, Any]], shape: dict[str, Any]) -> str:
    nearest = min(usual, key=lambda one: sum(one.get(key) != shape.get(key) for key in {*one, *shape}))
    return "; ".join(
        f"{key} is {shape.get(key)}, usually {nearest.get(key)}"
        for key in sorted({*nearest, *shape})
        if nearest.get(key) != shape.get(key)
    )
