"""The work folder of a training run: what an interrupted run leaves behind, so that the next one goes on from there."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from hybrid_search.errors import ResumeMismatch
from hybrid_search.storage import atomic_write_bytes, disk_errors
from hybrid_search.train_config import TowerConfig, TrainConfig

__all__ = ["WorkFolder"]


class _Identity(msgspec.Struct, frozen=True):
    """What makes two runs the same run."""

    dataset: str
    split: str
    towers: TowerConfig
    training: TrainConfig
    negatives_files: tuple[str, ...]


class WorkFolder:
    """``MODEL.work`` beside the checkpoint that is to come. Finished stages leave a mark and are not done again."""

    def __init__(self, out: Path) -> None:
        self.path = out.with_name(f"{out.name}.work")

    @property
    def index(self) -> Path:
        """The corpus, as a lexical index."""
        return self.path / "index"

    @property
    def model(self) -> Path:
        """The checkpoint, until its defaults are fitted."""
        return self.path / "model"

    @property
    def log(self) -> Path:
        """The run's numbers, one JSON line each."""
        return self.path / "log.jsonl"

    def claim(
        self,
        dataset: str,
        split: str,
        towers: TowerConfig,
        training: TrainConfig,
        *,
        negatives_files: tuple[Path, ...] = (),
        restart: bool = False,
    ) -> bool:
        """Start a run here, or go on with the one that was interrupted.

        :return: whether an interrupted run is taken up.
        :raises ResumeMismatch: if the unfinished run in the folder was started with other arguments.
        """
        identity = _Identity(dataset, split, towers, training, tuple(map(str, negatives_files)))
        data = msgspec.json.format(msgspec.json.encode(identity, order="sorted"))
        mark = self.path / "run.json"
        if restart:
            self.remove()
        if mark.exists():
            if mark.read_bytes() != data:
                raise ResumeMismatch(
                    f"{self.path} holds an unfinished run with other arguments; repeat those to go on with it, "
                    "or throw it away with --restart"
                )
            return True
        atomic_write_bytes(mark, data)
        return False

    def is_done(self, stage: str) -> bool:
        """Tell whether a stage was finished, by this run or an earlier part of it."""
        return (self.path / f"{stage}.done").exists()

    def mark_done(self, stage: str) -> None:
        """Note that a stage is finished and its files are complete."""
        atomic_write_bytes(self.path / f"{stage}.done", b"")

    def remove(self) -> None:
        """Delete the folder."""
        if self.path.exists():
            with disk_errors(f"removing {self.path}"):
                shutil.rmtree(self.path)
