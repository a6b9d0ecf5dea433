"""Chooses a fusion out of many from their values on judged queries: which technique, window and weights.

Techniques, windows and RRF constants make *families*, each of which has a curve of weights. Within a family the weight
is chosen as always (:func:`~hybrid_search.training.fit.weights.chosen_place`): BM25 alone where no weight gains more
than one standard error over it. If the family's curve is highest at k-NN alone, there is nothing to fuse, and k-NN
alone is chosen. Another family than the present one is taken if it gains more than :data:`CLEAR` standard errors over
it: the best of many families gains something over any of them by chance.

The best of many settings looks better than it is, so :func:`cross_fitted` and queries of another split tell its worth.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import get_args

import numpy as np

from hybrid_search.settings.index import Combination, Fusion, Normalisation
from hybrid_search.training.fit.table import GRID, Values, weighted
from hybrid_search.training.fit.weights import chosen_place, standard_errors

__all__ = ["Technique", "choose", "cross_fitted", "families", "techniques"]

WINDOWS = (50, 100, 200, 500)
RANK_CONSTANTS = (10, 20, 60, 100)

CLEAR = 2.5
"""Standard errors. With k-NN legs in random order the best of 56 families gained up to 1.96 over BM25 alone on NFCorpus
(324 queries, five draws), and with a model's legs 3.1 over a family that fused already."""


@dataclass(frozen=True, slots=True)
class Technique:
    """The best family of one technique, with the weights chosen for it and its mean on the queries chosen on."""

    fusion: Fusion
    mean: float


def families(present: Fusion, methods: Collection[Normalisation]) -> list[Fusion]:
    """List the techniques, windows and RRF constants to try, the present ones first.

    :param methods: those that the engine has.
    """
    windows = sorted({*WINDOWS, present.window})
    # The constant of other methods, and the combination of RRF, are not used: the present values stay.
    plain = Fusion(combination=present.combination, rank_constant=present.rank_constant)
    ranked = [plain.replace(method="rrf", rank_constant=constant) for constant in RANK_CONSTANTS]
    scored = [plain.replace(method=method, combination=one) for method, one in _scored()]
    made = [one.replace(window=window) for window in windows for one in (*scored, *ranked) if one.method in methods]
    first = present.replace(weights=Fusion().weights)
    return [first, *(one for one in made if one != first)]


def _scored() -> Iterator[tuple[Normalisation, Combination]]:
    for method, combination in product(get_args(Normalisation), get_args(Combination)):
        if method != "rrf" and (method != "z_score" or combination == "arithmetic"):
            yield method, combination


def choose(values: Values) -> tuple[int, int]:
    """Choose a family and a weight.

    :param values: (families, weights, queries) by the weights of
        :data:`~hybrid_search.training.fit.table.GRID`; the present family first.
    :return: the family and the weight, by their places.
    """
    places = [_place(of_family) for of_family in values]
    rows = np.array([of_family[place] for of_family, place in zip(values, places, strict=True)])
    best = int(rows.mean(axis=1).argmax())
    family = best if standard_errors(rows[best] - rows[0]) > CLEAR else 0
    return family, places[family]


def _place(of_family: Values) -> int:
    means = of_family.mean(axis=1)
    place = chosen_place(of_family)
    # k-NN alone must be above every fusion; what is level with it is fused: a second leg helps where one finds nothing.
    return 0 if 0 < place < len(means) - 1 and means[0] > means[1:].max() else place


def cross_fitted(values: Values) -> Values:
    """Return the queries' values, (queries,), with each half of them measured by what the other half chooses."""
    half, held_out = np.arange(values.shape[2]) % 2, np.empty(values.shape[2])
    for own in (0, 1):
        family, weight = choose(values[:, :, half != own])
        held_out[half == own] = values[family, weight, half == own]
    return held_out


def techniques(values: Values, tried: Sequence[Fusion]) -> tuple[Technique, ...]:
    """Return the best family of each technique, the best technique first."""
    best: dict[tuple[Normalisation, Combination | None], Technique] = {}
    for fusion, of_family in zip(tried, values, strict=True):
        place = _place(of_family)
        found = Technique(weighted(fusion, GRID[place]), float(of_family[place].mean()))
        name = fusion.method, None if fusion.method == "rrf" else fusion.combination
        if name not in best or found.mean > best[name].mean:
            best[name] = found
    return tuple(sorted(best.values(), key=lambda technique: -technique.mean))
