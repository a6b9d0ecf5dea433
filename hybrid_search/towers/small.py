"""Towers in 8-bit numbers: a fourth of the size, and products of integers, about three times as fast on a CPU.

A row of a table of word vectors, and a row of a layer's matrix, is whole numbers times a step of its own. What a layer
reads is rounded too, to whole numbers times a step that is fixed when a model is saved: from a sample of its texts, so
that a text's vector depends neither on the texts beside it nor on the machine (integer sums are exact). Matrices use
7 of the 8 bits, as processors without VNNI add up two products in 16 bits. Both are measured when a model is saved
(:func:`~hybrid_search.towers.onnx.export.check_small`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hybrid_search.towers.networks.two_tower import Tower, TwoTower
from hybrid_search.towers.padding import pad_ids

__all__ = ["INPUT_STEP", "STEP", "Sample", "full_weights", "make_small"]

STEP, INPUT_STEP = ".step", ".input_step"
"""Ends of the names of a matrix's (rows,) steps, and of the step of what it is multiplied with."""

_MOST_OF_TABLE, _MOST_OF_MATRIX, _MOST_OF_INPUT = 127, 63, 127
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids of some texts such as the towers will read, each (t,) int32.

    :ivar queries: may be empty; then documents stand in for them.
    """

    queries: Sequence[NDArray[np.int32]]
    documents: Sequence[NDArray[np.int32]]


def make_small(towers: TwoTower, sample: Sample) -> dict[str, Tensor]:
    """Round the towers' tables and matrices in place, and return all weights as they are stored.

    :return: by the parameters' names: matrices int8 of the same shape, with ``.step`` (rows,) and, if they multiply,
        ``.input_step`` () float32; vectors float32 as they were.
    """
    tables = {id(table) for table in towers.embedding_parameters()}
    # What reads a shift has a wider range of values than 8 bits hold, and multiplies once a text only.
    whole_precision = {name for name, _ in towers.named_parameters() if towers.config.adapted and ".head." in name}
    stored: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, weight in towers.named_parameters():
            if weight.ndim != 2 or name in whole_precision:
                stored[name] = weight.detach().clone()
                continue
            most = _MOST_OF_TABLE if id(weight) in tables else _MOST_OF_MATRIX
            step = weight.abs().amax(1) / most
            whole = torch.round(weight / torch.where(step > 0, step, 1)[:, None])
            stored |= {name: whole.to(torch.int8), name + STEP: step}
            weight.copy_(whole * step[:, None])
    # Tied towers are one, whose parameters have the query tower's names; its documents are longer than its queries.
    is_one = towers.query_tower is towers.document_tower
    sides = {"query_tower": (towers.query_tower, sample.documents if is_one else sample.queries or sample.documents)}
    if not is_one:
        sides["document_tower"] = (towers.document_tower, sample.documents)
    for prefix, (tower, texts) in sides.items():
        steps = _input_steps(tower, texts)
        names = {f"{prefix}.{name}.weight": step for name, step in steps.items()}
        stored |= {f"{n}{INPUT_STEP}": torch.tensor(step) for n, step in names.items() if n not in whole_precision}
    return stored


def full_weights(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return stored weights, small or not, as the float32 parameters that they stand for."""
    found = {}
    for name, weight in stored.items():
        if name.endswith((STEP, INPUT_STEP)):
            continue
        step = stored.get(name + STEP)
        found[name] = weight.float() if step is None else weight.float() * step[:, None]
    return found


def _input_steps(tower: Tower, texts: Sequence[NDArray[np.int32]]) -> dict[str, float]:
    """Return the step of what each layer reads, by the layer's name."""
    read: dict[str, list[Tensor]] = {}
    layers = {name: layer for name, layer in tower.named_modules() if isinstance(layer, nn.Linear)}

    def note(name: str) -> object:
        return lambda _, inputs: read.setdefault(name, []).append(inputs[0].reshape(-1))

    was_training = tower.training
    tower.eval()
    hooks = [layer.register_forward_pre_hook(note(name)) for name, layer in layers.items()]  # type: ignore[arg-type]
    try:
        with torch.inference_mode():
            for text in texts:  # alone, so that no padding is among what they read
                if len(text):
                    tower(torch.from_numpy(pad_ids([text])))
    finally:
        for hook in hooks:
            hook.remove()
        tower.train(was_training)
    return {name: _best_step(torch.cat(read[name])) if name in read else 1.0 for name in layers}


def _best_step(values: Tensor) -> float:
    """Return the step with the least squared error: a few outliers cut off cost less than coarse steps for the rest."""
    largest = float(values.abs().max()) or 1.0
    steps = [share * largest / _MOST_OF_INPUT for share in _SHARES]

    def error(step: float) -> float:
        rounded = (values / step).round().clamp(-_MOST_OF_INPUT, _MOST_OF_INPUT) * step
        return float((rounded - values).square().mean())

    return min(steps, key=error)
