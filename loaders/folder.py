"""Finds a data set's files on disk; errors say which files were looked for and what is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hybrid_search.errors import DatasetNotFound, UsageError
from hybrid_search.loaders.opening import STDIN

__all__ = ["PACKED", "Folder", "refuse_config", "require_path"]

PACKED = ("", ".gz", ".bz2", ".xz", ".zst", ".zip")
"""Suffixes of compression that may follow a file's own suffix."""

_SHOWN = 10


def require_path(path: Path | None, loader: str, takes: str) -> Path:
    """Check that a path was given and exists, and return it; ``-`` means standard input.

    :param takes: description of what the loader reads, for the message.
    :raises UsageError: if no path was given.
    :raises DatasetNotFound: if there is nothing at the path.
    """
    if path is None:
        raise UsageError(f"{loader} needs a `path`: {takes}")
    if path != STDIN and not _is_there(path):
        raise DatasetNotFound(f"{path} does not exist; `path` of {loader} takes {takes}")
    return path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no system takes
        return False


def refuse_config(config: str, loader: str) -> None:
    """Refuse a configuration for a loader that has none.

    :raises UsageError: if ``config`` is not empty.
    """
    if config:
        raise UsageError(f"{loader} has no configurations, so {config!r} can't be chosen; leave it out")


class Folder:
    """A data set's folder. Files may be compressed (``.gz``, ``.zst`` …); an uncompressed file is preferred.

    :raises DatasetNotFound: if the path is not a folder.
    """

    def __init__(self, path: Path, loader: str, takes: str) -> None:
        self.path = path
        self._loader = loader
        self._takes = takes
        if not path.is_dir():
            raise DatasetNotFound(f"{path} is not a folder; `path` of {loader} takes {takes}")

    def find(self, *names: str) -> Path | None:
        """Return the first file with one of these names, compressed or not, or None."""
        candidates = (self.path / f"{name}{ending}" for name in names for ending in PACKED)
        return next((candidate for candidate in candidates if candidate.is_file()), None)

    def require(self, *names: str) -> Path:
        """Return the first file with one of these names, compressed or not.

        :raises DatasetNotFound: if there is none; the message lists what is there.
        """
        found = self.find(*names)
        if found is None:
            raise self.lacks([names[0]])
        return found

    def by_split(self, *patterns: str) -> dict[str, Path]:
        """Return split -> file for patterns such as ``queries.*.tsv``; ``*`` matches the split; sorted by name."""
        splits: dict[str, Path] = {}
        for pattern in patterns:
            parent, _, name = pattern.rpartition("/")
            regex = re.compile(re.escape(name).replace(r"\*", "(.*)") + f"(?:{'|'.join(map(re.escape, PACKED))})")
            folder = self.path / parent
            for file in sorted(folder.iterdir()) if folder.is_dir() else ():
                match = regex.fullmatch(file.name)
                if match and file.is_file():
                    splits.setdefault(match[1], file)
        return splits

    def shards(self, split: str, ending: str) -> list[Path]:
        """Return the files of a split in the hub's numbered parts (``train-00000-of-00001.parquet``)."""
        regex = re.compile(rf"{re.escape(split)}-\d+-of-\d+{re.escape(ending)}")
        return sorted(file for file in self.path.iterdir() if regex.fullmatch(file.name) and file.is_file())

    def lacks(self, names: Sequence[str]) -> DatasetNotFound:
        """Build the error that says which files were looked for and what is there instead."""
        listed = sorted(name for entry in self.path.iterdir() for name in _listed(entry))
        more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
        found = ", ".join(listed[:_SHOWN]) + more if listed else "nothing"
        return DatasetNotFound(
            f"{self.path} is no data set for {self._loader}: looked for {', '.join(names)} (or the same with "
            f"{', '.join(PACKED[1:])}), found {found}; `path` takes {self._takes}"
        )


def _listed(entry: Path) -> list[str]:
    """Return an entry's name; for the folder ``qrels``, the names of its files instead."""
    if not entry.is_dir():
        return [entry.name]
    inside = sorted(entry.iterdir()) if entry.name == "qrels" else []
    return [f"{entry.name}/{one.name}" for one in inside] or [f"{entry.name}/"]
