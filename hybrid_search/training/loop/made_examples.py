"""Makes examples from documents alone: new ones at every step, so that none can be memorised.

Labelled queries are few, and towers that see no others memorise them. Queries are made from a document in two ways, by
random choice: its most telling words (the tower learns which words characterise a text), or a passage cut out of it, as
in the inverse cloze task (Lee et al. 2019: the tower learns what belongs together without common words).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import TrainingError
from hybrid_search.training.data.rows import Int32, Rows

__all__ = ["SelfSupervision"]

_KEYWORDS = (2, 8)
_STRETCH = (5, 12)
_SHORTEST_DOCUMENT = 16
# In one of ten documents the passage is not removed, so that common words still count (Lee et al. 2019).
_STAYS = 0.1
_RARITY = 1e-4
_RESERVED = 2


class SelfSupervision:
    """Draws documents and makes a query from each; the same seed and step give the same examples."""

    def __init__(self, documents: Rows, seed: int) -> None:
        self._documents = documents
        self._seed = seed
        self._long = np.flatnonzero(documents.lengths() >= _SHORTEST_DOCUMENT)
        counts = np.bincount(documents.values, minlength=_RESERVED)
        self._telling = _RARITY / (_RARITY + counts / max(1, counts.sum()))
        self._telling[:_RESERVED] = 0

    def check(self) -> None:
        """Check that there are enough documents, for a run without other examples.

        :raises TrainingError: if there are fewer than two.
        """
        if len(self._long) < 2:
            raise TrainingError(
                f"there are no labelled queries, and {len(self._long)} documents of {_SHORTEST_DOCUMENT} tokens or "
                "more to make examples of; give queries and qrels, or longer documents"
            )

    def draw(self, count: int, step: int) -> tuple[NDArray[np.int64], Sequence[Int32], Sequence[Int32]]:
        """Draw ``count`` examples, or fewer if there are not enough documents of sufficient length.

        :return: distinct document rows; the tokens of the queries; the tokens of the documents, from which a passage
            may have been removed.
        """
        generator = np.random.default_rng([self._seed, 2, step])
        rows = generator.choice(self._long, min(count, len(self._long)), replace=False)
        made = [self._make(self._documents[int(row)], generator) for row in rows]
        return rows, [query for query, _ in made], [document for _, document in made]

    def _make(self, tokens: Int32, generator: np.random.Generator) -> tuple[Int32, Int32]:
        telling = self._telling[tokens]
        words = int((telling > 0).sum())
        if generator.random() < 0.5 and words:
            size = min(words, int(generator.integers(_KEYWORDS[0], _KEYWORDS[1], endpoint=True)))
            positions = generator.choice(len(tokens), size, replace=False, p=telling / telling.sum())
            return tokens[np.sort(positions)], tokens
        size = int(generator.integers(_STRETCH[0], _STRETCH[1], endpoint=True))
        start = int(generator.integers(len(tokens) - size))
        rest = np.concatenate([tokens[:start], tokens[start + size :]])
        return tokens[start : start + size], tokens if generator.random() < _STAYS else rest
