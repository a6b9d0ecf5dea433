"""A recurrent network whose gates see the input only: ``h[t] = h[t-1] + z[t] (v[t] - h[t-1])``.

A gate z says how far a channel moves from what it remembers to the value v of this token. As neither depends on h
(minGRU, Feng et al. 2024; SRU, Lei et al. 2018), all matrix products of a layer are one, and the loop over time has
nothing but elementwise steps. Beside these channels each layer has some that are the text's mean, so that every token
knows what the text is about.

A layer adds to what it gets, and adds nothing at first: an untrained network returns the word vectors themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_search.settings.training import TowerConfig

__all__ = ["PLACEHOLDER", "GatedEncoder", "as_texts", "in_haste", "remembered"]

PLACEHOLDER = "hybrid_search::Remembered"
"""Operator in a graph that is being exported, in place of the loop over time.

Inputs are z of each direction, then v of each; outputs are the states of each; all (t, n, c) as in :func:`remembered`,
or (n, t, c): the attribute ``axis`` is that of time.
"""

# Biases of the gates: channels that move by 2 % to 80 % a token, so that they remember some 50 tokens to one.
_SLOWEST, _FASTEST = -4.0, 1.5
_GATE_SCALE = 0.5


class GatedEncoder(nn.Module):
    """Layers that read in one direction or two; a state has the width of a word vector.

    On a processor with instructions for bfloat16 the matrix products of training use them, five times as fast.
    """

    backward_width = 0

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.width = config.embedding_dimension
        self.layers = nn.ModuleList(
            _Layer(self.width, config.hidden, 1 + config.bidirectional, config.dropout) for _ in range(config.layers)
        )

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Return states (n, t, d); those of padding are arbitrary.

        :param embedded: (n, t, d).
        :param lengths: (n,) number of tokens in each row.
        """
        steps = torch.arange(embedded.shape[1], device=lengths.device)[:, None]  # (t, 1)
        inside = (steps < lengths).to(embedded.dtype)[:, :, None]  # (t, n, 1)
        states = embedded.transpose(0, 1)
        for layer in self.layers:
            states = layer(states, inside)
        return states.transpose(0, 1)

    def in_rows(self, rows: Tensor, ids: Tensor, shares: Tensor) -> Tensor:
        """Compute the same of one direction for a graph that is exported, in as few operators as there can be.

        In a short text each operator costs more than its arithmetic, and so does bringing it into another shape.

        :param rows: (n * t, d) word vectors.
        :param ids: (n, t), for the shape alone.
        :param shares: (n, 1, t) of each token in its text's mean, 0 for padding.
        :return: (n * t, d), arbitrary for padding.
        """
        for layer in self.layers:
            assert isinstance(layer, _Layer)  # a list of modules does not say of which
            rows = layer.in_rows(rows, ids, shares)
        return rows


class _Layer(nn.Module):
    """One layer: normalised input -> gates, values, means, output gates -> states -> addition to the input."""

    is_hasty = False

    def __init__(self, width: int, hidden: int, directions: int, dropout: float) -> None:
        super().__init__()
        self.channels, self.means, self.directions, self.dropout = directions * hidden, hidden, directions, dropout
        out = self.channels + self.means
        self.norm = nn.LayerNorm(width)
        self.entry = nn.Linear(width, 2 * self.channels + self.means + out)
        self.exit = nn.Linear(out, width)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)
        nn.init.zeros_(self.entry.bias)
        with torch.no_grad():
            self.entry.bias[: self.channels] = torch.linspace(_SLOWEST, _FASTEST, hidden).repeat(directions)
            self.entry.weight[: self.channels] *= _GATE_SCALE

    def forward(self, states: Tensor, inside: Tensor) -> Tensor:
        """Map (t, n, d) to (t, n, d); ``inside`` (t, n, 1) is 1 for tokens and 0 for padding."""
        if torch.onnx.is_in_onnx_export():
            return self._in_parts(states, inside)
        rounded = (self.training or self.is_hasty) and _rounds(states)
        mixed = _product(self.norm(states), self.entry, rounded)
        channels, means = self.channels, self.means
        gates, values, themes, opened = torch.split(mixed, [channels, channels, means, channels + means], dim=2)
        # Padding moves nothing, so that a text is read as if it stood alone.
        kept = remembered(torch.sigmoid(gates.to(states.dtype)) * inside, values.to(states.dtype), self.directions)
        theme = (themes.to(states.dtype) * inside).sum(0, keepdim=True) / inside.sum(0, keepdim=True).clamp_min(1)
        read = torch.cat([kept, theme.expand(kept.shape[0], -1, -1)], dim=2).to(mixed.dtype)
        read = nn.functional.dropout(read * nn.functional.silu(opened), self.dropout, self.training)
        return states + _product(read, self.exit, rounded).to(states.dtype)

    def _in_parts(self, states: Tensor, inside: Tensor) -> Tensor:
        """Compute the same for a graph that is exported: each direction by itself, as a graph copies what it splits."""
        ways, wide = self.directions, self.channels // self.directions
        sizes = [*[wide] * 2 * ways, self.means, *[wide] * ways, self.means]
        parts = torch.split(self.entry(self.norm(states)), sizes, dim=2)
        gates = [torch.sigmoid(part) * inside for part in parts[:ways]]
        kept = _Exported.apply(ways, 0, *gates, *parts[ways : 2 * ways])
        theme = (parts[2 * ways] * inside).sum(0, keepdim=True) / inside.sum(0, keepdim=True).clamp_min(1)
        opened = parts[2 * ways + 1 :]
        read = [part * nn.functional.silu(gate) for part, gate in zip((*kept, theme), opened, strict=True)]
        added: Tensor = self.exit(torch.cat(read, dim=2))
        return states + added

    def in_rows(self, rows: Tensor, ids: Tensor, shares: Tensor) -> Tensor:
        """See :meth:`GatedEncoder.in_rows`. Padding may move what is remembered, as it is read after its text."""
        sizes = [self.channels, self.channels, self.means, self.channels + self.means]
        mixed = as_texts(self.entry(self.norm(rows)), ids, sum(sizes))
        gates, values, themes, opened = torch.split(mixed, sizes, dim=2)
        (kept,) = _Exported.apply(1, 1, torch.sigmoid(gates), values)
        read = torch.cat([kept, (shares @ themes).expand_as(kept)], dim=2) * nn.functional.silu(opened)
        added: Tensor = self.exit(read.reshape(-1, self.channels + self.means))
        return rows + added


