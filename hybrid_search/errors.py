"""The error tree. One class per decision that a caller can take; each carries the CLI's exit code.

::

    HybridSearchError                       1
    ├── UsageError                          2   an argument or option is wrong
    │   ├── ConfigError                     2   a setting has a bad value or an unknown name
    │   ├── FilterError                     2   a filter expression can't be parsed or names no such field
    │   └── PartialAlias                    2   an alias shows a part of its index only (a filter, a routing)
    ├── DataError                           3   a data set can't be read, or records were rejected
    │   ├── DatasetNotFound                 3   the path does not hold what the loader looks for
    │   └── RecordsRejected                 3   some records went to the dead-letter file; the rest is in
    ├── SearchIndexError                         4   an index can't be used as asked
    │   ├── IndexNotFound                   4
    │   ├── IndexExists                     4
    │   ├── IndexLocked                     4   another process is writing
    │   ├── AccessDenied                    4   the server does not know the user, or the user lacks a right
    │   ├── Unreachable                     4   no connection, or one that broke: the request may have been carried out
    │   ├── Overloaded                      4   the server refuses for now (429, 503): the same request may work later
    │   ├── UnfitIndex                      4   a template or a hand made it so that it can't be used
    │   └── CorruptIndex                    4   what is stored is not what was written
    ├── ModelError                          5   a checkpoint can't be used as asked
    │   ├── ModelNotFound                   5
    │   ├── CorruptModel                    5   a file does not have the hash that was recorded
    │   └── ModelMismatch                   5   fingerprint, dimension or similarity differ from the index's
    ├── TrainingError                       6   training can't go on
    │   ├── CollapsedTowers                 6   every text gets the same vector
    │   └── ResumeMismatch                  6   the work folder belongs to another run
    ├── StorageError                        7   the disk is full or a file can't be written
    ├── MissingExtra                        8   an optional dependency is not installed
    └── UnsupportedCapability               9   this engine or server can't do what was asked
"""

from __future__ import annotations

import re

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
"""Characters; a message that quotes a longer input is cut in its middle."""


class HybridSearchError(Exception):
    """Root of all errors this package raises on purpose. The message says what, the value, and what to do."""

    exit_code = 1

    def __str__(self) -> str:
        """The message, fit to be printed: what it quotes may have no UTF-8 form, or no end."""
        message = super().__str__().encode("utf-8", "backslashreplace").decode()
        if len(message) <= _LONGEST:
            return message
        return f"{message[: _LONGEST // 2]} […] {message[-_LONGEST // 2 :]}"


class UsageError(HybridSearchError):
    """An argument is wrong."""

    exit_code = 2


class ConfigError(UsageError, ValueError):
    """A setting has a bad value or an unknown name. Also a ValueError, which is what msgspec lets validators raise."""


class FilterError(UsageError):
    """A filter expression can't be parsed, or names a field that the index does not have."""


class PartialAlias(UsageError):
    """An alias with a filter or a routing, which would be passed over: what it hides would be shown."""


class DataError(HybridSearchError):
    """A data set can't be read as asked."""

    exit_code = 3


class DatasetNotFound(DataError):
    """The path does not hold what the loader looks for."""


class RecordsRejected(DataError):
    """Some records were refused and written to the dead-letter file; everything else was taken."""


class SearchIndexError(HybridSearchError):
    """An index can't be used as asked.

    :ivar status: the HTTP status that a server answered with; 0 where there was none.
    :ivar retryable: whether the same request may succeed later, with nothing changed by anybody.
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
    """The server does not know the user, or the user lacks a right."""


class Unreachable(SearchIndexError):
    """There is no connection to the server, or it broke or timed out: the request may have been carried out."""

    retryable = True


class Overloaded(SearchIndexError):
    """The server refuses for now, being too busy, starting, or without a leader."""

    retryable = True


class UnfitIndex(SearchIndexError):
    """Something else than the index's own settings (an index template, somebody's hand) keeps it from being used."""


class CorruptIndex(SearchIndexError):
    """What is stored is not what was written."""


class ModelError(HybridSearchError):
    """A checkpoint can't be used as asked."""

    exit_code = 5


class ModelNotFound(ModelError):
    """There is no checkpoint at the path."""


class CorruptModel(ModelError):
    """A file of the checkpoint does not have the hash that was recorded when it was written."""


class ModelMismatch(ModelError):
    """The model is not the one the index was built with."""


class TrainingError(HybridSearchError):
    """Training can't start or go on."""

    exit_code = 6


class CollapsedTowers(TrainingError):
    """Every text gets (nearly) the same vector; the run was stopped."""


class ResumeMismatch(TrainingError):
    """The work folder holds an unfinished run with other arguments."""


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


class UnsupportedCapability(HybridSearchError):
    """The engine or server can't do what was asked."""

    exit_code = 9


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
