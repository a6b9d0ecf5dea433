"""``files``: a folder of documents as people have them: text, Markdown, HTML, PDF, DOCX, tables, JSON."""

from __future__ import annotations

from hybrid_search.loaders.files.dataset import open_dataset

__all__ = ["open_dataset"]
