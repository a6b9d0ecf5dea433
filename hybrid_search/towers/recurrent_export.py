"""One recurrent layer as one ONNX operator, which knows each text's length.

PyTorch's exporter makes two operators of the two directions and moves texts about between them, which takes longer than
a short query's arithmetic; its export of packed sequences gives the right operator but warns on stderr from C++.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["export_layer"]

_OPERATORS: Mapping[str, tuple[str, tuple[int, ...], dict[str, int]]] = {
    "RNN_TANH": ("RNN", (0,), {}),
    "GRU": ("GRU", (1, 0, 2), {"linear_before_reset_i": 1}),
    "LSTM": ("LSTM", (0, 3, 1, 2), {}),
}
"""PyTorch's mode -> ONNX's operator, PyTorch's gates in ONNX's order (GRU: r z n to z r h, LSTM: i f g o to i o f c),
and the attributes that make both compute the same."""


def export_layer(inputs: Tensor, lengths: Tensor, net: nn.RNNBase, layer: int) -> Tensor:
    """Stand for a layer's states (n, t, directions * hidden) in a graph that is being exported."""
    states: Tensor = _Layer.apply(inputs, lengths.to(torch.int32), net, layer)
    return states


class _Layer(torch.autograd.Function):
    """The exporter records a call and asks :meth:`symbolic` what to write for it; the values are of no account."""

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
    """Return input weights, recurrent weights and both biases as ONNX has them, one slice per direction."""
    _, order, _ = _OPERATORS[net.mode]

    def arranged(part: str) -> Tensor:
        suffixes = ("", "_reverse") if net.bidirectional else ("",)
        gates = [getattr(net, f"{part}_l{layer}{suffix}").detach().split(net.hidden_size) for suffix in suffixes]
        return torch.stack([torch.cat([direction[gate] for gate in order]) for direction in gates])

    return arranged("weight_ih"), arranged("weight_hh"), torch.cat([arranged("bias_ih"), arranged("bias_hh")], dim=1)
