"""False negatives told by a teacher: a mined document that it finds as near to the query as a known answer. Layer 3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Case", "Judge", "TeacherJudge"]

VectorsOf = Callable[[Sequence[str]], tuple[NDArray[np.float32], NDArray[np.bool_]]]
"""Looks vectors (n, d) of unit length up by text, and tells which texts have one; a vector store's ``get`` fits."""


@dataclass(frozen=True, slots=True)
class Case:
    """A query, its known answers, and the documents mined for it, as texts."""

    query: str
    answers: Sequence[str]
    candidates: Sequence[str]


Judge = Callable[[Sequence[Case]], Sequence[Sequence[bool]]]
"""Tells for each case which of its candidates are false negatives."""


class TeacherJudge:
    """Takes a candidate for a false negative if its cosine is at least a share of the best answer's.

    The rule is "percentage of the positive's score" of Moreira et al. 2024 (NV-Retriever), with the teacher in place of
    the model that mines. A case whose query or answers the teacher has no vector of, or whose best answer it finds
    unlike the query (cosine 0 or below), is left as it is, and so is a candidate without a vector.
    """

    def __init__(self, vectors_of: VectorsOf, share: float) -> None:
        self._vectors_of = vectors_of
        self._share = share

    def __call__(self, cases: Sequence[Case]) -> list[list[bool]]:
        """Judge the cases of a batch with one look into the store."""
        texts = dict.fromkeys(t for case in cases for t in (case.query, *case.answers, *case.candidates))
        rows = {text: row for row, text in enumerate(texts)}
        vectors, known = self._vectors_of(list(texts))
        return [self._judged(case, rows, vectors, known) for case in cases]

    def _judged(
        self, case: Case, rows: dict[str, int], vectors: NDArray[np.float32], known: NDArray[np.bool_]
    ) -> list[bool]:
        query, answers = rows[case.query], [rows[text] for text in case.answers if known[rows[text]]]
        if not known[query] or not answers:
            return [False] * len(case.candidates)
        best = float((vectors[answers] @ vectors[query]).max())
        candidates = [rows[text] for text in case.candidates]
        near = vectors[candidates] @ vectors[query] >= self._share * best
        return [bool(best > 0 and known[row] and is_near) for row, is_near in zip(candidates, near, strict=True)]
