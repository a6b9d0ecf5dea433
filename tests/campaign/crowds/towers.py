"""Threads that encode and search at once with towers that were loaded just now: real ones, in ONNX Runtime."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
from made_models import make_model

import hybrid_search
from campaign.attack import Attempt, Bench, Finding, Outcome
from campaign.crowds.crowd import switching_fast
from campaign.crowds.planted import planted
from hybrid_search import Document, Retriever
from hybrid_search.loading.sources import Corpus

__all__ = ["TowerCrowd"]

_TEXTS = [
    f"{one} {other} {third}"
    for one in ("cat", "dog", "tree", "car")
    for other in ("runs", "sleeps", "grows")
    for third in ("fast", "here")
]
_THREADS = 6
_ROUNDS = 8


class TowerCrowd:
    """The same text has the same vector, and the same answer, whoever else encodes at the moment."""

    name, unit, wanted, short, needs_server = "crowd-towers", "searches", 40_000, 2_000, False
    planted: ClassVar[Mapping[str, str]] = {"shared-ids": "threads hand texts to the tokenizer through one place"}

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        model = make_model(bench.folder / "model", _TEXTS, seed=1)
        folder = bench.folder / "index"
        documents = [Document(f"d{number:02}", text) for number, text in enumerate(_TEXTS)]
        hybrid_search.load(Corpus("texts", lambda: iter(documents)), folder, model=model)
        with hybrid_search.open(folder) as retriever:
            right = {text: _answer(retriever, text) for text in _TEXTS}
            vectors = retriever.encode_queries(_TEXTS)
        with planted(bench.planted), switching_fast():
            yield lambda trial: _trial(bench, trial, folder, right, vectors)


def _answer(retriever: Retriever, text: str) -> list[tuple[str, float]]:
    return [(hit.id, round(hit.score, 4)) for hit in retriever.search(text, 10)]


def _trial(
    bench: Bench, trial: int, folder: Path, right: Mapping[str, list[tuple[str, float]]], vectors: np.ndarray
) -> Outcome:
    where = f"seed {bench.seed}, trial {trial}"
    found: list[Finding] = []
    with hybrid_search.open(folder) as retriever:
        start = threading.Barrier(_THREADS)

        def work(number: int) -> None:
            start.wait()
            try:
                for round in range(_ROUNDS):
                    at = (number * _ROUNDS + round * 5 + trial) % len(_TEXTS)
                    for wrong in _wrong(retriever, at, right, vectors):
                        found.append(Finding(wrong, f"{where}, thread {number}"))
            except Exception as error:
                found.append(Finding(f"{type(error).__name__}: {error}", f"{where}, thread {number}"))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return Outcome(_THREADS * _ROUNDS * 2, tuple(found[:5]))


def _wrong(
    retriever: Retriever, at: int, right: Mapping[str, list[tuple[str, float]]], vectors: np.ndarray
) -> Iterator[str]:
    text = _TEXTS[at]
    if (answer := _answer(retriever, text)) != right[text]:
        yield f"{text!r} was answered with {answer}, not {right[text]}"
    encoded = retriever.encode_queries([text, *_TEXTS[:3]])
    expected = np.stack([vectors[at], *vectors[:3]])
    if not np.allclose(encoded, expected, atol=1e-5):
        yield f"{text!r} has another vector in company: {np.abs(encoded - expected).max():.3g} apart"
