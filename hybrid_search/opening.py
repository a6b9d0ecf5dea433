"""Opens engines and retrievers by location: a folder, or the URL of an index on a server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hybrid_search.errors import CorruptIndex, CorruptModel, ModelNotFound, UnsupportedCapability, UsageError
from hybrid_search.location import usable_path, without_password
from hybrid_search.protocols import Engine
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.server import SearchOptions, ServerOptions
from hybrid_search.towers.shipped import default_model

if TYPE_CHECKING:
    from hybrid_search.retrieval.open_index import IndexSource, OpenIndex
    from hybrid_search.retrieval.retriever import Retriever
    from hybrid_search.towers.onnx.encoder import OnnxEncoder

__all__ = [
    "create_index",
    "digest_of_model",
    "drop_index",
    "folder_of",
    "has_towers",
    "index_exists",
    "is_on_server",
    "missing_towers",
    "model_of_new",
    "open_encoder",
    "open_engine",
    "open_retriever",
    "own_towers",
    "store_towers",
]

_NEARLY_A_SERVER = re.compile(r"opensearchs?:|[^/@]*:[^/@]*@|(localhost|[\w-]+(\.[\w-]+)+):\d{2,5}(/|$)")


class _Kind(Protocol):
    """What there is to do with locations of one kind. Engines are imported when one of theirs is asked for."""

    def exists(self, location: str | Path) -> bool: ...

    def create(
        self, location: str | Path, settings: IndexSettings, layout: ServerOptions | None, model: Path | None
    ) -> Engine: ...

    def open(self, location: str | Path, *, writable: bool, search: SearchOptions | None) -> Engine: ...

    def drop(self, location: str | Path) -> None: ...


class _InFolder:
    def exists(self, location: str | Path) -> bool:
        from hybrid_search.engines.embedded import EmbeddedEngine

        return EmbeddedEngine.exists(folder_of(location))

    def create(
        self, location: str | Path, settings: IndexSettings, layout: ServerOptions | None, model: Path | None
    ) -> Engine:
        from hybrid_search.engines.embedded import EmbeddedEngine

        return EmbeddedEngine.create(folder_of(location), settings)

    def open(self, location: str | Path, *, writable: bool, search: SearchOptions | None) -> Engine:
        if search is not None and search != SearchOptions():
            raise UsageError(
                f"{location}: a pipeline, partial answers, a query log and encoding in the cluster are for an index on "
                f"a server; leave them out"
            )
        from hybrid_search.engines.embedded import EmbeddedEngine

        return EmbeddedEngine.open(folder_of(location), writable=writable)

    def drop(self, location: str | Path) -> None:
        from hybrid_search.engines.embedded import EmbeddedEngine

        EmbeddedEngine.drop(folder_of(location))


class _OnServer:
    def exists(self, location: str | Path) -> bool:
        from hybrid_search.engines.opensearch import OpenSearchEngine

        return OpenSearchEngine.exists(str(location))

    def create(
        self, location: str | Path, settings: IndexSettings, layout: ServerOptions | None, model: Path | None
    ) -> Engine:
        from hybrid_search.engines.opensearch import OpenSearchEngine

        return OpenSearchEngine.create(str(location), settings, options=layout, towers=digest_of_model(model))

    def open(self, location: str | Path, *, writable: bool, search: SearchOptions | None) -> Engine:
        from hybrid_search.engines.opensearch import OpenSearchEngine

        return OpenSearchEngine.open(str(location), writable=writable, options=search)

    def drop(self, location: str | Path) -> None:
        from hybrid_search.engines.opensearch import OpenSearchEngine

        OpenSearchEngine.drop(str(location))


_SERVERS: Mapping[str, _Kind] = {"opensearch": _OnServer(), "opensearchs": _OnServer()}
"""Scheme of a location -> its kind; a location without one is a folder."""


def _kind(location: str | Path) -> _Kind:
    scheme, separator, _ = str(location).partition("://")
    return _SERVERS.get(scheme if separator else "", _InFolder())


def is_on_server(location: str | Path) -> bool:
    """Return whether a location is an index on a server, rather than a folder."""
    return isinstance(_kind(location), _OnServer)


def folder_of(location: str | Path) -> Path:
    """Return the folder of a location.

    :raises UnsupportedCapability: for an index on a server.
    :raises UsageError: for any other URL, or an invalid path.
    """
    if is_on_server(location):
        raise UnsupportedCapability(f"{location}: this works with an index in a folder only")
    if "://" in str(location) or _NEARLY_A_SERVER.match(str(location)):
        raise UsageError(
            f"{without_password(str(location))}: not a location; give a folder such as ./indexes/passages, or "
            f"opensearch://host:9200/index"
        )
    advice = "give a folder such as ./indexes/passages, or opensearch://host:9200/index"
    return usable_path(location, "the location", advice)


def index_exists(location: str | Path) -> bool:
    """Return whether the index exists.

    :raises SearchIndexError: if the server can't be reached.
    """
    return _kind(location).exists(location)


def create_index(
    location: str | Path, settings: IndexSettings, layout: ServerOptions | None = None, model: Path | None = None
) -> Engine:
    """Create an index and open it to write.

    :param layout: the server's options of the index; not used for a folder.
    :param model: the model whose towers will be stored; recorded in an index on a server.
    :raises IndexExists: if the index exists.
    """
    return _kind(location).create(location, settings, layout, model)


def digest_of_model(model: Path | None) -> str:
    """Return the digest of a model's files, as recorded in an index on a server; empty without a model."""
    from hybrid_search.engines.opensearch.index import digest_of
    from hybrid_search.towers.model_card import serving_files

    return digest_of(serving_files(model)) if model else ""


