"""Encoders: a sequence of word vectors in, a sequence of states out. Padding never reaches a state. Layer 2, torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_search.towers.recurrent_export import export_layer
from hybrid_search.train_config import EncoderKind, TowerConfig

__all__ = ["ENCODERS", "ConvolutionalEncoder", "MeanEncoder", "RecurrentEncoder"]

_CELLS: Mapping[EncoderKind, tuple[Callable[..., nn.RNNBase], Callable[..., Any]]] = {
    "rnn": (nn.RNN, torch.rnn_tanh),
    "gru": (nn.GRU, torch.gru),
    "lstm": (nn.LSTM, torch.lstm),
}
"""Kind -> the net, and the function that runs one of its layers in one direction."""


class MeanEncoder(nn.Module):
    """No encoder at all: the states are the word vectors. The baseline that every other one must beat."""

    backward_width = 0

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.width = config.embedding_dimension

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Return ``embedded`` (n, t, d) as it is."""
        return embedded


class RecurrentEncoder(nn.Module):
    """RNN, GRU or LSTM layers, in one direction or both.

    The net is PyTorch's own. In torch its directions run one by one, the backward one over each text reversed within
    its own length: that equals the net on packed sequences and trains twice as fast on a CPU. The exported graph has
    one operator per layer.

    :ivar width: length of a state.
    :ivar backward_width: how many of a state's last numbers come from the backward direction; 0 with one direction.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        kind, self._run = _CELLS[config.encoder]
        self.net = kind(
            config.embedding_dimension,
            config.hidden,
            num_layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout if config.layers > 1 else 0.0,
            batch_first=True,
        )
        self.backward_width = config.hidden if config.bidirectional else 0
        self.width = config.hidden + self.backward_width
        _initialise(self.net)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Return states (n, t, width); those on padding are arbitrary.

        :param embedded: (n, t, d).
        :param lengths: (n,) tokens in each row.
        """
        states = embedded
        if torch.onnx.is_in_onnx_export():
            for layer in range(self.net.num_layers):
                states = export_layer(states, lengths, self.net, layer)
            return states
        backwards = _reversal(lengths, embedded.shape[1])
        for layer in range(self.net.num_layers):
            inputs = nn.functional.dropout(states, self.net.dropout, self.training and layer > 0)
            states = self._one_way(inputs, f"l{layer}")
            if self.backward_width:
                reverse = self._one_way(_reorder(inputs, backwards), f"l{layer}_reverse")
                states = torch.cat([states, _reorder(reverse, backwards)], dim=2)
        return states

    def _one_way(self, inputs: Tensor, name: str) -> Tensor:
        """Run one layer in one direction: (n, t, d) to (n, t, hidden)."""
        weights = [getattr(self.net, f"{part}_{name}") for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        start = inputs.new_zeros(1, inputs.shape[0], self.net.hidden_size)
        first = (start, start) if isinstance(self.net, nn.LSTM) else start
        states: Tensor = self._run(inputs, first, weights, True, 1, 0.0, self.training, False, True)[0]
        return states


class ConvolutionalEncoder(nn.Module):
    """Convolutions over neighbouring words, each followed by ReLU; a state sees ``layers * (kernel - 1) + 1`` words."""

    backward_width = 0

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.width = config.hidden
        widths = [config.embedding_dimension] + [config.hidden] * (config.layers - 1)
        self.layers = nn.ModuleList(nn.Conv1d(width, config.hidden, config.kernel) for width in widths)
        self.margins = ((config.kernel - 1) // 2, config.kernel // 2)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Return states (n, t, width), zero on padding."""
        inside = (torch.arange(embedded.shape[1], device=lengths.device) < lengths[:, None])[:, None]  # (n, 1, t)
        states = embedded.transpose(1, 2)  # (n, d, t)
        for layer in self.layers:
            states = nn.functional.pad(states * inside, self.margins)
            states = torch.relu(layer(states))
        return (states * inside).transpose(1, 2)


def _reversal(lengths: Tensor, longest: int) -> Tensor:
    """Return (n, t) positions that reverse each row's first ``lengths`` steps and leave its padding in place."""
    steps = torch.arange(longest, device=lengths.device)[None]  # (1, t)
    return torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)


def _reorder(states: Tensor, positions: Tensor) -> Tensor:
    """Take each row's steps in the order of ``positions``; (n, t, d) in and out."""
    return states.gather(1, positions[:, :, None].expand(-1, -1, states.shape[2]))


def _initialise(net: nn.RNNBase) -> None:
    """Orthogonal recurrent weights per gate: states neither fade nor blow up over a long text."""
    for name, weight in net.named_parameters():
        if weight.dim() == 1:
            nn.init.zeros_(weight)
            continue
        start = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
        for gate in weight.chunk(weight.shape[0] // net.hidden_size):
            start(gate)


def _transformer(config: TowerConfig) -> nn.Module:
    from hybrid_search.towers.transformer import TransformerEncoder  # an extra, slow to import

    return TransformerEncoder(config)


ENCODERS: Mapping[EncoderKind, Callable[[TowerConfig], Any]] = {
    "mean": MeanEncoder,
    "rnn": RecurrentEncoder,
    "gru": RecurrentEncoder,
    "lstm": RecurrentEncoder,
    "cnn": ConvolutionalEncoder,
    "transformer": _transformer,
}
"""Encoder kind -> its module. Each has ``width``, ``backward_width`` and ``forward(embedded, lengths)``."""
