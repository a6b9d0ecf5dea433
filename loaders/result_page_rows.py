"""Where rows of ``microsoft/ms_marco`` come from: the hub, a folder in its layout, parquet or JSON-lines files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from hybrid_search.errors import UsageError
from loaders import hub
from loaders.folder import Folder, refuse_config, require_path
from loaders.formats import Line, Reject, read_json_lines

__all__ = ["Rows", "hub_rows", "local_rows"]

Rows = Callable[[Reject], Iterator[tuple[Line, dict[str, Any]]]]
"""One split: starts a pass over its rows, each with the place where it stood."""

LOADER = "ms_marco"
REPOSITORY = "microsoft/ms_marco"
CONFIGURATIONS = ("v1.1", "v2.1")
TAKES = (
    "a folder in the hub's layout (a README.md that names configurations, parquet), a folder with <split>.jsonl or "
    "<split>.parquet files (train, validation, test), or one such file, with the rows of microsoft/ms_marco"
)
_DEFAULT = "v2.1"


def hub_rows(config: str) -> dict[str, Rows]:
    """Open the hub's data set: split -> rows.

    :raises UsageError: if there is no such configuration.
    :raises DataError: if the hub can't be reached; the message says what ``--path`` takes instead.
    :raises MissingExtra: if ``datasets`` is not installed.
    """
    chosen = _choose(REPOSITORY, CONFIGURATIONS, config)
    hub.require_repository(REPOSITORY, f"give a local copy with --path: {TAKES}")
    return _streamed(f"{REPOSITORY}/{chosen}", hub.open_repository(REPOSITORY, chosen))


def local_rows(path: Path, config: str) -> dict[str, Rows]:
    """Open local files: split -> rows. A single file whose name is no split's is ``train``.

    :raises UsageError: if a configuration is named that the folder does not have.
    :raises DatasetNotFound: if the path does not hold what is looked for.
    :raises DataError: if the ``datasets`` library can't read the folder.
    :raises MissingExtra: if ``datasets`` is needed and not installed.
    """
    require_path(path, LOADER, TAKES)
    if path.is_file():
        refuse_config(config, f"{LOADER} with a single file")
        split = path.name.split(".")[0]
        return _files({split if split in hub.SPLITS else "train": path})
    folder = Folder(path, LOADER, TAKES)
    found = {split: folder.find(f"{split}.jsonl") or folder.find(f"{split}.parquet") for split in hub.SPLITS}
    files = {split: file for split, file in found.items() if file}
    if files:
        refuse_config(config, f"{LOADER} with a folder of {', '.join(file.name for file in files.values())}")
        return _files(files)
    if not folder.find("README.md"):
        raise folder.lacks(["README.md", *(f"{split}.jsonl or {split}.parquet" for split in hub.SPLITS)])
    known = hub.configurations(str(path))
    return _streamed(str(path), hub.open_repository(str(path), _choose(str(path), known, config)))


def _files(files: Mapping[str, Path]) -> dict[str, Rows]:
    parquet = {split: path for split, path in files.items() if path.suffix == ".parquet"}
    opened = hub.open_parquet(parquet) if parquet else {}
    return {
        split: partial(_numbered, str(path), opened[split]) if split in parquet else partial(read_json_lines, path)
        for split, path in files.items()
    }


def _streamed(source: str, opened: Mapping[str, Iterable[dict[str, Any]]]) -> dict[str, Rows]:
    return {split: partial(_numbered, f"{source}:{split}", rows) for split, rows in opened.items()}


def _numbered(source: str, rows: Iterable[dict[str, Any]], reject: Reject) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Give each row its number as its line, and its JSON as its text, as if it came from a file of JSON lines."""
    for number, row in enumerate(rows, 1):
        yield Line(source, number, 0, msgspec.json.encode(row, enc_hook=str).decode()), row


def _choose(source: str, known: Iterable[str], config: str) -> str:
    names = sorted(known)
    chosen = config or (names[0] if len(names) == 1 else _DEFAULT)
    if chosen not in names:
        raise UsageError(f"{source} has no configuration {chosen!r}; it has: {', '.join(names) or 'none'}")
    return chosen
