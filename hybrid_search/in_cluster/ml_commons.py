"""Models of ml-commons: groups, registration by chunks, deployment, prediction, removal, and waiting for its tasks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.opensearch.transport import Client, Request, shortened
from hybrid_search.errors import IndexNotFound, SearchIndexError
from hybrid_search.protocols import Task

if TYPE_CHECKING:
    from hybrid_search.towers.onnx.packed import PackedTower

__all__ = [
    "CHUNK",
    "PATIENCE",
    "Model",
    "await_task",
    "delete_group",
    "delete_model",
    "explained",
    "find_group",
    "find_models",
    "load_model",
    "make_group",
    "predict",
    "register_remote",
    "register_tower",
]


PATIENCE = 300.0
"""Seconds to wait for a task."""

_PAUSE = 0.2
_UNDER_WAY = frozenset({"CREATED", "RUNNING"})

# Pattern in a message of ml-commons -> advice; the first that matches is used.
_ADVICE = (
    (
        "memory circuit breaker",
        "ml-commons takes no model while memory is short: free some, deploy on nodes of their own (role ml), or raise "
        "plugins.ml_commons.jvm_heap_memory_threshold (of the heap) or native_memory_threshold (of the machine's "
        "memory, where the version looks at it), in per cent; 100 switches that check off",
    ),
    (
        "disk circuit breaker",
        "ml-commons wants free disk space: free some, or lower plugins.ml_commons.disk_free_space_threshold",
    ),
    ("model content changed", "the bytes that arrived are not those that were announced (SHA-256): deploy again"),
    ("no eligible node", "no node may run models: start one with the role ml, or deploy with allow_settings=True"),
    (
        "exceed max (local )?model|maximum number of models",
        "each node runs plugins.ml_commons.max_model_on_node models: undeploy others, or raise it",
    ),
    (
        "publish.djl.ai|pytorch",
        "the node can't load PyTorch's libraries: give it the network, or PYTORCH_LIBRARY_PATH",
    ),
)


def await_task(client: Client, task: str, what: str, *, patience: float = PATIENCE) -> None:
    """Wait until a task is completed.

    :param what: what the task does, for the message.
    :param patience: seconds.
    :raises SearchIndexError: if it failed, or takes longer.
    """
    until = time.monotonic() + patience
    while (state := _state(answer := client.call("GET", f"/_plugins/_ml/tasks/{task}"))) in _UNDER_WAY:
        if time.monotonic() > until:
            raise SearchIndexError(
                f"{what} was not done within {patience:.0f} s (task {task}, {state.lower()}); look at the server's "
                f"load and at GET /_plugins/_ml/tasks/{task}, and deploy again"
            )
        time.sleep(_PAUSE)
    if state != "COMPLETED":
        raise SearchIndexError(f"{what} failed: {explained(_reason(answer))}")


def explained(reason: str) -> str:
    """Return a message of ml-commons, shortened, with advice if there is any."""
    message = shortened(reason)
    advice = next((text for pattern, text in _ADVICE if re.search(pattern, reason, re.IGNORECASE)), "")
    return f"{message}; {advice}" if advice else message


def _state(task: Mapping[str, Any]) -> str:
    return str(task.get("state", "FAILED"))


def _reason(task: Mapping[str, Any]) -> str:
    """Return the first node's error: the server sends a string with a JSON object of errors by node."""
    error = str(task.get("error", "the server gives no reason"))
    try:
        by_node = msgspec.json.decode(error, type=dict[str, str])
    except (msgspec.MsgspecError, RecursionError):
        return error
    return next(iter(by_node.values()), error)


_ML = "/_plugins/_ml"

CHUNK = 10_000_000
"""Bytes of a chunk; ml-commons accepts no other size."""

_NOT_FOUND = HTTPStatus.NOT_FOUND.value
_AT_ONCE = 32
_GROUP_PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Model:
    """A model on the server.

    :ivar state: ``DEPLOYED`` if it answers; ``REGISTERED`` or ``UNDEPLOYED`` if it can be loaded; otherwise it may be
        incomplete.
    :ivar sha256: of the zip; empty for a remote model.
    :ivar connector: id of a remote model's connector; empty for a local one.
    """

    id: str
    name: str
    state: str
    sha256: str = ""
    connector: str = ""


def find_group(client: Client, name: str) -> str | None:
    """Return the id of a model group, or None."""
    hits = _search(client, "model_groups", {"term": {"name.keyword": name}}, [])
    return next((str(hit["_id"]) for hit in hits), None)


def make_group(client: Client, name: str, description: str) -> str:
    """Create a model group and return its id."""
    made = client.call("POST", f"{_ML}/model_groups/_register", {"name": name, "description": description})
    return str(made["model_group_id"])


def delete_group(client: Client, id: str) -> None:
    """Delete an empty model group; does nothing if it does not exist.

    :raises SearchIndexError: if it contains models.
    """
    until = time.monotonic() + _GROUP_PATIENCE
    while True:
        try:
            client.call("DELETE", f"{_ML}/model_groups/{id}", ignore=_NOT_FOUND)
            return
        except SearchIndexError as error:
            # The chunks of a deleted model are removed a moment after it.
            if error.status != HTTPStatus.CONFLICT or time.monotonic() > until:
                raise
        time.sleep(0.2)


