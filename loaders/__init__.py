"""Data set readers: files, folders and the hub in, the library's records out.

Imports nothing of the library but its records (``hybrid_search.types``) and its errors (``hybrid_search.errors``).
"""

from __future__ import annotations

from loaders.dead_letter import DeadLetter
from loaders.registry import available, open_dataset

__all__ = ["DeadLetter", "available", "open_dataset"]
