"""The work folder of a training run, from which an interrupted run is continued.

A run is identified by its settings and the content of its data, not by names or paths: with a changed corpus or labels
it is another run. Until the first state of the towers is stored, another run starts again in the folder; after that,
another run is refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import msgspec

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import IndexLocked, ResumeMismatch, UsageError
from hybrid_search.settings.training import TowerConfig, TrainConfig
from hybrid_search.storage import atomic_write_bytes, disk_errors, sha256_of
from hybrid_search.training.loop.state import has_state
from hybrid_search.types import Rejection

__all__ = ["WorkFolder"]

_REMOVED = "removed"
_MARK = "run.json"
_REJECTED = "rejected.jsonl"


class _Identity(msgspec.Struct, frozen=True):
    """What identifies a run, apart from its data.

    :ivar files: SHA-256 of each file that the settings name.
    :ivar start: fingerprint of the model that the run starts from.
    """

    split: str
    towers: TowerConfig
    training: TrainConfig
    files: tuple[str, ...]
    start: str = ""


class WorkFolder:
    """``MODEL.work``, beside the future checkpoint. Finished stages are marked and not repeated."""

    def __init__(self, out: Path) -> None:
        self.path = out.with_name(f"{out.name}.work")

    @property
    def index(self) -> Path:
        """The corpus, as a lexical index."""
        return self.path / "index"

    @property
    def model(self) -> Path:
        """The checkpoint, until its defaults are fitted and it is moved to its place."""
        return self.path / "model"

    @property
    def log(self) -> Path:
        """The run's metrics, as JSON lines."""
        return self.path / "log.jsonl"

    @property
    def is_claimed(self) -> bool:
        """Whether the folder contains a run."""
        return (self.path / _MARK).exists()

    @property
    def has_trained(self) -> bool:
        """Whether towers were trained here, which must not be lost."""
        return self.model.exists() or has_state(self.path)

    def claim(
        self,
        split: str,
        towers: TowerConfig,
        training: TrainConfig,
        *,
        files: tuple[Path, ...] = (),
        start: str = "",
        restart: bool = False,
    ) -> bool:
        """Start a run here, or continue the interrupted one.

        :param files: the files that the settings name; compared by content.
        :param start: fingerprint of the model to start from; empty for none.
        :param restart: discard an unfinished run.
        :return: whether an interrupted run is continued.
        :raises ResumeMismatch: if the unfinished run has other arguments.
        :raises IndexLocked: if it is to be discarded while another process is working on it.
        :raises UsageError: if the folder contains other files.
        """
        identity = _Identity(split, towers, training, tuple(map(sha256_of, files)), start)
        data = msgspec.json.format(msgspec.json.encode(identity, order="sorted"))
        mark = self.path / _MARK
        if restart:
            self.remove()
        if mark.exists():
            if mark.read_bytes() != data:
                raise ResumeMismatch(
                    f"{self.path} holds an unfinished run with other arguments, or of another version; repeat those "
                    "with that version to go on with it, or throw it away with restart=True"
                )
            return True
        self._check_ours()
        atomic_write_bytes(mark, data)
        return False

    def is_done(self, stage: str) -> bool:
        """Return whether a stage is finished."""
        return (self.path / f"{stage}.done").exists()

    def mark_done(self, stage: str, digest: str = "") -> None:
        """Mark a stage as finished, with complete files.

        :param digest: of the data that it was made from, for :meth:`check_same`.
        """
        atomic_write_bytes(self.path / f"{stage}.done", digest.encode())

    def check_same(self, stage: str, digest: str) -> None:
        """Check that a finished stage was made from the present data.

        :raises ResumeMismatch: if they have changed since.
        """
        if (self.path / f"{stage}.done").read_bytes() != digest.encode():
            raise ResumeMismatch(
                f"{self.path} holds an unfinished run on other data: the {stage} changed since it began; put the old "
                "data back to go on with it, or throw it away with restart=True"
            )

    def rejecting(self, reject: Callable[[Rejection], None]) -> Callable[[Rejection], None]:
        """Write down what is rejected before passing it on, for the part of the run that does not meet it again."""
        file = self.path / _REJECTED
        with disk_errors(f"writing {file}"):
            file.write_bytes(b"")

        def noted(rejection: Rejection) -> None:
            with disk_errors(f"writing {file}"), file.open("a", encoding="ascii") as opened:
                opened.write(json.dumps(asdict(rejection), ensure_ascii=True) + "\n")
            reject(rejection)

        return noted

    def rejected(self) -> Iterator[Rejection]:
        """Read back what was written down."""
        file = self.path / _REJECTED
        if file.exists():
            with disk_errors(f"reading {file}"):
                lines = file.read_text(encoding="ascii").splitlines()
            yield from (Rejection(**json.loads(line)) for line in lines)

    def remove(self) -> None:
        """Delete the folder.

        :raises IndexLocked: if another process is at work in it.
        :raises UsageError: if it is somebody else's.
        """
        if self.path.exists():
            self._check_ours()
            self.mark_done(_REMOVED)  # what is left of it after a kill must not be taken for a run to go on with
            try:
                EmbeddedEngine.drop(self.index)  # refused while another process writes to it
            except IndexLocked:
                (self.path / f"{_REMOVED}.done").unlink(missing_ok=True)
                raise
            with disk_errors(f"removing {self.path}"):
                # The mark last: without it nobody can tell the rest from files of their own.
                last = (f"{_REMOVED}.done", _MARK)
                for path in sorted(self.path.iterdir(), key=lambda path: [path.name == name for name in last[::-1]]):
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    else:
                        path.unlink()
                self.path.rmdir()

    def finish_removing(self) -> None:
        """Delete the folder if somebody was killed while deleting it; otherwise as :meth:`remove`."""
        if self.is_done(_REMOVED):
            self.remove()

    def _check_ours(self) -> None:
        # What a process that was killed while it wrote the mark left is ours.
        others = () if self.is_claimed or not self.path.exists() else self.path.iterdir()
        if any(not path.name.startswith(f".{_MARK}") for path in others):
            raise UsageError(f"{self.path} is where the run would work, and holds other files; give another `out`")
