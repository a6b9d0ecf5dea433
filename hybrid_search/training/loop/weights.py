"""Figures of the towers' weights for logs and trackers: how many there are, how large, and how they are spread."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.training.tracking import Histogram

__all__ = ["parameters_of", "weights_of"]


def parameters_of(towers: TwoTower) -> dict[str, int]:
    """Return how many parameters there are: ``all``, of these ``word_vectors``, and those of each tower beside them.

    What both towers share counts once in ``all``, and for both.
    """
    sides = {"query_tower": towers.query_tower, "document_tower": towers.document_tower}
    tables = [table.weight for tower in sides.values() for table in (tower.embedding, tower.shift) if table is not None]
    words = {id(table): table.numel() for table in tables}
    beside = {
        name: sum(one.numel() for one in tower.parameters() if id(one) not in words) for name, tower in sides.items()
    }
    every = {id(one): one.numel() for one in towers.parameters()} | words
    return {"all": sum(every.values()), "word_vectors": sum(words.values()), **beside}


def weights_of(parameters: Mapping[str, nn.Parameter]) -> dict[str, float | Histogram]:
    """Return each parameter's Euclidean norm, ``weight_norm/NAME``, and its values, ``weights/NAME``."""
    found: dict[str, float | Histogram] = {}
    for name, parameter in parameters.items():
        values = parameter.detach()
        found[f"weight_norm/{name}"] = float(values.norm())
        found[f"weights/{name}"] = Histogram(values.cpu().numpy())
    return found
