"""Opens the rows of ``microsoft/ms_marco``: from the hub, a folder in its layout, or files with its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from hybrid_search.errors import UsageError
from hybrid_search.loaders import hub
from hybrid_search.loaders.folder import Folder, refuse_config, require_path
from hybrid_search.loaders.formats import Line
from hybrid_search.loaders.intake import Reject, count_records
from hybrid_search.loaders.result_page_files import read_rows, split_files, split_of

__all__ = ["Rows", "hub_rows", "local_rows"]

Rows = Callable[[Reject], Iterator[tuple[Line, dict[str, Any]]]]
"""Starts a pass over the rows of one split; yields each row with its source and line."""

LOADER = "ms_marco"
REPOSITORY = "microsoft/ms_marco"
CONFIGURATIONS = ("v1.1", "v2.1")
TAKES = (
    "a folder in the hub's layout (a README.md that names configurations, parquet), a folder with <split>.jsonl or "
    "<split>.parquet files or the hub's shards (train, validation, test), the official files (train_v2.1.json, "
    "dev_v1.1.json.gz and so on), or one such file, with the rows of microsoft/ms_marco"
)
_DEFAULT = "v2.1"


def hub_rows(config: str) -> dict[str, Rows]:
    """Open the hub's data set: split -> rows.

    :raises UsageError: if there is no such configuration.
    :raises DataError: if the hub can't be reached; the message says what ``--path`` takes instead.
    :raises MissingExtra: if ``datasets`` is not installed.
    """
    chosen = _choose(REPOSITORY, CONFIGURATIONS, config)
    hub.require_repository(REPOSITORY, f"give a local copy as `path`: {TAKES}")
    return _streamed(f"{REPOSITORY}/{chosen}", hub.open_repository(REPOSITORY, chosen))


def local_rows(path: Path, config: str) -> dict[str, Rows]:
    """Open local files: split -> rows. A single file belongs to ``train`` unless its name begins with another split.

    :raises UsageError: if a configuration is named that the folder does not have.
    :raises DatasetNotFound: if the path does not hold what is looked for.
    :raises DataError: if the ``datasets`` library can't read the folder.
    :raises MissingExtra: if ``datasets`` or what a file needs is not installed.
    """
    require_path(path, LOADER, TAKES)
    if not path.is_dir():
        refuse_config(config, f"{LOADER} with a single file")
        return _files({split_of(path): [path]})
    folder = Folder(path, LOADER, TAKES)
    by_config = split_files(folder)
    if not by_config.get("") and folder.find("README.md"):
        known = hub.configurations(str(path))
        return _streamed(str(path), hub.open_repository(str(path), _choose(str(path), known, config)))
    if not by_config:
        raise folder.lacks(["README.md", *(f"{split}.jsonl or {split}.parquet" for split in hub.SPLITS)])
    if files := by_config.get(""):
        refuse_config(config, f"{LOADER} with a folder of {', '.join(one[0].name for one in files.values())}")
        return _files(files)
    return _files(by_config[_choose(str(path), by_config, config)])


def _files(files: Mapping[str, list[Path]]) -> dict[str, Rows]:
    return {split: partial(read_rows, paths) for split, paths in files.items()}


def _streamed(source: str, opened: Mapping[str, Iterable[dict[str, Any]]]) -> dict[str, Rows]:
    return {split: partial(_numbered, f"{source}:{split}", rows) for split, rows in opened.items()}


def _numbered(source: str, rows: Iterable[dict[str, Any]], reject: Reject) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Pair each row with a line of its number and its JSON text, as if it came from a file of JSON lines."""
    number, ended = 0, False
    try:
        for number, row in enumerate(rows, 1):
            yield Line(source, number, 0, msgspec.json.encode(row, enc_hook=str).decode()), row
        ended = True
    finally:
        count_records(reject, source, number, to_the_end=ended)


def _choose(source: str, known: Iterable[str], config: str) -> str:
    names = sorted(known)
    chosen = config or (names[0] if len(names) == 1 else _DEFAULT)
    if chosen not in names:
        raise UsageError(f"{source} has no configuration {chosen!r}; it has: {', '.join(names) or 'none'}")
    return chosen