def drop_index(location: str | Path) -> None:
    """Delete an index; does nothing if there is none.

    :raises IndexLocked: if another process is writing to it.
    """
    _kind(location).drop(location)


def open_engine(location: str | Path, *, writable: bool = False, search: SearchOptions | None = None) -> Engine:
    """Open an existing index.

    :param search: how to search an index on a server.
    :raises UsageError: if ``search`` is given for a folder.
    :raises IndexNotFound: if there is none.
    :raises IndexLocked: if ``writable`` and another process is writing.
    """
    return _kind(location).open(location, writable=writable, search=search)


def open_encoder(engine: Engine, model: Path | None, *, threads: int = 0) -> OnnxEncoder | None:
    """Open ``model``, or else the towers stored in the index; None for an index without vectors."""
    folder = model or engine.model_folder()
    if folder is None:
        return None
    from hybrid_search.towers.onnx.encoder import OnnxEncoder  # its runtime takes a while to import

    return OnnxEncoder.load(folder, threads=threads)


def own_towers(location: str | Path) -> Path | None:
    """Return the folder of the towers stored in an index; None if there is no index, or it has no vectors.

    :raises ModelNotFound: if it has vectors but not the towers that made them.
    :raises CorruptIndex: if the index can't be read.
    """
    if not index_exists(location):
        return None
    try:
        with closing(open_engine(location)) as engine:
            fingerprint, folder = engine.settings.fingerprint, engine.model_folder()
    except CorruptIndex as error:
        raise CorruptIndex(f"{error}; so its towers can't be taken over: give model=PATH, or drop it first") from error
    if fingerprint and folder is None:
        raise missing_towers(location, fingerprint)
    return folder


def model_of_new(location: str | Path, model: Path | None, *, lexical_only: bool) -> Path | None:
    """Return the model of a new index: the given one, or the one that comes with the package; None for no vectors.

    :raises UsageError: if there is none, and an index without vectors is not asked for.
    """
    chosen = model or (None if lexical_only else default_model())
    if chosen is None and not lexical_only:
        raise UsageError(
            f"{location}: a new index needs a model, whose towers make the vectors: train one on your documents "
            f"(hybrid-search train) and give it as model=PATH; or say lexical_only=True for an index that BM25 alone "
            f"searches"
        )
    return chosen


def has_towers(engine: Engine) -> bool:
    """Return whether the towers are in an index; a kill may have come before, and others may have changed them."""
    try:
        return engine.model_folder() is not None
    except CorruptModel:
        return False


def store_towers(engine: Engine, model: Path) -> None:
    """Store the files of a model that encoding needs in an index."""
    from hybrid_search.towers.model_card import serving_files

    engine.store_model(serving_files(model))


def missing_towers(location: str | Path, fingerprint: str) -> ModelNotFound:
    """Return the error for an index with vectors but without the towers that made them."""
    return ModelNotFound(
        f"{location}: the index holds vectors of the model {fingerprint[:12]}, and not that model's towers; give "
        f"model=PATH, or drop the index first to make one for BM25 alone"
    )


def open_retriever(
    location: str | Path,
    *,
    model: Path | None = None,
    writable: bool = False,
    threads: int = 0,
    follow: bool = False,
    search: SearchOptions | None = None,
) -> Retriever:
    """Open an index together with the towers that made its vectors.

    :param search: how to search an index on a server.
    :param model: towers to use instead of those stored in the index; their fingerprint must be the index's.
    :param follow: if opened by an alias, follow it when it moves to another index, and use that index's towers (see
        :mod:`hybrid_search.retrieval.alias_retriever`). Otherwise the retriever keeps the index that the alias stands
        for now, as an evaluation must.
    :raises UsageError: if a model is given although the cluster encodes.
    :raises ModelMismatch: if the model is not the index's.
    """
    in_cluster = search is not None and search.in_cluster
    if in_cluster and model is not None:
        raise UsageError(f"{model}: the cluster encodes with the towers deployed there; leave the model out")

    def opened() -> OpenIndex:
        from hybrid_search.retrieval.open_index import OpenIndex

        engine = open_engine(location, writable=writable, search=search)
        try:
            return OpenIndex(None if in_cluster else open_encoder(engine, model, threads=threads), engine)
        except BaseException:
            engine.close()
            raise

    from hybrid_search.retrieval.open_index import IndexSource
    from hybrid_search.retrieval.retriever import Retriever

    index = opened()
    return Retriever.through(_following(index, opened) if follow and is_on_server(location) else IndexSource(index))


def _following(first: OpenIndex, opened: Callable[[], OpenIndex]) -> IndexSource:
    """Return a source that follows the alias by which an index on a server was opened; else one of that index only."""
    from hybrid_search.engines.opensearch import OpenSearchEngine
    from hybrid_search.engines.opensearch.transport import chosen, connected
    from hybrid_search.retrieval.alias_retriever import AliasFollower
    from hybrid_search.retrieval.open_index import IndexSource

    connection = chosen()

    def reopened() -> OpenIndex:
        with connected(connection):  # perhaps in another thread, and after the caller's own block has ended
            return opened()

    def moved(index: OpenIndex) -> bool:
        return isinstance(index.engine, OpenSearchEngine) and index.engine.moved()

    if not (isinstance(first.engine, OpenSearchEngine) and first.engine.place.behind_alias):
        return IndexSource(first)
    return AliasFollower(first, reopened, moved)
