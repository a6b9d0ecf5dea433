"""Networks: word vectors -> states -> pooled state -> tower's vector; padding does not affect the result.

A recurrent layer is exported as one ONNX operator with the length of each text. PyTorch's exporter would write an
operator for each direction and rearrange the texts between them, which takes longer than a short query's arithmetic;
its export of packed sequences gives the right operator, but prints C++ warnings to stderr.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_search.errors import ConfigError
from hybrid_search.settings.training import EncoderKind, Pooling, TowerConfig
from hybrid_search.towers.networks.gated import GatedEncoder

__all__ = [
    "ENCODERS",
    "AttentionPooling",
    "ConvolutionalEncoder",
    "MeanEncoder",
    "RecurrentEncoder",
    "build_head",
    "export_layer",
    "pool",
    "unit_or_zero",
    "weighted_mean",
]


_CELLS: Mapping[EncoderKind, tuple[Callable[..., nn.RNNBase], Callable[..., Any]]] = {
    "rnn": (nn.RNN, torch.rnn_tanh),
    "gru": (nn.GRU, torch.gru),
    "lstm": (nn.LSTM, torch.lstm),
}
"""Kind -> the network, and the function that runs one of its layers in one direction."""


class MeanEncoder(nn.Module):
    """No encoder: the states are the word vectors. The baseline for all others."""

    backward_width = 0

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.width = config.embedding_dimension

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Return ``embedded`` (n, t, d) unchanged."""
        return embedded


class RecurrentEncoder(nn.Module):
    """RNN, GRU or LSTM layers, with one direction or two.

    The network is PyTorch's own. In torch its directions are run separately, the backward one over each text reversed
    within its own length: that gives the results of packed sequences and trains twice as fast on a CPU. The exported
    graph has one operator per layer.

    :ivar width: length of a state.
    :ivar backward_width: number of trailing components of a state that are from the backward direction; 0 with one
        direction.
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
        """Return states (n, t, width); those of padding are arbitrary.

        :param embedded: (n, t, d).
        :param lengths: (n,) number of tokens in each row.
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
        """Run one layer in one direction: (n, t, d) -> (n, t, hidden)."""
        weights = [getattr(self.net, f"{part}_{name}") for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        start = inputs.new_zeros(1, inputs.shape[0], self.net.hidden_size)
        first = (start, start) if isinstance(self.net, nn.LSTM) else start
        states: Tensor = self._run(inputs, first, weights, True, 1, 0.0, self.training, False, True)[0]
        return states


class ConvolutionalEncoder(nn.Module):
    """Convolutions over adjacent words, each with ReLU; a state depends on ``layers * (kernel - 1) + 1`` words."""

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
    """Return (n, t) positions that reverse the first ``lengths`` steps of each row and keep its padding."""
    steps = torch.arange(longest, device=lengths.device)[None]  # (1, t)
    return torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)


def _reorder(states: Tensor, positions: Tensor) -> Tensor:
    """Reorder each row's steps by ``positions``, (n, t, d) -> (n, t, d)."""
    return states.gather(1, positions[:, :, None].expand(-1, -1, states.shape[2]))


