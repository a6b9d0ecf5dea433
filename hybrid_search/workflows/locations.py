"""From a location (a folder today, a cluster's URL later) to an open engine or retriever."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_search.errors import UnsupportedCapability, UsageError
from hybrid_search.protocols import Engine

if TYPE_CHECKING:
    from hybrid_search.retriever import Retriever
    from hybrid_search.towers.onnx_encoder import OnnxEncoder

__all__ = ["folder_of", "open_encoder", "open_engine", "open_retriever"]


def folder_of(location: str | Path) -> Path:
    """Return the folder that a location names.

    :raises UnsupportedCapability: for a cluster's URL, which this version has no engine for.
    :raises UsageError: for any other URL.
    """
    text = str(location)
    if text.startswith(("opensearch://", "opensearchs://")):
        raise UnsupportedCapability(f"{text}: this version has no OpenSearch engine yet; give a folder instead")
    if "://" in text:
        raise UsageError(f"{text}: not a location; give a folder such as ./indexes/passages")
    return Path(location)


def open_engine(location: str | Path, *, writable: bool = False) -> Engine:
    """Open an existing index.

    :raises IndexNotFound: if there is none.
    :raises IndexLocked: if ``writable`` and another process is writing.
    """
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
