"""The indexes that stand beside an index of passages, for people to look into. Layer 1.

Their names begin with the name that the passages were asked for by, an alias or an index: what was written outlives the
index that an alias stands for. Nothing else reads them, and each can be dropped at any time.
"""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["COMPANIONS", "Companion", "companion_index"]

Companion = Literal["queries", "evaluations", "statistics"]

COMPANIONS: tuple[Companion, ...] = get_args(Companion)
"""Answered queries; results of evaluations; samples of the documents and the progress of loads."""


def companion_index(name: str, kind: Companion) -> str:
    """Return the name of the index beside ``name``; its mapping is ``mappings/index/KIND.json``."""
    return f"{name}-{kind}"
