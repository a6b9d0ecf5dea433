"""How the learning rate moves over a run, and when a run stops early. Layer 3."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["EarlyStopping", "learning_rate_factor"]


def learning_rate_factor(
    step: int, steps: int, *, warmup_share: float, schedule: Literal["constant", "linear", "cosine"]
) -> float:
    """Return what the learning rate is multiplied by at a step, 0..1.

    It rises linearly over the first ``warmup_share`` of the steps, reaching 1 with the last of them, then stays, or
    falls to 0 at ``steps``.

    :param step: 0-based.
    """
    warmup = round(warmup_share * steps)
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, steps - warmup)
    return 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))


@dataclass(slots=True)
class EarlyStopping:
    """Remembers the best measure and says when it has not been beaten for ``patience`` evaluations in a row.

    :ivar patience: 0 never stops.
    """

    patience: int
    best: float = -math.inf
    best_step: int = 0
    waited: int = 0

    def improves(self, step: int, measure: float) -> bool:
        """Take an evaluation's measure; tell whether it is the best so far."""
        if measure > self.best:
            self.best, self.best_step, self.waited = measure, step, 0
            return True
        self.waited += 1
        return False

    @property
    def is_exhausted(self) -> bool:
        """The measure has not improved for as long as it was given."""
        return 0 < self.patience <= self.waited
