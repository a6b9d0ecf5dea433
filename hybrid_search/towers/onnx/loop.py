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
    start = ""
    for node in model.graph.node:
        if node.domain == _DOMAIN and node.op_type == _NAME:
            if not start:
                start = f"{node.output[0]}.start"
                nodes += _start(node, start)
            nodes += _loop(node, start)
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    kept = [opset for opset in model.opset_import if opset.domain != _DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.checker.check_model(model)


def _start(node: NodeProto, start: str) -> Iterator[NodeProto]:
    """Yield the nodes for a memory of zero, (n, c), which every layer of a network can start from."""
    first = helper.get_node_attr_value(node, "axis")
    yield helper.make_node("Constant", [], [f"{start}.0"], value_int=0)
    yield helper.make_node("Constant", [], [f"{start}.none"], value_float=0.0)
    yield helper.make_node("Gather", [node.input[0], f"{start}.0"], [f"{start}.row"], axis=first)
    yield helper.make_node("Mul", [f"{start}.row", f"{start}.none"], [start])


def _loop(node: NodeProto, start: str) -> Iterator[NodeProto]:
    """Yield the nodes for one placeholder; the directions are parts of the same loop, each with its order of steps."""
    name, states = node.output[0], list(node.output)
    ways = [_FORWARDS, _BACKWARDS][: len(states)]
    axis = helper.get_node_attr_value(node, "axis")
    gates, values = node.input[: len(ways)], node.input[len(ways) :]
    parts = {part: [f"{name}.{part}.{way}" for way in ways] for part in ("kept", "value", "last", "left")}
    # h + z (v - h) = (1 - z) h + z v: for all steps at once as far as h is not in it, as every node of a loop costs.
    yield helper.make_node("Constant", [], [f"{name}.all"], value_float=1.0)
    for gate, given, kept, value in zip(gates, values, parts["kept"], parts["value"], strict=True):
        yield helper.make_node("Sub", [f"{name}.all", gate], [kept])
        yield helper.make_node("Mul", [gate, given], [value])
    yield helper.make_node(
        "Scan",
        [*[start] * len(ways), *(parts[part][way] for way in ways for part in ("kept", "value"))],
        [*parts["last"], *parts["left"]],
        body=_body(len(ways)),
        num_scan_inputs=2 * len(ways),
        scan_input_directions=[way for way in ways for _ in range(2)],
        scan_output_directions=ways,
        scan_input_axes=[axis] * 2 * len(ways),
        scan_output_axes=[axis] * len(ways),
    )
    for left, value, state in zip(parts["left"], parts["value"], states, strict=True):
        yield helper.make_node("Add", [left, value], [state])


def _body(directions: int) -> GraphProto:
    """Return one step of all directions: memory, share kept, value, all (n, c) -> memory, what it kept of the last.

    The new memory can't be an output of the loop too without being copied; with all values added at once, it is none.
    """
    nodes, memories, inputs, after, outputs = [], [], [], [], []
    for way in range(directions):
        memory, kept, value, new, left = (f"{part}.{way}" for part in ("memory", "kept", "value", "new", "left"))
        nodes += [helper.make_node("Mul", [kept, memory], [left]), helper.make_node("Add", [left, value], [new])]
        memories.append(_tensor(memory))
        inputs += [_tensor(kept), _tensor(value)]
        after.append(_tensor(new))
        outputs.append(_tensor(left))
    return helper.make_graph(nodes, "step", [*memories, *inputs], [*after, *outputs])


def _tensor(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None])
