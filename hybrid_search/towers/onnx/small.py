"""Writes the products of an exported graph in whole numbers, as :mod:`hybrid_search.towers.small` stores them.

The operators are ONNX's own (QuantizeLinear, DequantizeLinear around Gemm), which ONNX Runtime runs as one product of
8-bit numbers, and other runtimes at least run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from torch import Tensor

from hybrid_search.towers.small import INPUT_STEP, STEP

__all__ = ["write_small_products"]

_BIAS, _WEIGHT = ".bias", ".weight"
_ZERO = 128
"""What stands for zero in what a layer reads, which is stored without a sign."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer in the graph.

    :ivar name: as of the tower's parameters.
    :ivar bias: (rows,), for all parts.
    :ivar reads: what it reads; several are joined along their last axis.
    :ivar results: name -> number of rows of the matrix, of each part of the result.
    :ivar flat: whether it reads one vector a text, (n, d), and not one a token, (t, n, d).
    :ivar replaces: nodes of the product of float32 numbers, and of joining and splitting.
    """

    name: str
    bias: NDArray[np.float32]
    reads: list[str]
    results: dict[str, int]
    flat: bool
    replaces: list[NodeProto]


def write_small_products(model: ModelProto, weights: Mapping[str, Tensor], prefix: str) -> None:
    """Replace every layer's product of float32 numbers, in place.

    What is split behind a layer becomes a product for each part, and what is joined before one is rounded first: a
    graph copies whatever it splits and joins.

    :param weights: as stored; names are those of the tower's parameters.
    :param prefix: of the same parameters' names in the graph.
    """
    before = list(model.graph.node)
    layers = {id(node): layer for node, layer in _layers(model, before, prefix) if _is_small(layer, weights)}
    replaced = {id(node) for layer in layers.values() for node in layer.replaces}
    nodes: list[NodeProto] = []
    for node in before:
        if id(node) in layers:
            nodes += _products(model, layers[id(node)], weights)
        elif id(node) not in replaced:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unread(model)
    onnx.checker.check_model(model)


def _is_small(layer: _Layer, weights: Mapping[str, Tensor]) -> bool:
    return layer.name + _WEIGHT + INPUT_STEP in weights


def _layers(model: ModelProto, nodes: list[NodeProto], prefix: str) -> Iterator[tuple[NodeProto, _Layer]]:
    """Yield the last node of each layer's product, and the layer."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {name: node for node in nodes for name in node.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in nodes:
        bias = next((name for name in node.input if name in constants and name.endswith(_BIAS)), "")
        if not bias or node.op_type not in ("Gemm", "Add"):
            continue
        flat = node.op_type == "Gemm"
        product = node if flat else made[next(name for name in node.input if name != bias)]
        reads, results = [product.input[0]], {node.output[0]: constants[bias].dims[0]}
        replaces = [product, node]
        joining, after = made.get(reads[0]), readers.get(node.output[0], [])
        if joining is not None and joining.op_type == "Concat" and len(readers[reads[0]]) == 1:
            reads = list(joining.input)
            replaces.append(joining)
        if len(after) == 1 and after[0].op_type == "Split":
            sizes = helper.get_node_attr_value(made[after[0].input[1]], "value")
            results = dict(zip(after[0].output, numpy_helper.to_array(sizes).tolist(), strict=True))
            replaces.append(after[0])
        values = numpy_helper.to_array(constants[bias])
        yield node, _Layer(bias.removeprefix(prefix).removesuffix(_BIAS), values, reads, results, flat, replaces)


def _products(model: ModelProto, layer: _Layer, weights: Mapping[str, Tensor]) -> Iterator[NodeProto]:
    """Yield the nodes of a layer."""
    name = layer.name + _WEIGHT
    matrix = weights[name].numpy(force=True)
    steps = weights[name + STEP].numpy(force=True).astype(np.float32)
    # A row of zeros has no step; any other than zero does, as zero times it is zero.
    steps = np.where(steps > 0, steps, np.float32(1))
    input_step = np.float32(weights[name + INPUT_STEP].item())

    def constant(part: str, value: NDArray[np.generic] | np.generic) -> str:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"{layer.name}.{part}"))
        return f"{layer.name}.{part}"

    scale, zero = constant("input_step", input_step), constant("input_zero", np.uint8(_ZERO))
    yield from _rounded(layer, scale, zero, constant("flat", np.array([-1, matrix.shape[1]], np.int64)))
    yield helper.make_node("DequantizeLinear", [f"{layer.name}.whole", scale, zero], [f"{layer.name}.read"])
    if not layer.flat:
        yield helper.make_node("Shape", [layer.reads[0]], [f"{layer.name}.outer"], start=0, end=2)
    start = 0
    for number, (result, rows) in enumerate(layer.results.items()):
        part, end = f"{layer.name}.{number}", start + rows
        columns = [
            constant(f"{number}.matrix", matrix[start:end]),
            constant(f"{number}.step", steps[start:end]),
            constant(f"{number}.matrix_zero", np.zeros(rows, dtype=np.int8)),
        ]
        yield helper.make_node("DequantizeLinear", columns, [f"{part}.columns"], axis=0)
        bias_steps = (steps[start:end] * input_step).astype(np.float32)
        added = [
            constant(f"{number}.whole_bias", np.rint(layer.bias[start:end] / bias_steps).astype(np.int32)),
            constant(f"{number}.bias_step", bias_steps),
            constant(f"{number}.bias_zero", np.zeros(rows, dtype=np.int32)),
        ]
        yield helper.make_node("DequantizeLinear", added, [f"{part}.added"], axis=0)
        product = result if layer.flat else f"{part}.product"
        yield helper.make_node("Gemm", [f"{layer.name}.read", f"{part}.columns", f"{part}.added"], [product], transB=1)
        if not layer.flat:
            width = constant(f"{number}.width", np.array([rows], np.int64))
            yield helper.make_node("Concat", [f"{layer.name}.outer", width], [f"{part}.shape"], axis=0)
            yield helper.make_node("Reshape", [product, f"{part}.shape"], [result])
        start = end


def _rounded(layer: _Layer, scale: str, zero: str, flat: str) -> Iterator[NodeProto]:
    """Yield the nodes that make rows of 8-bit numbers of what a layer reads."""
    whole = f"{layer.name}.whole"
    if layer.flat:
        yield helper.make_node("QuantizeLinear", [layer.reads[0], scale, zero], [whole])
        return
    parts = [f"{layer.name}.whole.{number}" for number in range(len(layer.reads))]
    for read, part in zip(layer.reads, parts, strict=True):
        yield helper.make_node("QuantizeLinear", [read, scale, zero], [part])
    joined = parts[0]
    if len(parts) > 1:
        joined = f"{layer.name}.joined"
        yield helper.make_node("Concat", parts, [joined], axis=2)
    yield helper.make_node("Reshape", [joined, flat], [whole])


def _drop_unread(model: ModelProto) -> None:
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
