"""The graphs that :mod:`benchmarks.gate_table` times: edits of an exported tower with one bidirectional GRU layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["looked_up", "one_number"]

TABLE = "tower.embedding.table"


def one_number(exported: ModelProto) -> ModelProto:
    """Let the GRU read the first number of each word's vector alone; what comes out is of no account."""
    graph = _copy(exported)
    gru = _gru(graph)
    cut = helper.make_node("Slice", [gru.input[0], *_range(graph, "first", 0, 1, axis=2)], ["first_number"])
    weights = _value(graph, gru.input[1])
    gru.input[0], gru.input[1] = "first_number", _constant(graph, "first_weights", weights[:, :, :1].copy())
    graph.graph.node.insert(list(graph.graph.node).index(gru), cut)
    return graph


def looked_up(exported: ModelProto) -> ModelProto:
    """Replace the GRU by a table of its products (float16) and a Scan in each direction."""
    graph = _copy(exported)
    gru = _gru(graph)
    inputs, recurrent, biases = (_value(graph, name) for name in gru.input[1:4])
    directions, width = inputs.shape[:2]
    vectors = _value(graph, TABLE).astype(np.float32)
    ids = next(node.input[1] for node in graph.graph.node if TABLE in node.input)
    nodes = [
        helper.make_node("Transpose", [ids], ["steps"], perm=[1, 0]),
        helper.make_node("Unsqueeze", ["steps", _constant(graph, "last", np.array([2]))], ["columns"]),
        helper.make_node("Cast", ["columns"], ["known"], to=TensorProto.BOOL),
        helper.make_node("Cast", ["known"], ["present"], to=TensorProto.FLOAT),  # (t, n, 1), zero on padding
    ]
    for way in range(directions):
        products = (vectors @ inputs[way].T + biases[way, :width]).astype(np.float16)
        body = _step(graph, way, recurrent[way], biases[way, width:])
        nodes += _one_way(graph, way, products, body)
    nodes.append(helper.make_node("Concat", [f"way_{way}" for way in range(directions)], [gru.output[0]], axis=1))
    place = list(graph.graph.node).index(gru)
    graph.graph.node.remove(gru)
    for node in reversed(nodes):
        graph.graph.node.insert(place, node)
    return graph


def _one_way(graph: ModelProto, way: int, products: NDArray[np.float16], body: GraphProto) -> list[NodeProto]:
    """Look the products up and step through them, forwards (0) or backwards (1); the first state is zero."""
    hidden = products.shape[1] // 3
    scanned = [f"gates_{way}", "present"]
    return [
        helper.make_node("Gather", [_constant(graph, f"table_{way}", products), "steps"], [f"halves_{way}"]),
        helper.make_node("Cast", [f"halves_{way}"], [f"gates_{way}"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [f"gates_{way}", _constant(graph, f"zero_{way}", np.array(0))], [f"one_{way}"]),
        helper.make_node("Slice", [f"one_{way}", *_range(graph, f"part_{way}", 0, hidden, axis=1)], [f"part_{way}"]),
        helper.make_node("Sub", [f"part_{way}", f"part_{way}"], [f"start_{way}"]),
        helper.make_node(
            "Scan", [f"start_{way}", *scanned], [f"end_{way}", f"states_{way}"],
            num_scan_inputs=2, scan_input_directions=[way, way], scan_output_directions=[way], body=body,
        ),
        helper.make_node("Unsqueeze", [f"states_{way}", _constant(graph, f"at_{way}", np.array([1]))], [f"way_{way}"]),
    ]  # fmt: skip


def _step(graph: ModelProto, way: int, recurrent: NDArray[np.float32], bias: NDArray[np.float32]) -> GraphProto:
    """Build one step: the state (n, hidden) and a row of products (n, 3 * hidden: z, r, candidate) to the next one."""
    hidden = recurrent.shape[1]
    weights = _constant(graph, f"recurrent_{way}", recurrent.T.copy())
    own = _constant(graph, f"bias_{way}", bias)
    thirds = _constant(graph, f"thirds_{way}", np.array([2 * hidden, hidden]))
    nodes = [
        helper.make_node("Gemm", ["state", weights, own], ["own"]),
        helper.make_node("Split", ["own", thirds], ["own_gates", "own_candidate"], axis=1),
        helper.make_node("Split", ["gates", thirds], ["given_gates", "given_candidate"], axis=1),
        helper.make_node("Add", ["own_gates", "given_gates"], ["sums"]),
        helper.make_node("Sigmoid", ["sums"], ["both"]),
        helper.make_node("Split", ["both"], ["update", "reset"], axis=1),
        helper.make_node("Mul", ["reset", "own_candidate"], ["remembered"]),
        helper.make_node("Add", ["remembered", "given_candidate"], ["proposal"]),
        helper.make_node("Tanh", ["proposal"], ["candidate"]),
        helper.make_node("Sub", ["state", "candidate"], ["kept"]),
        helper.make_node("Mul", ["update", "kept"], ["share"]),
        helper.make_node("Add", ["candidate", "share"], ["moved"]),
        helper.make_node("Mul", ["moved", "present"], ["next"]),
        helper.make_node("Identity", ["next"], ["out"]),
    ]
    names = ("state", "gates", "present", "next", "out")
    state, gates, present, following, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    return helper.make_graph(nodes, f"step_{way}", [state, gates, present], [following, out])


def _copy(graph: ModelProto) -> ModelProto:
    made = ModelProto()
    made.CopyFrom(graph)
    return made


def _gru(graph: ModelProto) -> NodeProto:
    return next(node for node in graph.graph.node if node.op_type == "GRU")


def _value(graph: ModelProto, name: str) -> Any:
    """Return a weight by its name, wherever the exporter put it."""
    for tensor in graph.graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    constant = next(node for node in graph.graph.node if node.output[0] == name)
    return numpy_helper.to_array(constant.attribute[0].t)


def _constant(graph: ModelProto, name: str, value: NDArray[Any]) -> str:
    graph.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _range(graph: ModelProto, name: str, first: int, last: int, *, axis: int) -> list[str]:
    return [_constant(graph, f"{name}_{number}", np.array([value])) for number, value in enumerate((first, last, axis))]
