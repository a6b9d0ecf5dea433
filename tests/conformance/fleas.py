"""Three documents with vectors of two numbers that most conformance tests ask for."""

from __future__ import annotations

import numpy as np

from hybrid_search.types import Document, Ranking

__all__ = ["FLEAS", "VECTORS", "ids"]

FLEAS = (
    Document("flea", "the life cycle of a flea", metadata={"year": 2019, "lang": "en", "rank": 0.5, "open": True}),
    Document("dog", "a dog has fleas", title="Pets", metadata={"year": 2021, "lang": ("en", "de"), "open": False}),
    Document("sea", "waves of the sea", metadata={"year": 2023, "lang": "de", "rank": 2}),
)
VECTORS = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)


def ids(ranking: Ranking) -> list[str]:
    return list(ranking.ids)
