"""A trial: an index whose files are damaged, one at a time; it answers as before, is mended, or says what is wrong."""

from __future__ import annotations

import logging
import os
import random
import select
import shutil
import signal
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from campaign.faults.planted import planted
from campaign.kills.checks import Checks
from campaign.kills.child import Acknowledged, carry_out
from campaign.kills.scripts import State, held_after, made_script
from campaign.seam.folders import copied, names_in, quick_folder
from hybrid_search.errors import HybridSearchError

__all__ = ["damaged"]

_LIMIT = 30.0
_BLOCK = 4096
_OF_MODEL = 0.25


def damaged(*, seed: int, part: int, times: int, model: str, folder: str, fault: str | None) -> dict[str, Any]:
    """Carry out a trial in a fork of the forge; returns how many files were damaged and what was found."""
    script = made_script(seed)
    drawn = random.Random(seed * 7919 + part)
    with quick_folder(Path(folder)) as place:
        (place / "sound").mkdir()
        said = _in_fork(lambda: _made(script, place / "sound" / "index", Path(model)))
        if said:
            raise RuntimeError(f"the script did not end well: {said}")
        state = held_after(script, len(script))
        findings = []
        for number in range(times):
            root = place / f"damaged-{number}"
            copied(place / "sound", root)
            if drawn.random() < _OF_MODEL:
                copied(model, root / "checkpoint")
                told = _damage(root / "checkpoint", drawn)
            else:
                told = _damage(root / "index", drawn)
            ask = partial(_answers, root, state, writable=number % 2 == 0, model=Path(model), fault=fault)
            said = _in_fork(ask)
            shutil.rmtree(root)
            if said:
                findings.append(
                    {"what": said[0][:2000], "where": f"{told}; opened to {'read' if number % 2 else 'write'}"}
                )
    return {"counted": times, "findings": findings}


def _made(script: list[Any], index: Path, model: Path) -> list[str]:
    carry_out(script, index, model, Acknowledged())
    return []


def _answers(root: Path, state: State, *, writable: bool, model: Path, fault: str | None) -> list[str]:
    logging.disable()
    checks = Checks(model, root)
    damaged_model = root / "checkpoint" if (root / "checkpoint").is_dir() else None
    try:
        with planted(fault, side="opener"):
            return checks.answers(root / "index", state.held, writable=writable, model=damaged_model)
    except HybridSearchError:
        return []


def _damage(root: Path, drawn: random.Random) -> str:
    names = [name for name in names_in(root) if not name.endswith(("/", ".lock", "-shm"))]
    name = drawn.choice(names)
    path = root / name
    content = bytearray(path.read_bytes())
    how, change = drawn.choice(_WAYS)
    change(content, drawn)
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(content)
    return f"{name}: {how}"


def _flip(content: bytearray, drawn: random.Random) -> None:
    if content:
        content[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)


def _cut(content: bytearray, drawn: random.Random) -> None:
    del content[drawn.randrange(len(content) + 1) :]


def _zero(content: bytearray, drawn: random.Random) -> None:
    begin = drawn.randrange(len(content) // _BLOCK + 1) * _BLOCK
    end = min(len(content), begin + _BLOCK)
    content[begin:end] = bytes(end - begin)


def _grow(content: bytearray, drawn: random.Random) -> None:
    content += drawn.randbytes(drawn.randint(1, 2 * _BLOCK))


def _scramble(content: bytearray, drawn: random.Random) -> None:
    if content:
        begin = drawn.randrange(len(content))
        length = min(len(content) - begin, drawn.randint(1, 64))
        content[begin : begin + length] = drawn.randbytes(length)


def _empty(content: bytearray, drawn: random.Random) -> None:
    content.clear()


_WAYS: list[tuple[str, Callable[[bytearray, random.Random], None]]] = [
    ("a bit flipped", _flip), ("a bit flipped", _flip), ("torn", _cut), ("a block of zeros", _zero),
    ("longer by garbage", _grow), ("some bytes are others", _scramble), ("emptied", _empty), ("removed", _empty),
]  # fmt: skip


def _in_fork(work: Callable[[], list[str]]) -> list[str]:
    """Do something in a child of its own, which may crash or hang; returns what it found or how it ended."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            found = work()
        except BaseException:
            found = [f"a traceback: {traceback.format_exc()[-3000:]}"]
        os.write(tell, "\n".join(found).encode()[:60_000])
        os._exit(0)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        if not select.select([pipe], [], [], _LIMIT)[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return [f"nothing for {_LIMIT:g} s"]
        text = pipe.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return [f"the process ended by {signal.Signals(-code).name}"] if code < 0 else [text] if text else []
