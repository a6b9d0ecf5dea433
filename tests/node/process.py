"""One OpenSearch process from an assembled home: started, waited for, stopped by its process id."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from node.home import assembled_home, cache_folder, enterable
from node.java import find_java, has_module
from node.maven import Unavailable
from node.ml_home import LIBTORCH

__all__ = ["LocalNode", "free_ports", "wait_until_healthy"]

_NOBODY = 65534
_VECTOR_MODULE = "jdk.incubator.vector"
_LINES_NOT_WANTED = r"Xlog:gc|Xloggc|HeapDump|ErrorFile|^-Xm[sx]"
# Quick to start and small: fewer compilers, memory touched when used, one collector thread.
_JVM = ("-XX:TieredStopAtLevel=1", "-XX:-AlwaysPreTouch", "-XX:-UseG1GC", "-XX:+UseSerialGC")
_PATIENCE = 300.0
_LISTENING = 12_000, 32_000
_DRAW = random.SystemRandom()  # workers of pytest-xdist must not draw alike
_ALONE = {"discovery.type": "single-node"}


class LocalNode:
    """A node on loopback ports of its own; a cluster by itself unless its settings say otherwise.

    :param files: written to the folder of its configuration.
    :param home: what it is run from, when it is another than the usual.
    :raises Unavailable: if it can't be built, or dies while it starts (with the end of its log).
    """

    def __init__(
        self,
        *,
        heap: str = "512m",
        port: int | None = None,
        settings: Mapping[str, object] = _ALONE,
        files: Mapping[str, bytes] = MappingProxyType({}),
        home: Path | None = None,
        wait: bool = True,
    ) -> None:
        home, java = home or assembled_home(), _usable(find_java())
        self.port = port or free_ports(1)[0]
        self._folder = Path(tempfile.mkdtemp(prefix="opensearch-"))
        self._log = self._folder / "output.log"
        _configure(self._folder, home, self.port, settings, _jvm_options(home, java, heap))
        for name, content in files.items():
            file = self._folder / "config" / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        self._command = [home / "bin" / "opensearch"]
        self._environment = _environment(self._folder, java, home)
        self._user = _user(self._folder)
        self.start()
        if wait:
            try:
                wait_until_healthy(self.url, self.check_alive)
            except BaseException:
                self.stop()
                raise

    def start(self) -> None:
        """Start the process; again after it was killed, with its data."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=self._environment, cwd=self._folder, start_new_session=True, **self._user,
            )  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End the process at once, as a crash does; its data stay."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End the process and remove its data; again is harmless."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def wait(self) -> int:
        """Wait for the process to end; returns its exit code."""
        return self._process.wait()

    def check_alive(self) -> None:
        """Raise what the process said, if it has ended."""
        if (code := self._process.poll()) is not None:
            raise Unavailable(f"the node ended with code {code}: {self._log.read_text(errors='replace')[-1500:]}")


def wait_until_healthy(url: str, check_alive: Callable[[], None] = lambda: None) -> None:
    """Wait for a server to be ready.

    :param check_alive: raises when there is nothing to wait for any more.
    :raises Unavailable: if it takes too long.
    """
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        check_alive()
        try:
            with urllib.request.urlopen(f"{url}/_cluster/health?wait_for_status=yellow", timeout=5) as answer:
                if json.load(answer)["status"] in ("yellow", "green"):
                    return
        except (OSError, ValueError):
            time.sleep(0.2)
    raise Unavailable(f"{url} was not ready within {_PATIENCE:.0f} s")


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody listens on.

    From below those that a system gives to outgoing connections: such a connection of another test could take a port
    in the seconds that a node needs to listen on it.
    """
    with contextlib.ExitStack() as held:
        chosen: list[int] = []
        while len(chosen) < count:
            port, tried = _DRAW.randrange(*_LISTENING), held.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # taken: draw another
                tried.bind(("127.0.0.1", port))
                chosen.append(port)
        return chosen


def _usable(java: Path) -> Path:
    """Copy a Java that the node's user can't enter (one inside root's home) into the cache."""
    if os.geteuid() != 0 or enterable(java):
        return java
    copied = cache_folder() / f"java-{re.sub(r'[^a-z0-9]+', '-', str(java).lower()).strip('-')}"
    if not copied.is_dir():
        shutil.copytree(java.resolve(), copied, symlinks=False)
    return copied


def _jvm_options(home: Path, java: Path, heap: str) -> str:
    unwanted = _LINES_NOT_WANTED if has_module(java, _VECTOR_MODULE) else f"{_LINES_NOT_WANTED}|{_VECTOR_MODULE}"
    lines = (home / "config" / "jvm.options").read_text().splitlines()
    kept = [line for line in lines if not re.search(unwanted, line)]
    return "\n".join([*kept, f"-Xms{heap}", f"-Xmx{heap}", *_JVM, ""])


def _configure(folder: Path, home: Path, port: int, own: Mapping[str, object], jvm_options: str) -> None:
    config = folder / "config"
    for name in ("config/jvm.options.d", "data", "logs", "tmp"):
        (folder / name).mkdir(parents=True)
    shutil.copytree(home / "config", config, dirs_exist_ok=True)
    (config / "jvm.options").write_text(jvm_options)
    settings = {
        "cluster.name": "hybrid-search-tests",
        "node.name": f"node-{port}",
        "path.data": folder / "data",
        "path.logs": folder / "logs",
        "network.host": "127.0.0.1",
        "http.port": port,
        "transport.port": free_ports(1)[0],
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        **own,
    }
    (config / "opensearch.yml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))


def _environment(folder: Path, java: Path, home: Path) -> dict[str, str]:
    libtorch = home / LIBTORCH
    # Else ml-commons asks the network for these libraries.
    native = {"PYTORCH_LIBRARY_PATH": str(libtorch), "PYTORCH_VERSION": "2.5.1", "PYTORCH_FLAVOR": "cpu"}
    return {
        # The Java library that ml-commons runs models with calls home from cloud machines.
        "OPT_OUT_TRACKING": "true",
        **(native if libtorch.is_dir() else {}),
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "OPENSEARCH_JAVA_HOME": str(java),
        "OPENSEARCH_PATH_CONF": str(folder / "config"),
        "OPENSEARCH_TMPDIR": str(folder / "tmp"),
        # Comes after the options of our own, so that a benchmark can have the compilers and the heap of a real server.
        "OPENSEARCH_JAVA_OPTS": os.environ.get("OPENSEARCH_JAVA_OPTS", ""),
    }


def _user(folder: Path) -> dict[str, object]:
    """Root's children run as nobody, who gets the instance's folder."""
    if os.geteuid() != 0:
        return {}
    for parent, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.chown(Path(parent, name), _NOBODY, _NOBODY)
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
