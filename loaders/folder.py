"""Finding a data set's files on disk, and saying exactly what was looked for when they are not there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hybrid_search.errors import DatasetNotFound, UsageError

__all__ = ["Folder", "refuse_config", "require_path"]

_SHOWN = 10


def require_path(path: Path | None, loader: str, takes: str) -> Path:
    """Return the path, checked to exist.

    :param takes: what ``--path`` takes, for the message.
    :raises UsageError: if no path was given.
    :raises DatasetNotFound: if there is nothing at the path.
    """
    if path is None:
        raise UsageError(f"{loader} needs --path: {takes}")
    if not path.exists():
        raise DatasetNotFound(f"{path} does not exist; --path of {loader} takes {takes}")
    return path


def refuse_config(config: str, loader: str) -> None:
    """Check that no configuration was named for a loader that has none.

    :raises UsageError: if one was.
    """
    if config:
        raise UsageError(f"{loader} has no configurations, so {config!r} can't be chosen; leave it out")


class Folder:
    """A data set's folder. Each file may be gzipped, with ``.gz`` behind its name; where both are, the plain one wins.

    :raises DatasetNotFound: if the path is not a folder.
    """

    def __init__(self, path: Path, loader: str, takes: str) -> None:
        self.path = path
        self._loader = loader
        self._takes = takes
        if not path.is_dir():
            raise DatasetNotFound(f"{path} is not a folder; --path of {loader} takes {takes}")

    def find(self, name: str) -> Path | None:
        """Return the file of this name, gzipped or not, None where there is none."""
        for candidate in (self.path / name, self.path / f"{name}.gz"):
            if candidate.is_file():
                return candidate
        return None

    def require(self, name: str) -> Path:
        """Return the file of this name.

        :raises DatasetNotFound: if there is none; the message lists what is there.
        """
        found = self.find(name)
        if found is None:
            raise self.lacks([name])
        return found

    def by_split(self, pattern: str) -> dict[str, Path]:
        """Return split -> file for a pattern such as ``queries.*.tsv``, in order of the names; ``*`` is the split."""
        parent, _, name = pattern.rpartition("/")
        regex = re.compile(re.escape(name).replace(r"\*", "(.*)") + r"(?:\.gz)?")
        splits: dict[str, Path] = {}
        folder = self.path / parent
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            match = regex.fullmatch(file.name)
            if match and file.is_file():
                splits.setdefault(match[1], file)
        return splits

    def lacks(self, wanted: Sequence[str]) -> DatasetNotFound:
        """Build the error that says which files were looked for and what is there instead."""
        names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in self.path.iterdir())
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        found = ", ".join(names[:_SHOWN]) + more if names else "nothing"
        return DatasetNotFound(
            f"{self.path} is no data set for {self._loader}: looked for {', '.join(wanted)} (or the same with .gz), "
            f"found {found}; --path takes {self._takes}"
        )