def _initialise(net: nn.RNNBase) -> None:
    """Make recurrent weights orthogonal for each gate, so that states neither vanish nor explode in long texts."""
    for name, weight in net.named_parameters():
        if weight.dim() == 1:
            nn.init.zeros_(weight)
            continue
        start = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
        for gate in weight.chunk(weight.shape[0] // net.hidden_size):
            start(gate)


def _transformer(config: TowerConfig) -> nn.Module:
    from hybrid_search.towers.networks.transformer import TransformerEncoder  # an extra, slow to import

    return TransformerEncoder(config)


ENCODERS: Mapping[EncoderKind, Callable[[TowerConfig], Any]] = {
    "mean": MeanEncoder,
    "rnn": RecurrentEncoder,
    "gru": RecurrentEncoder,
    "lstm": RecurrentEncoder,
    "rec": GatedEncoder,
    "cnn": ConvolutionalEncoder,
    "transformer": _transformer,
}
"""Encoder kind -> its module. Each has ``width``, ``backward_width`` and ``forward(embedded, lengths)``."""


_VERY_LOW = -1e4  # minus infinity would give NaN for a text without tokens


class AttentionPooling(nn.Module):
    """A weighted mean with weights learnt from the states (one additive head)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.score.weight)  # initially the plain mean

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool (n, t, w) states under an (n, t) mask to (n, w)."""
        scores = self.score(torch.tanh(self.hidden(states)))[:, :, 0]  # (n, t)
        return weighted_mean(states, torch.softmax(scores.masked_fill(~mask, _VERY_LOW), dim=1) * mask)


def weighted_mean(states: Tensor, weights: Tensor) -> Tensor:
    """Mean of (n, t, w) states under (n, t) weights of 0 or more; zero where all weights are 0."""
    total = weights.sum(dim=1, keepdim=True).clamp_min(1e-9)
    return torch.bmm((weights / total)[:, None], states)[:, 0]


def pool(kind: Pooling, states: Tensor, mask: Tensor, backward_width: int) -> Tensor:
    """Pool by a method without parameters: ``last``, ``mean`` or ``max``.

    :param states: (n, t, w).
    :param mask: (n, t), True for tokens.
    :param backward_width: number of a state's last components from a backward network, whose last step is the first.
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


def build_head(width: int, config: TowerConfig) -> nn.Sequential:
    """Build ``head_layers`` fully connected layers from ``width`` to ``dimension``.

    Each layer is preceded by dropout; LayerNorm (if configured) and ReLU follow each but the last. With a residual path
    the last layer starts at zero: the tower starts as the mean of its word vectors, and learns improvements on that.

    :raises ConfigError: if there are no layers, and the widths differ or there is a residual path.
    """
    if config.head_layers == 0:
        if config.residual:
            raise ConfigError("head_layers is 0; it must be at least 1 with residual")
        if width != config.dimension:
            raise ConfigError(f"dimension is {config.dimension}; without head layers it must be the encoder's, {width}")
        return nn.Sequential()
    layers: list[nn.Module] = []
    for _ in range(config.head_layers - 1):
        layers += [nn.Dropout(config.dropout), nn.Linear(width, config.head_hidden)]
        layers += [nn.LayerNorm(config.head_hidden)] if config.layer_norm else []
        layers += [nn.ReLU()]
        width = config.head_hidden
    last = nn.Linear(width, config.dimension)
    if config.residual:
        nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, nn.Dropout(config.dropout), last)


def unit_or_zero(vectors: Tensor) -> Tensor:
    """Scale rows (n, d) to length 1; a zero row stays zero, with a gradient of zero instead of NaN."""
    if torch.onnx.is_in_onnx_export():
        unit: Tensor = _UnitOrZero.apply(vectors)
        return unit
    return vectors * torch.rsqrt((vectors * vectors).sum(dim=1, keepdim=True).clamp_min(1e-12))


class _UnitOrZero(torch.autograd.Function):
    """The exporter calls :meth:`symbolic` for the operator to write: one for six."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        return vectors.clone()

    @staticmethod
    def symbolic(graph: Any, vectors: Any) -> Any:
        return graph.op("LpNormalization", vectors, axis_i=-1, p_i=2).setType(vectors.type())


_OPERATORS: Mapping[str, tuple[str, tuple[int, ...], dict[str, int]]] = {
    "RNN_TANH": ("RNN", (0,), {}),
    "GRU": ("GRU", (1, 0, 2), {"linear_before_reset_i": 1}),
    "LSTM": ("LSTM", (0, 3, 1, 2), {}),
}
"""PyTorch's mode -> ONNX's operator, PyTorch's gates in ONNX's order (GRU: r z n to z r h, LSTM: i f g o to i o f c),
and the attributes that make both compute the same."""


def export_layer(inputs: Tensor, lengths: Tensor, net: nn.RNNBase, layer: int) -> Tensor:
    """Return a placeholder for a layer's states (n, t, directions * hidden) in a graph that is being exported."""
    states: Tensor = _Layer.apply(inputs, lengths.to(torch.int32), net, layer)
    return states


class _Layer(torch.autograd.Function):
    """The exporter calls :meth:`symbolic` for the operator to write; the values of :meth:`forward` are not used."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, lengths: Tensor, net: nn.RNNBase, layer: int) -> Tensor:
        return inputs.new_zeros(inputs.shape[0], inputs.shape[1], net.hidden_size * (1 + net.bidirectional))

    @staticmethod
    def symbolic(graph: Any, inputs: Any, lengths: Any, net: nn.RNNBase, layer: int) -> Any:
        operator, _, attributes = _OPERATORS[net.mode]
        outputs = graph.op(
            operator,
            graph.op("Transpose", inputs, perm_i=[1, 0, 2]),  # (t, n, d)
            *(graph.op("Constant", value_t=weights) for weights in _weights(net, layer)),
            lengths,
            hidden_size_i=net.hidden_size,
            direction_s="bidirectional" if net.bidirectional else "forward",
            outputs=3 if operator == "LSTM" else 2,
            **attributes,
        )
        # (t, directions, n, h) to (n, t, directions, h)
        states = graph.op("Transpose", outputs[0], perm_i=[2, 0, 1, 3])
        return graph.op("Reshape", states, graph.op("Constant", value_t=torch.tensor([0, 0, -1])))


def _weights(net: nn.RNNBase, layer: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return input weights, recurrent weights and both biases in ONNX's layout, one slice per direction."""
    _, order, _ = _OPERATORS[net.mode]

    def arranged(part: str) -> Tensor:
        suffixes = ("", "_reverse") if net.bidirectional else ("",)
        gates = [getattr(net, f"{part}_l{layer}{suffix}").detach().split(net.hidden_size) for suffix in suffixes]
        return torch.stack([torch.cat([direction[gate] for gate in order]) for direction in gates])

    return arranged("weight_ih"), arranged("weight_hh"), torch.cat([arranged("bias_ih"), arranged("bias_hh")], dim=1)
