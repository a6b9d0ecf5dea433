"""The dead-letter file of a run: every rejected record as it was read, with source, line, field and reason."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from hybrid_search.errors import StorageError
from hybrid_search.types import Rejection

__all__ = ["DeadLetter"]

_REASONS = 1_000
_KEPT = 10  # files of earlier runs


class DeadLetter:
    """Writes rejections to a file of JSON lines, ``{run, source, line, field, reason, record}``, and counts them.

    The file is made with the first rejection, so a clean run leaves none. It is of one run: one that is there already
    gets the time of its last change in its name, and of those the ten newest are kept. Pass the object itself as the
    ``reject`` of a loader.

    :param run: what the run is called in the file; its time and process are added.
    :param goes_on: the run goes on with an earlier one, whose file is then added to.
    """

    def __init__(self, path: Path, run: str = "", *, goes_on: bool = False) -> None:
        self.path = path
        self._goes_on = goes_on
        self.run = f"{run} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} process {os.getpid()}".strip()
        self._descriptor: int | None = None
        self._counts: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """Number of rejected records."""
        return self._counts.total()

    @property
    def reasons(self) -> Mapping[str, int]:
        """Reason (prefixed with the field, if any) -> count, most frequent first.

        Reasons may quote the faulty value and so differ for every record: after the first thousand different ones, all
        further ones are counted as "other reasons".
        """
        return dict(self._counts.most_common())

    def __call__(self, rejection: Rejection) -> None:
        """Write one rejection.

        :raises StorageError: if the file can't be written.
        """
        # Pure ASCII: a record may contain lone surrogates, which can't be encoded as UTF-8.
        line = json.dumps({"run": self.run, **asdict(rejection)}, ensure_ascii=True).encode("ascii") + b"\n"
        try:
            if self._descriptor is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                if not self._goes_on:
                    _set_aside(self.path)
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            written = os.write(self._descriptor, line)
        except OSError as error:
            self._abandon()
            raise self._failure(error.strerror or str(error)) from error
        if written != len(line):
            raise self._failure("the disk is full")
        reason = rejection.fault
        self._counts[reason if reason in self._counts or len(self._counts) < _REASONS else "other reasons"] += 1

    def close(self) -> None:
        """Force the file to the disk and close it; does nothing if nothing was rejected.

        :raises StorageError: if the last bytes can't be written.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from error
        finally:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _abandon(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _failure(self, reason: str) -> StorageError:
        return StorageError(
            f"the dead-letter file {self.path} can't be written: {reason}; free space or choose another"
        )


def _set_aside(path: Path) -> None:
    """Rename the file of an earlier run."""
    if not path.is_file():  # nor a device
        return
    when = f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y%m%dT%H%M%SZ}"
    numbers = ("", *(f"-{number}" for number in range(2, 1_000)))
    names = (path.with_name(f"{path.stem}-{when}{number}{path.suffix}") for number in numbers)
    if (free := next((name for name in names if not os.path.lexists(name)), None)) is not None:
        path.rename(free)
    _remove_old(path)


def _remove_old(path: Path) -> None:
    ours = re.compile(rf"{re.escape(path.stem)}-(\d{{8}}T\d{{6}}Z)(?:-(\d+))?{re.escape(path.suffix)}")
    earlier = [
        (found[1], int(found[2] or 1), one) for one in path.parent.iterdir() if (found := ours.fullmatch(one.name))
    ]
    for _, _, one in sorted(earlier)[:-_KEPT]:
        one.unlink(missing_ok=True)
