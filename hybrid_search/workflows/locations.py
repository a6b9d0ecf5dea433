"""From a location (a folder, or an index's URL on a server) to an open engine or retriever."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_search.config import IndexSettings
from hybrid_search.errors import UnsupportedCapability, UsageError
from hybrid_search.protocols import Engine

if TYPE_CHECKING:
    from hybrid_search.retriever import Retriever
    from hybrid_search.towers.onnx_encoder import OnnxEncoder

__all__ = [
    "create_index",
    "drop_index",
    "folder_of",
    "index_exists",
    "is_on_server",
    "open_encoder",
    "open_engine",
    "open_retriever",
]

_SERVER = ("opensearch://", "opensearchs://")


def is_on_server(location: str | Path) -> bool:
    """Tell an index on a server from one in a folder."""
    return str(location).startswith(_SERVER)


def folder_of(location: str | Path) -> Path:
    """Return the folder that a location names.

    :raises UnsupportedCapability: for an index on a server.
    :raises UsageError: for any other URL.
    """
    if is_on_server(location):
        raise UnsupportedCapability(f"{location}: this works with an index in a folder only")
    if "://" in str(location):
        raise UsageError(
            f"{location}: not a location; give a folder such as ./indexes/passages, or opensearch://host:9200/index"
        )
    return Path(location)


def index_exists(location: str | Path) -> bool:
    """Return whether there is an index.

    :raises SearchIndexError: if the server can't be asked.
    """
    if is_on_server(location):
        from hybrid_search.engines.opensearch import OpenSearchEngine

        return OpenSearchEngine.exists(str(location))
    from hybrid_search.engines.embedded import EmbeddedEngine

    return EmbeddedEngine.exists(folder_of(location))


def create_index(location: str | Path, settings: IndexSettings) -> Engine:
    """Make a new index and open it to write.

    :raises IndexExists: if there is one.
    """
    if is_on_server(location):
        from hybrid_search.engines.opensearch import OpenSearchEngine

        return OpenSearchEngine.create(str(location), settings)
    from hybrid_search.engines.embedded import EmbeddedEngine

    return EmbeddedEngine.create(folder_of(location), settings)


def drop_index(location: str | Path) -> None:
    """Delete an index; where there is none nothing happens.

    :raises IndexLocked: if another process is writing to it.
    """
    if is_on_server(location):
        from hybrid_search.engines.opensearch import OpenSearchEngine

        OpenSearchEngine.drop(str(location))
    else:
        from hybrid_search.engines.embedded import EmbeddedEngine

        EmbeddedEngine.drop(folder_of(location))


def open_engine(location: str | Path, *, writable: bool = False) -> Engine:
    """Open an existing index.

    :raises IndexNotFound: if there is none.
    :raises IndexLocked: if ``writable`` and another process is writing.
    """
    if is_on_server(location):
        from hybrid_search.engines.opensearch import OpenSearchEngine

        return OpenSearchEngine.open(str(location), writable=writable)
    from hybrid_search.engines.embedded import EmbeddedEngine

    return EmbeddedEngine.open(folder_of(location), writable=writable)


def open_encoder(engine: Engine, model: Path | None, *, threads: int = 0) -> OnnxEncoder | None:
    """Open the towers for an index: ``model`` where given, else those the index carries; None where it has none."""
    from hybrid_search.towers.onnx_encoder import OnnxEncoder

    folder = model or engine.model_folder()
    return None if folder is None else OnnxEncoder.load(folder, threads=threads)


def open_retriever(
    location: str | Path, *, model: Path | None = None, writable: bool = False, threads: int = 0
) -> Retriever:
    """Open an index together with the towers that made its vectors.

    :param model: towers to use instead of those stored in the index; refused unless the fingerprints are equal.
    :raises ModelMismatch: if the model is not the index's.
    """
    from hybrid_search.retriever import Retriever

    engine = open_engine(location, writable=writable)
    try:
        return Retriever(open_encoder(engine, model, threads=threads), engine)
    except BaseException:
        engine.close()
        raise
