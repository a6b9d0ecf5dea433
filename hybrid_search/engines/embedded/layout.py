"""The names of an index's files. The folder holds nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["FORMAT_VERSION", "Layout"]

FORMAT_VERSION = 1
"""Of the folder and the tables. A change that this code's older versions can't read raises it."""

_OF_SQLITE = ("-wal", "-shm", "-journal")
"""What SQLite appends to a database's name; the last one only while there is no write-ahead log yet."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of one index lie."""

    folder: Path

    @property
    def database(self) -> Path:
        """The truth: documents, metadata, vectors."""
        return self.folder / "documents.sqlite"

    @property
    def seal(self) -> Path:
        """Size and checksum of the database since the last clean close; absent while a writer has it open."""
        return self.folder / "manifest.json"

    @property
    def lexical(self) -> Path:
        """The tantivy cache."""
        return self.folder / "lexical"

    @property
    def forward(self) -> Path:
        """The cache of each document's terms and counts."""
        return self.folder / "forward"

    @property
    def dense(self) -> Path:
        """The FAISS cache."""
        return self.folder / "dense"

    @property
    def model(self) -> Path:
        """The serving files of the towers that made the vectors."""
        return self.folder / "model"

    @property
    def lock(self) -> Path:
        """Locked by the process that writes."""
        return self.folder / "writer.lock"

    @property
    def owner(self) -> Path:
        """Names the process that holds the lock."""
        return self.folder / "writer.json"

    @property
    def new(self) -> Path:
        """The folder beside this one in which an index is built that is to take its place."""
        folder = self.folder.resolve()
        return folder.with_name(f".{folder.name}.new")

    def exists(self) -> bool:
        """Return whether the folder holds an index (or the beginning of one)."""
        return self.database.is_file()

    def strangers(self) -> list[str]:
        """Return the names in the folder that are not an index's."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if not self._is_ours(path.name))

    def parts(self) -> list[Path]:
        """Return the files and folders of the index that are there; the names of unfinished ones begin with a dot."""
        return sorted(path for path in self.folder.iterdir() if self._is_ours(path.name))

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each part, those that are being written left out."""
        return {part.name: _size(part) for part in self.parts() if not part.name.startswith(".")}

    def _is_ours(self, name: str) -> bool:
        ours = (self.database, self.seal, self.lexical, self.forward, self.dense, self.model, self.lock, self.owner)
        # Unfinished writes begin with a dot.
        return any(
            name in (own, *(f"{own}{end}" for end in _OF_SQLITE)) or name.startswith(f".{own}.") for own in _names(ours)
        )


def _names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else (path,)) if file.is_file())
