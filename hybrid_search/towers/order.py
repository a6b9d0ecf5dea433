"""Whether towers read the order of words, or see a bag of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_search.towers.padding import batches_by_length, pad_ids
from hybrid_search.towers.two_tower import TwoTower

__all__ = ["cosines_to_shuffled"]

_AT_ONCE = 4_096  # tokens
_FEWEST = 3  # tokens of a text that can be shuffled to something else worth the name


def cosines_to_shuffled(
    towers: TwoTower, *, queries: Sequence[NDArray[np.int32]], documents: Sequence[NDArray[np.int32]], seed: int = 0
) -> Mapping[str, float]:
    """Return the mean cosine between the vectors of texts and of their tokens in another order, by tower.

    1 means that a tower's vectors don't depend on order at all; how far below it a tower should be, no theory says.

    :param queries: tokens of each text; those of fewer than three are left out, and so is a tower without any others.
    """
    draw = np.random.default_rng(seed)
    towers.eval()
    found = {}
    sides: tuple[tuple[str, Callable[[Tensor], Tensor], Sequence[NDArray[np.int32]]], ...] = (
        ("queries", towers.encode_queries, queries),
        ("documents", towers.encode_documents, documents),
    )
    for name, encode, texts in sides:
        long = [text for text in texts if len(text) >= _FEWEST]
        if long:
            first, other = _encoded(encode, long), _encoded(encode, [draw.permutation(text) for text in long])
            found[name] = round(float(torch.cosine_similarity(first, other).mean()), 4)
    return found


def _encoded(encode: Callable[[Tensor], Tensor], texts: Sequence[NDArray[np.int32]]) -> Tensor:
    """Return the vectors of texts, whose order is that of their lengths."""
    with torch.inference_mode():
        batches = batches_by_length([len(text) for text in texts], _AT_ONCE)
        return torch.cat([encode(torch.from_numpy(pad_ids([texts[row] for row in rows]))) for rows in batches])
