"""Putting an OpenSearch node together from its Maven artifacts, once; many instances then run from that folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from filelock import FileLock

from node.maven import Artifact, fetch

__all__ = ["VERSION", "assembled_home", "cache_folder", "enterable"]

VERSION = "3.6.0"
"""The only version of which Maven Central has the core, k-NN and neural search."""

_CORE = Artifact("org.opensearch.distribution.integ-test-zip", "opensearch", VERSION)
_PLUGINS = tuple(
    Artifact("org.opensearch.plugin", name, f"{VERSION}.0")
    for name in ("opensearch-job-scheduler", "opensearch-knn", "neural-search")
)


def cache_folder() -> Path:
    """Return where built nodes are kept between runs; never root's home, as a node runs as another user."""
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
    home = cache_folder() / f"opensearch-{VERSION}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not home.is_dir():
            work = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=home.parent))
            try:
                _build(work).rename(home)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return home


def _build(work: Path) -> Path:
    _unpack(fetch(_CORE, work / "zips"), work)
    home = work / f"opensearch-{VERSION}"
    shutil.rmtree(home / "modules" / "ingest-geoip")  # 80 MB of places
    for plugin in _PLUGINS:
        folder = home / "plugins" / plugin.name
        _unpack(fetch(plugin, work / "zips"), folder)
        if (folder / "config").is_dir():
            (folder / "config").rename(home / "config" / plugin.name)
    for folder, _, files in os.walk(home):
        os.chmod(folder, 0o755)
        for file in files:
            os.chmod(Path(folder, file), 0o755 if Path(folder).name == "bin" else 0o644)
    return home


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
