"""Finds loaders, the built-in ones too, by the entry-point group ``hybrid_search.loaders``.

An entry point names a factory ``open_dataset(path, *, reject, config)`` that returns a
:class:`~hybrid_search.loaders.dataset.Dataset`. Only the requested loader is imported, so a broken one does not affect
the others.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from typing import Any, Protocol, cast

from hybrid_search.errors import DataError, HybridSearchError, UsageError
from hybrid_search.loaders.dataset import Dataset
from hybrid_search.loaders.intake import Reject, counted
from hybrid_search.loaders.mapping import Fields
from hybrid_search.passages import Pieces

__all__ = ["GROUP", "available", "open_dataset"]

GROUP = "hybrid_search.loaders"


class _Factory(Protocol):
    def __call__(self, path: Path | None, *, reject: Reject, config: str = "", **more: Any) -> Dataset: ...


def available() -> list[str]:
    """Return the names of the installed loaders, sorted, without importing any."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def open_dataset(
    name: str,
    path: str | Path | None,
    *,
    reject: Reject,
    config: str = "",
    fields: Fields | None = None,
    pieces: Pieces | None = None,
) -> Dataset:
    """Open a data set by its loader's name. The files are checked at once and read when the data set is iterated.

    :param path: the file or folder; None for a loader that reads no files.
    :param reject: called once with every rejected record, while reading.
    :param config: name of a configuration, for loaders that have several.
    :param fields: which fields of a record are the document's, for loaders of your own records.
    :param pieces: of the towers that will read the documents, for loaders that cut these into passages; see
        ``hybrid_search.pieces_of``.
    :raises UsageError: if there is no such loader, it needs a path, it has no such configuration, or its records have
        fields of their own.
    :raises DatasetNotFound: if the path does not hold what the loader looks for.
    :raises DataError: if the loader can't be imported, or the data can't be reached.
    :raises MissingExtra: if the loader needs an optional dependency that is not installed.
    """
    factory = _load(_find(name))
    takes, more = signature(factory).parameters, dict[str, Any]()
    if pieces is not None and "pieces" in takes:
        more["pieces"] = pieces
    if fields is not None:
        if "fields" not in takes:
            raise UsageError(
                f"the fields of {name} are known and can't be chosen; leave id, title, text and metadata out"
            )
        more["fields"] = fields
    return factory(None if path is None else Path(path), reject=counted(reject), config=config, **more)


def _find(name: str) -> EntryPoint:
    # A distribution may be listed twice (an editable install and its source tree); two different targets conflict.
    points = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if not points:
        raise UsageError(f"there is no loader {name!r}; installed are: {', '.join(available()) or 'none'}")
    if len(points) > 1:
        raise UsageError(f"the loader {name!r} is registered by several packages: {', '.join(sorted(points))}")
    return next(iter(points.values()))


def _load(point: EntryPoint) -> _Factory:
    try:
        factory = point.load()
    except HybridSearchError:
        raise
    except Exception as error:
        owner = f" of the package {point.dist.name}" if point.dist else ""
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"the loader {point.name!r}{owner} ({point.value}) can't be imported: {reason}") from error
    return cast(_Factory, factory)
