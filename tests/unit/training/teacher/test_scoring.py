"""A teacher's vectors as scores: which pairs get one, and which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from hybrid_search.training.teacher.scores import scores_of
from hybrid_search.types import Document, Example, Query

VECTORS = {"ask": (1.0, 0.0), "answer": (0.6, 0.8), "near": (0.8, 0.6), "far": (0.0, 1.0)}
DOCUMENTS = {name: Document(name, name) for name in ("answer", "near", "far", "unknown")}


def vectors_of(texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    known = np.array([text in VECTORS for text in texts])
    return np.array([VECTORS.get(text, (0.0, 0.0)) for text in texts], dtype=np.float32), known


def get(ids: Sequence[str]) -> list[Document | None]:
    return [DOCUMENTS.get(i) for i in ids]


def test_answers_and_candidates_get_their_cosine_over_the_temperature() -> None:
    examples = [Example(Query("q", "ask"), DOCUMENTS["answer"])]
    scores = scores_of(vectors_of, examples, {"q": ["near", "far"]}, get, temperature=0.1)
    assert scores == {"q": pytest.approx({"answer": 6.0, "near": 8.0, "far": 0.0}, abs=1e-6)}


def test_what_the_teacher_does_not_know_gets_no_score() -> None:
    examples = [Example(Query("q", "ask"), DOCUMENTS["answer"]), Example(Query("p", "who?"), DOCUMENTS["answer"])]
    scores = scores_of(vectors_of, examples, {"q": ["unknown", "gone"], "p": ["near"]}, get, temperature=1.0)
    assert scores == {"q": pytest.approx({"answer": 0.6}), "p": {}}
