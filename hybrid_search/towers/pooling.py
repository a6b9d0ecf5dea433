"""Pooling: a sequence of states in, one vector per text out; steps on padding count for nothing. Layer 2, torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybrid_search.train_config import Pooling

__all__ = ["AttentionPooling", "pool", "weighted_mean"]

_VERY_LOW = -1e4  # instead of minus infinity, which makes NaN of a text without tokens


class AttentionPooling(nn.Module):
    """A mean whose weights are learnt from the states (one head, additive)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.score.weight)  # starts as the plain mean

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool (n, t, w) states under an (n, t) mask to (n, w)."""
        scores = self.score(torch.tanh(self.hidden(states)))[:, :, 0]  # (n, t)
        return weighted_mean(states, torch.softmax(scores.masked_fill(~mask, _VERY_LOW), dim=1) * mask)


def weighted_mean(states: Tensor, weights: Tensor) -> Tensor:
    """Mean of (n, t, w) states under (n, t) weights of 0 or more; zero where all weights are 0."""
    total = weights.sum(dim=1, keepdim=True).clamp_min(1e-9)
    return torch.bmm((weights / total)[:, None], states)[:, 0]


def pool(kind: Pooling, states: Tensor, mask: Tensor, backward_width: int) -> Tensor:
    """Pool by a rule that has no parameters: ``last``, ``mean`` or ``max``.

    :param states: (n, t, w).
    :param mask: (n, t), true on tokens.
    :param backward_width: that many of a state's last numbers are from a backward net, whose last step is the first.
    :return: (n, w); arbitrary but finite for a text without tokens.
    """
    if kind == "mean":
        return weighted_mean(states, mask.to(states.dtype))
    if kind == "max":
        return states.masked_fill(~mask[:, :, None], _VERY_LOW).amax(dim=1)
    final = (mask.sum(dim=1) - 1).clamp_min(0)  # (n,)
    last = states.gather(1, final[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
    forward_width = states.shape[2] - backward_width
    return torch.cat([last[:, :forward_width], states[:, 0, forward_width:]], dim=1)
