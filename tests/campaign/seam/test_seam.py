"""The seam sees, counts, fails and kills at what strace sees, in every thread and child process."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from campaign.seam.forge import forge
from campaign.seam.watching import KILL, Step, watched


class _Noting:
    """Notes the steps; fails or kills at one."""

    def __init__(self, at: int = -1, verdict: int = 0) -> None:
        self.steps: list[Step] = []
        self._at, self._verdict = at, verdict

    def before(self, step: Step) -> int:
        self.steps.append(step)
        return self._verdict if step.number == self._at else 0

    def after(self, step: Step, result: int) -> int:
        return 0


def changed(folder: Path) -> None:
    """Change a folder in every way, in threads and in a child process."""
    os.chdir(folder)
    with open("a", "w") as file:
        file.write("one")
        file.flush()
        os.fsync(file.fileno())
    os.rename("a", "b")
    thread = threading.Thread(target=lambda: (folder / "c").write_text("two"))
    thread.start()
    thread.join()
    os.mkdir("d")
    os.rename("c", "d/c")
    if not (pid := os.fork()):
        os.truncate("d/c", 1)
        os._exit(0)
    os.waitpid(pid, 0)
    shutil.copyfile("b", "e")
    os.unlink("e")
    shutil.rmtree("d")


def noted(folder: str, at: int = -1, verdict: int = 0) -> dict[str, Any]:
    """Called in the forge: watch :func:`changed`."""
    noting = _Noting(at, verdict)
    end = watched(lambda: changed(Path(folder)), noting, Path(folder))
    steps = [(step.name, step.path.removeprefix(f"{folder}/")) for step in noting.steps]
    return {"steps": steps, "status": end.status, "told": end.told, "left": sorted(os.listdir(folder))}


STEPS = [
    ["openat", "a"], ["write", "a"], ["fsync", "a"], ["rename", "b"], ["openat", "c"], ["write", "c"], ["mkdir", "d"],
    ["rename", "d/c"], ["truncate", "d/c"], ["openat", "e"], ["sendfile", "e"], ["unlink", "e"], ["unlinkat", "d/c"],
    ["rmdir", "d"],
]  # fmt: skip


def test_each_change_of_every_thread_and_process_is_a_step(tmp_path: Path) -> None:
    seen = forge().ask("campaign.seam.test_seam:noted", folder=str(tmp_path))
    # The end of a copy is told by a call that copies nothing; which folders are emptied how is Python's own affair.
    steps = [step for step, _ in itertools.groupby(seen["steps"])]
    assert [step for step in steps if step[1] != "d"] == [step for step in STEPS if step[1] != "d"]
    assert (seen["status"], seen["told"], seen["left"]) == (0, "", ["b"])


def test_a_kill_at_a_step_leaves_what_came_before_it_and_no_more(tmp_path: Path) -> None:
    seen = forge().ask("campaign.seam.test_seam:noted", folder=str(tmp_path), at=3, verdict=KILL)
    assert (seen["status"], seen["left"]) == (-9, ["a"])
    assert (tmp_path / "a").read_text() == "one"


def test_a_step_that_is_failed_is_not_done_and_its_caller_gets_the_error(tmp_path: Path) -> None:
    seen = forge().ask("campaign.seam.test_seam:noted", folder=str(tmp_path), at=6, verdict=errno.ENOSPC)
    assert "No space left on device: 'd'" in seen["told"]
    assert seen["left"] == ["b", "c"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_strace_sees_the_same_steps(tmp_path: Path) -> None:
    names = "write,fsync,rename,mkdir,truncate,sendfile,unlink,unlinkat,rmdir"
    command = f"from campaign.seam.test_seam import changed; from pathlib import Path; changed(Path({str(tmp_path)!r}))"
    environment = {**os.environ, "PYTHONPATH": "tests:.", "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run(
        ["strace", "-f", "-y", "-e", f"trace={names}", sys.executable, "-c", command],
        capture_output=True, text=True, check=True, env=environment,
    ).stderr  # fmt: skip
    by_strace = re.findall(r"^(?:\[pid +\d+\] )?(\w+)\(.*", told, re.MULTILINE)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    by_seam = forge().ask("campaign.seam.test_seam:noted", folder=str(tmp_path))["steps"]
    assert by_strace == [name for name, _ in by_seam if name != "openat"], json.dumps(by_seam)
