"""A process under watch: what it writes below its home, and what it asks of the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybrid_search.telemetry import OFF

__all__ = ["Seen", "can_watch_the_network", "watched"]

_CALLS = "trace=connect,sendto,sendmsg,sendmmsg,openat"
_LOOPBACK = re.compile(r'INADDR_LOOPBACK|"127\.|"::1"|"::ffff:127\.')
_ON_CI = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "KUBERNETES_SERVICE_HOST")
"""A library may keep quiet where it takes the machine for a build server; its users' machines are none."""


@dataclass(frozen=True)
class Seen:
    """What a process did.

    :ivar files: written below its home, as paths from there.
    :ivar asked: names looked up and addresses beyond this machine that were connected to; empty without strace.
    """

    code: int
    out: str
    err: str
    files: tuple[str, ...]
    asked: tuple[str, ...]


def can_watch_the_network() -> bool:
    return shutil.which("strace") is not None


def watched(command: Sequence[str], home: Path, *, cwd: Path, environment: Mapping[str, str] | None = None) -> Seen:
    """Run a command as a user's shell would, with a home of its own and no word about telemetry in its environment."""
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name not in (*OFF, *_ON_CI, "XDG_CACHE_HOME")}
    trace = home.with_name(f"{home.name}.trace")
    tracer = ["strace", "-f", "-qq", "-s", "256", "-e", _CALLS, "-o", str(trace)] if can_watch_the_network() else []
    done = subprocess.run(
        [*tracer, *command], cwd=cwd, env={**kept, "HOME": str(home), **(environment or {})},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    files = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    lines = trace.read_text(errors="replace").splitlines() if tracer else []
    return Seen(done.returncode, done.stdout, done.stderr, tuple(files), tuple(line for line in lines if _asks(line)))


def _asks(line: str) -> bool:
    if "openat(" in line:
        return "/etc/resolv.conf" in line or "/etc/hosts" in line
    return "AF_INET" in line and not _LOOPBACK.search(line)
