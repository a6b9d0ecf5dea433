"""The names of an index's files; its folder contains no others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hybrid_search.storage import INDEX_FILE

__all__ = ["FORMAT_VERSION", "Layout"]

FORMAT_VERSION = 1
"""Version of the folder and the tables; increased by each change that older versions of this code can't read."""

_OF_SQLITE = ("-wal", "-shm", "-journal")
"""What SQLite appends to a database's name; the last one only as long as there is no write-ahead log."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of the parts of one index."""

    folder: Path

    @property
    def database(self) -> Path:
        """The primary data: documents, metadata, vectors."""
        return self.folder / INDEX_FILE

    @property
    def seal(self) -> Path:
        """Size and checksum of the database at the last clean close; absent while a writer has it open."""
        return self.folder / "manifest.json"

    @property
    def committed(self) -> Path:
        """The generation of the last commit, noted beside the database; see :func:`.checks.note_committed`."""
        return self.folder / "committed"

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
        """The serving files of the towers that encoded the documents."""
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
        """The folder beside this one in which a replacement of the index is built."""
        folder = self.folder.resolve()
        return folder.with_name(f".{folder.name}.new")

    def exists(self) -> bool:
        """Return whether the folder contains an index, finished or not."""
        return self.database.is_file()

    def strangers(self) -> list[str]:
        """Return the names in the folder that don't belong to an index."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if not self._is_ours(path.name))

    def parts(self) -> list[Path]:
        """Return the existing files and folders of the index; names of unfinished ones begin with a dot."""
        return sorted(path for path in self.folder.iterdir() if self._is_ours(path.name))

    def sizes(self) -> dict[str, int]:
        """Return the size of each part in bytes, without files that are being written."""
        return {part.name: _size(part) for part in self.parts() if not part.name.startswith(".")}

    def _is_ours(self, name: str) -> bool:
        ours = (
            self.database, self.seal, self.committed, self.lexical, self.forward, self.dense, self.model, self.lock,
            self.owner,
        )  # fmt: skip
        # Unfinished writes begin with a dot.
        return any(
            name in (own, *(f"{own}{end}" for end in _OF_SQLITE)) or name.startswith(f".{own}.") for own in _names(ours)
        )


def _names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else (path,)) if file.is_file())
