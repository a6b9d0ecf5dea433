"""The library's entry points: open an index, train towers, load a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_search.errors import UsageError, importing_extra, shown
from hybrid_search.location import usable_path

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch.transport import Connection
    from hybrid_search.loading.load import LoadOptions, LoadReport
    from hybrid_search.loading.sync import Rejecting, Synced
    from hybrid_search.protocols import Dataset, Reranker
    from hybrid_search.retrieval.retriever import Retriever
    from hybrid_search.settings.index import FieldType
    from hybrid_search.settings.server import SearchOptions
    from hybrid_search.training.request import TrainRequest, TrainSummary
    from hybrid_search.training.sweep.run import SweepReport, SweepRequest

__all__ = ["backup", "create", "load", "load_in_sync", "open", "restore", "sweep", "train"]


def open(
    location: str | Path,
    *,
    model: str | Path | None = None,
    writable: bool = False,
    follow: bool = True,
    connection: Connection | None = None,
    search: SearchOptions | None = None,
    rerank: Reranker | None = None,
    rerank_depth: int | None = None,
) -> Retriever:
    """Open an index with the towers that it carries.

    :param location: the index's folder, or ``opensearch://host:9200/name`` of an index or alias on a server.
    :param model: a checkpoint to use instead; refused unless it is the one that made the index's vectors.
    :param writable: allow adding and deleting; for a folder, only one process at a time may do so.
    :param follow: if opened by an alias, switch to the alias's new index when it moves (within seconds; no answer mixes
        two indexes).
    :param connection: how to reach a server; None for the environment and the connections file.
    :param search: how to search a server: the pipeline, whether answers may lack a shard's hits, where queries are
        encoded.
    :param rerank: scores the first hits of each query anew, such as a :class:`~hybrid_search.CrossEncoderReranker`;
        called from all threads that search. A search may say otherwise.
    :param rerank_depth: how many hits; None for 50, or as many as a search asks for if that is more.
    :raises IndexNotFound: if there is no index at the location.
    :raises IndexLocked: if ``writable`` and another process is writing.
    :raises ModelMismatch: if the model is not the index's.
    """
    from hybrid_search.opening import open_retriever
    from hybrid_search.settings.server import SearchOptions

    if not isinstance(search, SearchOptions | None):
        raise UsageError(f"search is {shown(search)}; give hybrid_search.SearchOptions")
    with _connected(connection):
        retriever = open_retriever(location, model=_folder(model), writable=writable, follow=follow, search=search)
    try:
        return retriever.reranking(rerank, rerank_depth)
    except UsageError:
        retriever.close()
        raise


def create(
    location: str | Path,
    *,
    model: str | Path | None = None,
    language: str | None = None,
    fields: Mapping[str, FieldType] | None = None,
    connection: Connection | None = None,
) -> Retriever:
    """Create an empty index and open it to write.

    :param location: as for :func:`open`.
    :param model: the folder of the towers whose vectors the index will have; it keeps a copy. None for BM25 alone.
    :param language: whose words BM25 tells apart: ``en``, ``de``, ``cjk``, ``any`` … None for English.
    :param fields: metadata fields and their types: ``keyword``, ``long``, ``double``, ``boolean``, ``date``. Others are
        declared by their first value, which makes none a date.
    :raises IndexExists: if there is an index at the location.
    :raises ModelNotFound: if there is no model at the path.
    """
    from hybrid_search.loading.target import create as created

    with _connected(connection):
        return created(location, _folder(model), language, fields)


def backup(location: str | Path, to: str | Path) -> int:
    """Copy an index in a folder while it is in use; see :func:`hybrid_search.indexes.backup`."""
    from hybrid_search.indexes import backup as made

    return made(location, to)


def restore(copy: str | Path, location: str | Path) -> int:
    """Put a copy in the place of an index; see :func:`hybrid_search.indexes.restore`."""
    from hybrid_search.indexes import restore as put_back

    return put_back(copy, location)


def train(dataset: Dataset, out: str | Path, request: TrainRequest | None = None) -> TrainSummary:
    """Train towers on a data set and write a checkpoint; see :func:`hybrid_search.training.train.train`.

    :raises MissingExtra: if the extra ``train`` is not installed.
    """
    with importing_extra("train"):
        from hybrid_search.training import train as training

    return training.train(dataset, Path(out), request)


def sweep(dataset: Dataset, out: str | Path, request: SweepRequest | None = None) -> SweepReport:
    """Train with many settings and keep the best model; see :func:`hybrid_search.training.sweep.run.sweep`.

    :raises MissingExtra: if the extra ``sweep`` is not installed.
    """
    with importing_extra("sweep"):
        from hybrid_search.training.sweep import run

    return run.sweep(dataset, Path(out), request)


def load(
    dataset: Dataset,
    location: str | Path,
    *,
    model: str | Path | None = None,
    options: LoadOptions | None = None,
    connection: Connection | None = None,
) -> LoadReport:
    """Index a data set's documents; see :func:`hybrid_search.loading.load.load`, and :func:`open`."""
    from hybrid_search.loading import load as loading

    if not isinstance(options, loading.LoadOptions | None):
        raise UsageError(f"options is {shown(options)}; give hybrid_search.LoadOptions")
    with _connected(connection):
        return loading.load(dataset, location, model=_folder(model), options=options)


def load_in_sync(
    dataset: Dataset,
    location: str | Path,
    *,
    reject: Rejecting,
    model: str | Path | None = None,
    options: LoadOptions | None = None,
    may_remove: Callable[[int, int], bool] = lambda count, before: False,
    connection: Connection | None = None,
) -> Synced:
    """Index a data set's documents, then delete those that it does not have any more: ``load --sync``.

    See :func:`hybrid_search.loading.sync.load_in_sync`, and :func:`open`.

    :param reject: the object of :func:`hybrid_search.rejecting` that the data set was opened with: nothing is deleted
        if a record of the data set could not be read, and this object knows.
    :param may_remove: asked, with the number of documents to delete and the number before, where that is more than a
        tenth; by default such a deletion is not made, and the result says so.
    """
    from hybrid_search.loading import load as loading
    from hybrid_search.loading import sync

    if not isinstance(options, loading.LoadOptions | None):
        raise UsageError(f"options is {shown(options)}; give hybrid_search.LoadOptions")
    if not (callable(reject) and isinstance(getattr(reject, "count", None), int)):
        raise UsageError(
            f"reject is {shown(reject)}, which does not count what could not be read; open the data set with what "
            f"hybrid_search.rejecting gives, and give the same here"
        )
    with _connected(connection):
        return sync.load_in_sync(
            dataset, location, reject=reject, model=_folder(model), options=options, may_remove=may_remove
        )


def _folder(model: str | Path | None) -> Path | None:
    if model is None:
        return None
    from hybrid_search.towers.shipped import located

    return located(usable_path(model, "model", "give the folder that `train` wrote"))


def _connected(connection: Connection | None) -> AbstractContextManager[None]:
    if connection is None:
        return nullcontext()
    from hybrid_search.engines.opensearch.transport import Connection, connected

    if not isinstance(connection, Connection):
        raise UsageError(f"connection is {shown(connection)}; give a hybrid_search.Connection")
    return connected(connection)
