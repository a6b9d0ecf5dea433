"""``negatives.jsonl``: mined negatives and their source; written and read one query at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from hybrid_search.errors import DataError
from hybrid_search.settings.training import NegativeSource
from hybrid_search.storage import disk_errors
from hybrid_search.training.negatives.miner import MinedQuery
from hybrid_search.types import Rejection

__all__ = ["Header", "read_header", "read_negatives", "write_negatives"]

Reject = Callable[[Rejection], None]
"""Called with each record that could not be read."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The file's first line: how the negatives were mined, without which ranks and scores have no meaning.

    :ivar index: location of the index that was searched.
    :ivar ranking: how it was ranked, such as ``bm25 k1=1.2 b=0.75`` or a model's fingerprint.
    """

    format: Literal["hybrid-search negatives"] = "hybrid-search negatives"
    format_version: int = 1
    source: NegativeSource
    index: str = ""
    documents: int = 0
    analyzer: str = ""
    ranking: str = ""
    rank_window: tuple[int, int]
    false_negative_margin: float


def write_negatives(path: Path, header: Header, mined: Iterable[MinedQuery]) -> int:
    """Write a file of negatives, atomically.

    :return: number of queries written.
    :raises StorageError: if the disk is full or the file can't be written.
    """
    encoder = msgspec.json.Encoder()
    part = path.with_name(path.name + ".part")
    written = 0
    with disk_errors(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(encoder.encode(header) + b"\n")
            for query in mined:
                file.write(encoder.encode(query) + b"\n")
                written += 1
        part.replace(path)
    return written


def read_header(path: Path) -> Header:
    """Read how the negatives were mined.

    :raises DataError: if the first line is not a header of this format.
    :raises StorageError: if the file can't be read.
    """
    with disk_errors(f"reading {path}"), path.open("rb") as file:
        line = file.readline()
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}:1: no header of a negatives file ({error}); write one with `hybrid-search mine`"
        ) from error
    if header.format_version != 1:
        raise DataError(f"{path}:1: format version {header.format_version}, this program reads 1; mine again")
    return header


def read_negatives(path: Path, reject: Reject) -> Iterator[MinedQuery]:
    """Read the queries with their negatives, in the file's order; invalid lines are passed to ``reject``.

    :raises DataError: if the first line is not a header.
    :raises StorageError: if the file can't be read.
    """
    read_header(path)
    decoder = msgspec.json.Decoder(MinedQuery)
    with disk_errors(f"reading {path}"), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1 or not line.strip():
                continue
            try:
                query = decoder.decode(line)
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                reject(Rejection(str(path), number, "", str(error), line.decode("utf-8", "replace").rstrip("\n")))
                continue
            yield query
