"""Writes the products of an exported graph in whole numbers, as :mod:`hybrid_search.towers.small` stores them.

The operators are ONNX's own (QuantizeLinear, DequantizeLinear around Gemm), which ONNX Runtime runs as one product of
8-bit numbers, and other runtimes at least run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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


def write_small_products(model: ModelProto, weights: Mapping[str, Tensor], prefix: str) -> None:
    """Replace every layer's product of float32 numbers, in place.

    :param weights: as stored; names are those of the tower's parameters.
    :param prefix: of the same parameters' names in the graph.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}
    nodes: list[NodeProto] = []
    replaced: set[str] = set()
    for node in model.graph.node:
        bias = next((name for name in node.input if name in constants and name.endswith(_BIAS)), "")
        layer = bias.removeprefix(prefix).removesuffix(_BIAS)
        if not bias or layer + _WEIGHT + INPUT_STEP not in weights:
            nodes.append(node)
            continue
        if node.op_type == "Gemm":
            read = node.input[0]
        else:  # the product of a batch of texts: MatMul, then Add
            product = made[next(name for name in node.input if name != bias)]
            read = product.input[0]
            replaced.update(product.output)
        values = numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == bias))
        nodes += _product(model, layer, read, node.output[0], values, weights, flat=node.op_type == "Gemm")
    kept = [node for node in nodes if not replaced.intersection(node.output)]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    _drop_unread(model)
    onnx.checker.check_model(model)


def _product(
    model: ModelProto,
    layer: str,
    read: str,
    result: str,
    bias: NDArray[np.float32],
    weights: Mapping[str, Tensor],
    *,
    flat: bool,
) -> Iterator[NodeProto]:
    """Yield the nodes of a layer."""
    name = layer + _WEIGHT
    matrix = weights[name].numpy(force=True)
    steps = weights[name + STEP].numpy(force=True).astype(np.float32)
    # A row of zeros has no step; any other than zero does, as zero times it is zero.
    steps = np.where(steps > 0, steps, np.float32(1))
    input_step = np.float32(weights[name + INPUT_STEP].item())
    rows, columns = matrix.shape

    def constant(part: str, value: NDArray[np.generic] | np.generic) -> str:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"{layer}.{part}"))
        return f"{layer}.{part}"

    scale, zero = constant("input_step", input_step), constant("input_zero", np.uint8(_ZERO))
    inputs = read
    if not flat:
        inputs = f"{layer}.rows"
        yield helper.make_node("Reshape", [read, constant("flat", np.array([-1, columns], np.int64))], [inputs])
    yield helper.make_node("QuantizeLinear", [inputs, scale, zero], [f"{layer}.whole"])
    yield helper.make_node("DequantizeLinear", [f"{layer}.whole", scale, zero], [f"{layer}.read"])
    matrix_of = [
        constant("matrix", matrix),
        constant("step", steps),
        constant("matrix_zero", np.zeros(rows, dtype=np.int8)),
    ]
    yield helper.make_node("DequantizeLinear", matrix_of, [f"{layer}.columns"], axis=0)
    bias_of = [
        constant("whole_bias", np.rint(bias / (steps * input_step)).astype(np.int32)),
        constant("bias_step", (steps * input_step).astype(np.float32)),
        constant("bias_zero", np.zeros(rows, dtype=np.int32)),
    ]
    yield helper.make_node("DequantizeLinear", bias_of, [f"{layer}.added"], axis=0)
    product = result if flat else f"{layer}.product"
    yield helper.make_node("Gemm", [f"{layer}.read", f"{layer}.columns", f"{layer}.added"], [product], transB=1)
    if not flat:
        yield helper.make_node("Shape", [read], [f"{layer}.outer"], start=0, end=2)
        yield helper.make_node(
            "Concat", [f"{layer}.outer", constant("width", np.array([rows], np.int64))], [f"{layer}.shape"], axis=0
        )
        yield helper.make_node("Reshape", [product, f"{layer}.shape"], [result])


def _drop_unread(model: ModelProto) -> None:
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