@contextmanager
def in_haste(network: nn.Module) -> Iterator[None]:
    """Let a network's products be as they are in training, where that is faster; a vector changes by about 1e-3."""
    layers = [part for part in network.modules() if isinstance(part, _Layer)]
    for layer in layers:
        layer.is_hasty = True
    try:
        yield
    finally:
        for layer in layers:
            layer.is_hasty = False


def remembered(gates: Tensor, values: Tensor, directions: int) -> Tensor:
    """Run the recurrence over the first axis, from a memory of zero.

    :param gates: (t, n, c), 0 to keep what is remembered, 1 to replace it.
    :param values: (t, n, c).
    :param directions: with 2, the last half of the channels is read from the end.
    :return: (t, n, c), what is remembered after each step.
    """
    states: Tensor = _Remembered.apply(gates, values, directions)
    return states


class _Remembered(torch.autograd.Function):
    """The loop with its derivative by hand: autograd would keep three tensors a step, and takes five times as long."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, values: Tensor, directions: int) -> Tensor:
        states = torch.empty_like(values, memory_format=torch.contiguous_format)
        for part, order in _ways(gates, directions):
            z, v, h = gates[:, :, part], values[:, :, part], states[:, :, part]
            memory = torch.zeros_like(h[0])
            for step in order:
                torch.lerp(memory, v[step], z[step], out=h[step])
                memory = h[step]
        ctx.save_for_backward(gates, values, states)
        ctx.directions = directions
        return states

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor, None]:
        gates, values, states = ctx.saved_tensors
        carried = above[0].clone(memory_format=torch.contiguous_format)
        moved = values.clone(memory_format=torch.contiguous_format)
        kept = 1 - gates
        for part, order in _ways(gates, ctx.directions):
            a, g, h, m = kept[:, :, part], carried[:, :, part], states[:, :, part], moved[:, :, part]
            for later, step in zip(order[::-1], order[-2::-1], strict=False):
                g[step].addcmul_(a[later], g[later])
            # What the memory was before each step.
            if order[0] == 0:
                m[1:] -= h[:-1]
            else:
                m[:-1] -= h[1:]
        moved *= carried
        return moved, carried.mul_(gates), None


def _ways(gates: Tensor, directions: int) -> list[tuple[slice, range]]:
    """Return the channels of each direction, and the order of the steps."""
    steps, half = gates.shape[0], gates.shape[2] // directions
    return [(slice(0, half), range(steps)), (slice(half, None), range(steps - 1, -1, -1))][:directions]


def as_texts(rows: Tensor, ids: Tensor, width: int) -> Tensor:
    """Return (n * t, width) as (n, t, width) in a graph that is exported, where ``ids`` are (n, t).

    The exporter would take the shape apart and put it together again, with three operators for each number.
    """
    states: Tensor = _AsTexts.apply(rows, ids, width)
    return states


class _AsTexts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, ids: Tensor, width: int) -> Tensor:
        return rows.view(*ids.shape, width)

    @staticmethod
    def symbolic(graph: Any, rows: Any, ids: Any, width: int) -> Any:
        rest = graph.op("Constant", value_t=torch.tensor([-1]))
        made = graph.op("Reshape", rows, graph.op("Concat", graph.op("Shape", ids), rest, axis_i=0))
        made.setType(rows.type().with_sizes([None, None, width]))
        return made


class _Exported(torch.autograd.Function):
    """The exporter calls :meth:`symbolic` for the operator to write; the values of :meth:`forward` are not used."""

    @staticmethod
    def forward(ctx: Any, directions: int, axis: int, *gates_and_values: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.zeros_like(values) for values in gates_and_values[directions:])

    @staticmethod
    def symbolic(graph: Any, directions: int, axis: int, *gates_and_values: Any) -> Any:
        made = graph.op(PLACEHOLDER, *gates_and_values, outputs=directions, axis_i=axis)
        made = made if directions > 1 else (made,)
        for states, values in zip(made, gates_and_values[directions:], strict=True):
            states.setType(values.type())
        return made


def _product(inputs: Tensor, layer: nn.Linear, rounded: bool) -> Tensor:
    half = torch.bfloat16
    if rounded:
        return nn.functional.linear(inputs.to(half), layer.weight.to(half), layer.bias.to(half))
    product: Tensor = layer(inputs)
    return product


def _rounds(states: Tensor) -> bool:
    """Whether products of these are faster in bfloat16: on a GPU, and on processors with instructions for it."""
    if states.dtype != torch.float32:
        return False
    has_instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return states.is_cuda or bool(has_instructions())
