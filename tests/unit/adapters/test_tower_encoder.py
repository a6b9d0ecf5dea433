"""Towers behind SentenceTransformer's names: the tower that is meant, its parameters, its similarities."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import AxisEncoder

from hybrid_search.adapters.sentence_transformers import TowerEncoder
from hybrid_search.errors import UsageError


class Two(AxisEncoder):
    """Documents lie on the axes' other side; so it shows which tower encoded."""

    def encode_documents(self, texts: Any) -> Any:
        return -2 * super().encode_queries(texts)


def test_queries_and_documents_have_their_towers_and_encode_means_documents() -> None:
    model = TowerEncoder(Two())
    assert model.encode_query("cat").tolist() == [1, 0, 0, 0]
    assert model.encode_document(["cat", "dog"]).tolist() == [[-2, 0, 0, 0], [0, -2, 0, 0]]
    assert model.encode("dog").tolist() == [0, -2, 0, 0]
    assert model.encode(["cat"], prompt_name="query", prompt="dog ").shape == (1, 4)
    assert model.encode([]).shape == (0, 4)
    assert (model.get_embedding_dimension(), model.similarity_fn_name) == (4, "cosine")


def test_batches_do_not_change_the_rows_and_unit_length_is_asked_for() -> None:
    model, texts = TowerEncoder(Two()), ["cat", "dog", "car", "oak", "nothing"]
    np.testing.assert_array_equal(model.encode(texts, batch_size=2), model.encode(texts))
    lengths = np.linalg.norm(model.encode(texts, normalize_embeddings=True), axis=1)
    assert lengths.tolist() == [1, 1, 1, 1, 0]


def test_tensors_are_given_to_those_who_ask_for_them() -> None:
    torch = pytest.importorskip("torch")
    model = TowerEncoder(Two())
    whole = model.encode(["cat", "dog"], convert_to_tensor=True)
    assert torch.equal(whole, torch.tensor([[-2.0, 0, 0, 0], [0, -2, 0, 0]]))
    rows = model.encode(["cat", "dog"], convert_to_numpy=False)
    assert isinstance(rows, list)
    assert torch.equal(torch.stack(rows), whole)
    assert torch.equal(model.similarity(whole, rows), torch.eye(2))


@pytest.mark.parametrize(
    ("similarity", "table", "pairs"),
    [
        ("cosine", [[0.6, 1.0], [0.8, 0.0]], [0.6, 0.0]),
        ("dot", [[3.0, 2.0], [4.0, 0.0]], [3.0, 0.0]),
        # (1, 0) to (3, 4): the root of 4 + 16; to (2, 0): 1. (0, 1) to (3, 4): the root of 9 + 9; to (2, 0): of 4 + 1.
        ("l2", [[-(20**0.5), -1.0], [-(18**0.5), -(5**0.5)]], [-(20**0.5), -(5**0.5)]),
    ],
)
def test_vectors_are_compared_as_the_model_s_are(similarity: Any, table: Any, pairs: Any) -> None:
    first, second = np.array([[1, 0], [0, 1]], np.float32), np.array([[3, 4], [2, 0]], np.float32)
    model = TowerEncoder(AxisEncoder(similarity=similarity))
    np.testing.assert_allclose(model.similarity(first, second), table, rtol=1e-6)
    np.testing.assert_allclose(model.similarity_pairwise(first, second), pairs, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"precision": "int8"}, "precision is 'int8'; give 'float32'"),
        ({"device": "cuda"}, "device is 'cuda'; give None or 'cpu'"),
        ({"prompt_name": "passage"}, "prompt_name is 'passage'"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_what_towers_do_not_have_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TowerEncoder(Two()).encode("cat", **arguments)


def test_the_parameters_are_those_of_the_original_in_its_order() -> None:
    spec = importlib.util.find_spec("sentence_transformers")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the extra transformers is not installed")
    # Read, not imported, which takes seconds. The last of the definitions is the one that the others describe.
    source = Path(spec.submodule_search_locations[0], "sentence_transformer", "model.py").read_text()
    [model] = [one for one in ast.parse(source).body if isinstance(one, ast.ClassDef)]
    encode = [one for one in model.body if isinstance(one, ast.FunctionDef) and one.name == "encode"][-1]
    names = [one.arg for one in encode.args.args]
    defaults = dict(zip(reversed(names), map(ast.unparse, reversed(encode.args.defaults)), strict=False))
    ours = inspect.signature(TowerEncoder.encode).parameters
    assert [name for name in names if name in ours] == list(ours)
    assert {name: repr(one.default) for name, one in ours.items() if name in defaults} == {
        name: default for name, default in defaults.items() if name in ours
    }
