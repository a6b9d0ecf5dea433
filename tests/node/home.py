"""Putting an OpenSearch node together from its Maven artifacts, once; many instances then run from that folder."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from filelock import FileLock

from node.maven import Artifact, fetch

__all__ = [
    "VERSION",
    "add_plugin",
    "assembled_home",
    "bare_home",
    "built",
    "cache_folder",
    "enterable",
    "open_to_all",
    "secured_home",
    "twin",
]

VERSION = "3.6.0"
"""The only version of which Maven Central has the core, k-NN and neural search."""

_CORE = Artifact("org.opensearch.distribution.integ-test-zip", "opensearch", VERSION)
_PLUGINS = tuple(
    Artifact("org.opensearch.plugin", name, f"{VERSION}.0")
    for name in ("opensearch-job-scheduler", "opensearch-knn", "neural-search")
)
# Maven Central has no security plugin for the core's version; this one works with it.
_SECURITY = Artifact("org.opensearch.plugin", "opensearch-security", "3.4.0.0")


@cache
def cache_folder() -> Path:
    """Return where built nodes are kept between runs; never root's home, as a node runs as another user.

    Asked once, when the tests begin: what a test then says of its own caches is not meant for nodes.
    """
    if chosen := os.environ.get("HYBRID_SEARCH_CACHE"):
        return Path(chosen)
    base = Path("/var/cache") if os.geteuid() == 0 else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "hybrid-search"


def enterable(folder: Path) -> bool:
    """Return whether any user may read a folder."""
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.resolve().parents))


def assembled_home() -> Path:
    """Return the folder of an unpacked node, built at the first call.

    :raises Unavailable: if an artifact can't be had.
    """
    return built(f"opensearch-{VERSION}", _build)


def bare_home() -> Path:
    """Return the folder of a node without any plugin.

    :raises Unavailable: as :func:`assembled_home`.
    """

    def build(work: Path) -> Path:
        home = twin(work)
        shutil.rmtree(home / "plugins")
        (home / "plugins").mkdir(0o755)
        return home

    return built(f"opensearch-{VERSION}-bare", build)


def secured_home() -> Path:
    """Return the folder of a node with the security plugin too.

    :raises Unavailable: as :func:`assembled_home`.
    """

    def build(work: Path) -> Path:
        home = twin(work)
        folder = add_plugin(_SECURITY, home, work / "zips")
        descriptor = folder / "plugin-descriptor.properties"
        told = descriptor.read_text()
        descriptor.write_text(re.sub(r"(?m)^opensearch\.version=.*$", f"opensearch.version={VERSION}", told))
        for jar in folder.glob("bc*-fips-*.jar"):  # the core has others of the same, which is refused
            jar.unlink()
        open_to_all(folder)
        open_to_all(home / "config")
        return home

    return built(f"opensearch-{VERSION}-secured", build)


def built(name: str, build: Callable[[Path], Path]) -> Path:
    """Return a home in the cache; the first call has it built in a work folder."""
    home = cache_folder() / name
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not home.is_dir():
            work = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=home.parent))
            try:
                build(work).rename(home)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return home


def twin(work: Path, of: Path | None = None) -> Path:
    """Make another home with the same files, which take no room of their own."""
    return Path(shutil.copytree(of or assembled_home(), work / "home", copy_function=os.link))


def _build(work: Path) -> Path:
    _unpack(fetch(_CORE, work / "zips"), work)
    home = work / f"opensearch-{VERSION}"
    shutil.rmtree(home / "modules" / "ingest-geoip")  # 80 MB of places
    for plugin in _PLUGINS:
        add_plugin(plugin, home, work / "zips")
    open_to_all(home)
    return home


def add_plugin(plugin: Artifact, home: Path, zips: Path) -> Path:
    """Fetch a plugin and unpack it into a home; returns its folder."""
    folder = home / "plugins" / plugin.name
    _unpack(fetch(plugin, zips), folder)
    if (folder / "config").is_dir():
        (folder / "config").rename(home / "config" / plugin.name)
    return folder


def open_to_all(place: Path) -> None:
    """Let any user read what is there: a node does not run as root."""
    for folder, _, files in os.walk(place):
        os.chmod(folder, 0o755)
        for file in files:
            os.chmod(Path(folder, file), 0o755 if Path(folder).name == "bin" else 0o644)


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
