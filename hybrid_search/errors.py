"""The error tree: one class for each case that a caller may handle differently, with the CLI's exit code.

::

    HybridSearchError                       1
    ├── UsageError                          2   an argument or option is invalid
    │   ├── ConfigError                     2   a setting has an invalid value or an unknown name
    │   ├── FilterError                     2   a filter can't be parsed or names an undeclared field
    │   └── PartialAlias                    2   an alias has a filter or a routing
    ├── DataError                           3   a data set can't be read, or records were rejected
    │   ├── DatasetNotFound                 3   the loader's files are not at the path
    │   └── RecordsRejected                 3   more records were rejected than allowed; the others were taken
    ├── SearchIndexError                    4   an operation on an index failed
    │   ├── IndexNotFound                   4
    │   ├── IndexExists                     4
    │   ├── IndexLocked                     4   another process is writing
    │   ├── AccessDenied                    4   authentication failed, or the user lacks a right
    │   ├── Unreachable                     4   no connection, or it broke: the request may have been carried out
    │   ├── Overloaded                      4   the server is busy (429, 503): the same request may succeed later
    │   ├── UnfitIndex                      4   a template or a manual change made the index unusable
    │   └── CorruptIndex                    4   stored data differ from what was written
    ├── ModelError                          5   a checkpoint can't be used
    │   ├── ModelNotFound                   5
    │   ├── CorruptModel                    5   a file differs from its recorded hash
    │   └── ModelMismatch                   5   fingerprint, dimension or similarity differ from the index's
    ├── TrainingError                       6   training can't start or continue
    │   ├── CollapsedTowers                 6   every text gets the same vector
    │   └── ResumeMismatch                  6   the work folder belongs to another run
    ├── StorageError                        7   the disk is full, or a file can't be read or written
    ├── MissingExtra                        8   an optional dependency is not installed
    ├── UnsupportedCapability               9   the engine or server does not support the operation
    └── RerankingFailed                    10   a reranker raised an error, or gave no usable scores
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = [
    "AccessDenied",
    "CollapsedTowers",
    "ConfigError",
    "CorruptIndex",
    "CorruptModel",
    "DataError",
    "DatasetNotFound",
    "FilterError",
    "HybridSearchError",
    "IndexExists",
    "IndexLocked",
    "IndexNotFound",
    "MissingExtra",
    "ModelError",
    "ModelMismatch",
    "ModelNotFound",
    "Overloaded",
    "PartialAlias",
    "RecordsRejected",
    "RerankingFailed",
    "ResumeMismatch",
    "SearchIndexError",
    "StorageError",
    "TrainingError",
    "UnfitIndex",
    "Unreachable",
    "UnsupportedCapability",
    "UsageError",
]


_LONGEST = 3_000
"""Most characters of a message; a longer one, which quotes long input, is cut in the middle."""


class HybridSearchError(Exception):
    """Base of all errors of this package. The message names what is wrong, the value, and what to do."""

    exit_code = 1

    def __str__(self) -> str:
        """The message, fit to be printed: lone surrogates are escaped, and it is cut at 3,000 characters."""
        message = super().__str__().encode("utf-8", "backslashreplace").decode()
        if len(message) <= _LONGEST:
            return message
        return f"{message[: _LONGEST // 2]} […] {message[-_LONGEST // 2 :]}"


class UsageError(HybridSearchError):
    """An argument or option is invalid."""

    exit_code = 2


class ConfigError(UsageError, ValueError):
    """A setting has an invalid value or an unknown name. Also a ValueError, as msgspec requires of validators."""


class FilterError(UsageError):
    """A filter expression can't be parsed, or names a field that the index does not have."""


class PartialAlias(UsageError):
    """The alias has a filter or a routing. Searches would bypass these and show what the alias hides."""


class DataError(HybridSearchError):
    """A data set can't be read."""

    exit_code = 3


class DatasetNotFound(DataError):
    """The files that the loader reads are not at the path."""


class RecordsRejected(DataError):
    """More records were rejected than allowed; they are in the dead-letter file, and all others were taken.

    :ivar rejected: the :class:`~hybrid_search.types.Rejection` of each document that ``add`` did not take; empty if a
        dead-letter file has them.
    """

    def __init__(self, message: str, rejected: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.rejected = tuple(rejected)


class SearchIndexError(HybridSearchError):
    """An operation on an index failed.

    :ivar status: HTTP status of the server's answer; 0 if there was none.
    :ivar retryable: whether the same request may succeed later without any change.
    """

    exit_code = 4
    retryable = False

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class IndexNotFound(SearchIndexError):
    """There is no index at the location."""


class IndexExists(SearchIndexError):
    """An index is already at the location, with other settings than asked for."""


class IndexLocked(SearchIndexError):
    """Another process is writing to the index."""


class AccessDenied(SearchIndexError):
    """Authentication failed, or the user lacks a right."""


class Unreachable(SearchIndexError):
    """The server can't be reached, or the connection broke or timed out: the request may have been carried out."""

    retryable = True


class Overloaded(SearchIndexError):
    """The server refuses the request for now: it is overloaded, starting, or has no cluster manager."""

    retryable = True


class UnfitIndex(SearchIndexError):
    """An index template or a manual change of settings or mapping makes the index unusable."""


class CorruptIndex(SearchIndexError):
    """The stored data differ from what was written."""


class ModelError(HybridSearchError):
    """A checkpoint can't be used."""

    exit_code = 5


class ModelNotFound(ModelError):
    """There is no checkpoint at the path."""


class CorruptModel(ModelError):
    """A file of the checkpoint does not have the hash that was recorded when it was written."""


class ModelMismatch(ModelError):
    """The model is not the one the index was built with."""


class TrainingError(HybridSearchError):
    """Training can't start or continue."""

    exit_code = 6


class CollapsedTowers(TrainingError):
    """Every text gets nearly the same vector; the run was stopped."""


class ResumeMismatch(TrainingError):
    """The work folder contains an unfinished run with other arguments or data."""


class StorageError(HybridSearchError):
    """The disk is full, or a file can't be written or read."""

    exit_code = 7


class MissingExtra(HybridSearchError):
    """An optional dependency is not installed."""

    exit_code = 8

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; it comes with the extra '{extra}': "
            f"pip install 'hybrid-search-towers[{extra}]'"
        )


@contextmanager
def importing_extra(extra: str) -> Iterator[None]:
    """Import packages of an extra in the block.

    :raises MissingExtra: in place of the ModuleNotFoundError of a package that is not one of ours.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "hybrid_search"):
            raise
        raise MissingExtra(package.replace("_", "-"), extra) from error


class UnsupportedCapability(HybridSearchError):
    """The engine or server does not support the operation."""

    exit_code = 9


class RerankingFailed(HybridSearchError):
    """A reranker raised an error, or did not give one finite score for each hit."""

    exit_code = 10


_ADDRESS = re.compile(r"<(?:[\w.]+\.)?(\w+) object at 0x[0-9a-fA-F]+>")

_PLAIN = (str, bytes, bool, int, float, type(None), list, tuple, dict, set, frozenset)


def shown(value: object, longest: int = 80) -> str:
    """Return a value as it is written in Python, shortened; of what has no such form, its type.

    Never fails: a value that a caller or a file came up with may be deep, endless, or refuse to be shown.
    """
    if not isinstance(value, _PLAIN):
        return f"an object of type {type(value).__name__}"
    try:
        text = _ADDRESS.sub(r"<\1>", repr(value))
    except (RecursionError, ValueError):  # nested deeply; an integer of too many digits
        return f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
