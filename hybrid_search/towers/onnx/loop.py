"""Writes the loop over time of ``networks.gated`` into an exported graph, as ONNX's operator ``Scan``.

PyTorch's exporter can't write loops whose length is that of a text; it writes a placeholder, which is replaced here.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from hybrid_search.towers.networks.gated import PLACEHOLDER

__all__ = ["write_loops"]

_DOMAIN, _, _NAME = PLACEHOLDER.partition("::")
_FORWARDS, _BACKWARDS = 0, 1


def write_loops(model: ModelProto) -> None:
    """Replace every placeholder of a graph, in place."""
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.domain == _DOMAIN and node.op_type == _NAME:
            nodes += _loop(node)
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    kept = [opset for opset in model.opset_import if opset.domain != _DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.checker.check_model(model)


def _loop(node: NodeProto) -> Iterator[NodeProto]:
    """Yield the nodes for one placeholder; the directions are parts of the same loop, each with its order of steps."""
    name, states = node.output[0], list(node.output)
    ways = [_FORWARDS, _BACKWARDS][: len(states)]
    gates, values = node.input[: len(ways)], node.input[len(ways) :]
    parts = {part: [f"{name}.{part}.{way}" for way in ways] for part in ("kept", "value", "first", "last")}
    # h + z (v - h) = (1 - z) h + z v: for all steps at once as far as h is not in it, as every node of a loop costs.
    yield helper.make_node("Constant", [], [f"{name}.all"], value_float=1.0)
    yield helper.make_node("Constant", [], [f"{name}.none"], value_float=0.0)
    yield helper.make_node("Constant", [], [f"{name}.0"], value_int=0)
    for gate, given, kept, value, first in zip(
        gates, values, parts["kept"], parts["value"], parts["first"], strict=True
    ):
        yield helper.make_node("Sub", [f"{name}.all", gate], [kept])
        yield helper.make_node("Mul", [gate, given], [value])
        yield helper.make_node("Gather", [value, f"{name}.0"], [f"{first}.row"], axis=0)
        yield helper.make_node("Mul", [f"{first}.row", f"{name}.none"], [first])
    yield helper.make_node(
        "Scan",
        [*parts["first"], *(parts[part][way] for way in ways for part in ("kept", "value"))],
        [*parts["last"], *states],
        body=_body(len(ways)),
        num_scan_inputs=2 * len(ways),
        scan_input_directions=[way for way in ways for _ in range(2)],
        scan_output_directions=ways,
    )


def _body(directions: int) -> GraphProto:
    """Return one step of all directions: memory, share kept of it, value, all (n, c) -> memory, once more as output."""
    nodes, memories, inputs, after, outputs = [], [], [], [], []
    for way in range(directions):
        memory, kept, value, new, out = (f"{part}.{way}" for part in ("memory", "kept", "value", "new", "out"))
        nodes += [
            helper.make_node("Mul", [kept, memory], [f"left.{way}"]),
            helper.make_node("Add", [f"left.{way}", value], [new]),
            helper.make_node("Identity", [new], [out]),
        ]
        memories.append(_tensor(memory))
        inputs += [_tensor(kept), _tensor(value)]
        after.append(_tensor(new))
        outputs.append(_tensor(out))
    return helper.make_graph(nodes, "step", [*memories, *inputs], [*after, *outputs])


def _tensor(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None])