def find_models(client: Client, group: str) -> list[Model]:
    """Return the models of a group."""
    fields = ["name", "model_state", "model_content_hash_value", "connector_id"]
    # Chunks of models are found too; they have no state.
    filters = [{"term": {"model_group_id": group}}, {"exists": {"field": "model_state"}}]
    hits = _search(client, "models", {"bool": {"filter": filters}}, fields)
    return [_model(str(hit["_id"]), hit["_source"]) for hit in hits]


def register_tower(
    client: Client,
    name: str,
    group: str,
    tower: PackedTower,
    task: Task,
    announced: Callable[[str], object] = lambda id: None,
) -> str:
    """Register a tower and upload it in chunks; returns the model's id.

    :param task: advanced by the bytes of each chunk.
    :param announced: called with the model's id as soon as it is known, so that the model can be deleted if the upload
        fails.
    :raises SearchIndexError: if the server refuses.
    """
    chunks = [tower.archive[start : start + CHUNK] for start in range(0, len(tower.archive), CHUNK)]
    body = {
        "name": name,
        "version": tower.fingerprint,
        "description": f"hybrid-search: the {tower.name} tower of model {tower.fingerprint}",
        "model_group_id": group,
        "function_name": "TEXT_EMBEDDING",
        "model_format": "ONNX",
        "model_content_size_in_bytes": len(tower.archive),
        "model_content_hash_value": tower.sha256,
        "total_chunks": len(chunks),
        "model_config": {
            "model_type": "rnn",  # not bert, for which token_type_ids would be added to the inputs
            "embedding_dimension": tower.dimension,
            "framework_type": "sentence_transformers",
            "pooling_mode": "NONE",  # the tower pools and normalises itself
            "normalize_result": False,
            "all_config": msgspec.json.encode({"fingerprint": tower.fingerprint}).decode(),
        },
    }
    id = str(_asked(client, "POST", "models/_register_meta", body, f"registering {name}")["model_id"])
    announced(id)
    for number, chunk in enumerate(chunks):
        client.send(Request("POST", f"{_ML}/models/{id}/upload_chunk/{number}", chunk))
        task.advance(len(chunk))
    return id


def register_remote(client: Client, name: str, group: str, connector: str, description: str) -> str:
    """Register a remote model, served by a connector; returns its id."""
    body = {
        "name": name,
        "description": description,
        "model_group_id": group,
        "function_name": "remote",
        "connector_id": connector,
    }
    answer = _asked(client, "POST", "models/_register", body, f"registering {name}")
    await_task(client, answer["task_id"], f"registering {name}")
    task = client.call("GET", f"{_ML}/tasks/{answer['task_id']}")
    return str(answer.get("model_id") or task["model_id"])


def load_model(client: Client, id: str, name: str) -> None:
    """Load a model on the nodes, and wait until it is loaded.

    :raises SearchIndexError: if they can't, with advice if there is any.
    """
    answer = _asked(client, "POST", f"models/{id}/_deploy", None, f"deploying {name}")
    await_task(client, answer["task_id"], f"deploying {name}")


def predict(client: Client, model: Model | str, texts: Sequence[str], *, remote: bool = False) -> NDArray[np.float32]:
    """Encode n texts with a model; returns (n, dimension) float32.

    :param remote: whether it is a remote model.
    :raises SearchIndexError: if it fails.
    """
    id = model.id if isinstance(model, Model) else model
    path = f"models/{id}/_predict" if remote else f"_predict/text_embedding/{id}"
    rows: list[Any] = []
    for start in range(0, len(texts), _AT_ONCE):
        page = list(texts[start : start + _AT_ONCE])
        body: dict[str, Any] = (
            {"parameters": {"input": page}}
            if remote
            else {"text_docs": page, "return_number": True, "target_response": ["sentence_embedding"]}
        )
        answer = _asked(client, "POST", path, body, f"encoding with model {id}")
        rows += _vectors(answer)
    return np.array(rows, dtype=np.float32)


def delete_model(client: Client, id: str) -> None:
    """Unload a model from the nodes and delete it; does nothing if it does not exist."""
    try:
        model = client.call("GET", f"{_ML}/models/{id}")
    except SearchIndexError as error:
        if error.status == _NOT_FOUND:
            return
        raise
    if model.get("model_state") not in ("REGISTERED", "UNDEPLOYED"):
        client.call("POST", f"{_ML}/models/{id}/_undeploy")
    client.call("DELETE", f"{_ML}/models/{id}", ignore=_NOT_FOUND)


def _vectors(answer: Mapping[str, Any]) -> list[Any]:
    """Return the vectors: a local model returns a result for each text, a remote one a single result with all."""
    return [tensor["data"] for result in answer["inference_results"] for tensor in result["output"]]


def _asked(client: Client, method: str, path: str, body: Mapping[str, Any] | None, what: str) -> Any:
    try:
        return client.call(method, f"{_ML}/{path}", body)
    except SearchIndexError as error:
        raise type(error)(f"{what}: {explained(str(error))}", status=error.status) from error


def _search(client: Client, kind: str, query: Mapping[str, Any], fields: list[str]) -> list[Any]:
    body = {"query": query, "size": 1_000, "_source": fields}
    try:
        found: list[Any] = client.call("POST", f"{_ML}/{kind}/_search", body)["hits"]["hits"]
    except IndexNotFound:  # nothing was ever registered
        return []
    return found


def _model(id: str, source: Mapping[str, Any]) -> Model:
    return Model(
        id=id,
        name=str(source.get("name", "")),
        state=str(source.get("model_state", "")),
        sha256=str(source.get("model_content_hash_value", "")),
        connector=str(source.get("connector_id", "")),
    )
