"""Which documents an index has already, word for word."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_search.protocols import Engine
from hybrid_search.types import Document

__all__ = ["not_yet_there"]


def not_yet_there(engine: Engine, documents: Sequence[Document]) -> list[Document]:
    """Return the documents that are not in the index, or are there with other content."""
    stored = engine.get([document.id for document in documents])
    return [document for document, known in zip(documents, stored, strict=True) if known != document]
