"""Data set readers: convert files, folders and the hub's data sets to the library's records.

Imports nothing of the library but its records (``hybrid_search.types``) and its errors (``hybrid_search.errors``).
"""

from __future__ import annotations

from hybrid_search.loaders.allowance import Allowance
from hybrid_search.loaders.dead_letter import DeadLetter
from hybrid_search.loaders.registry import available, open_dataset
from hybrid_search.loaders.rejecting import rejecting

__all__ = ["Allowance", "DeadLetter", "available", "open_dataset", "rejecting"]
