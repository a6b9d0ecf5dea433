"""The second stage of a search: its first hits scored anew by a reranker, or chosen so that they differ (MMR)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import (
    HybridSearchError,
    ModelNotFound,
    RerankingFailed,
    UsageError,
    importing_extra,
    shown,
)
from hybrid_search.location import usable_path
from hybrid_search.protocols import Engine, Reranker
from hybrid_search.search import Search
from hybrid_search.towers.beginnings import beginning
from hybrid_search.types import Hit

__all__ = ["CrossEncoderReranker", "is_to_fetch", "ranked_again"]

_LONGEST = 512
"""Words of a text that a cross-encoder is given at most; the model cuts by its own limit."""

_GIVE = "give a folder that has a cross-encoder, such as ./cross-encoder"
_ANSWER_SECONDS = 10.0

_DECIMALS = 6
"""Cosines are rounded: those of equal vectors differ in the last bits, and would decide instead of the ids."""

Cosines = NDArray[np.float64]


def ranked_again(search: Search, hits: Sequence[list[Hit]], engine: Engine) -> list[list[Hit]]:
    """Return the page that a search asks for, of the hits of its first stage.

    :param hits: n lists, of the first hits of each query; the engine's.
    :param engine: has the vectors that decide what is alike.
    :raises RerankingFailed: if the reranker raises an error, or does not give one finite score for each hit.
    :raises UsageError: if ``diversity`` is given and the index holds no vectors.
    """
    stage = search.second
    assert stage is not None
    found = list(hits)
    if stage.rerank is not None:
        found = [_rescored(stage.rerank, text, of_query) for text, of_query in zip(search.texts, found, strict=True)]
    if stage.diversity is not None:
        if not engine.settings.dimension:
            raise UsageError("the index holds no vectors, by which hits could be alike; leave diversity out")
        vectors = engine.vectors(list({_of_vector(hit): None for of_query in found for hit in of_query}))
        found = [_diverse(of_query, vectors, stage.diversity, search.end) for of_query in found]
    return [of_query[search.offset : search.end] for of_query in found]


def _rescored(rerank: Reranker, query: str, hits: Sequence[Hit]) -> list[Hit]:
    if not hits:
        return []
    try:
        given = rerank(query, list(hits))
    except HybridSearchError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise RerankingFailed(f"the reranker failed on the {len(hits)} hits of a query: {reason}") from error
    scores = _numbers(given, len(hits))
    best_first = sorted(range(len(hits)), key=lambda place: (-scores[place], hits[place].id))
    return [_at(rank, hits[place], scores[place]) for rank, place in enumerate(best_first, 1)]


def _numbers(given: Any, count: int) -> list[float]:
    """Return a reranker's scores as floats."""
    wrong = f"the reranker gave {shown(given)}; it must give one number for each hit"
    try:
        raw = np.asarray(given)
        if raw.dtype.kind not in "biufO" or any(
            isinstance(one, str | bytes) for one in raw.flat if raw.dtype == object
        ):
            raise RerankingFailed(wrong)  # NumPy would read texts as numbers, and cut complex ones
        scores = raw.astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last is torch's: needs a gradient
        raise RerankingFailed(wrong) from error
    if scores.shape != (count,):
        raise RerankingFailed(
            f"the reranker gave scores of shape {scores.shape} for {count} hits; it must give one number for each"
        )
    if not np.isfinite(scores).all():
        place = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise RerankingFailed(f"the reranker gave the score {scores[place]} for hit {place + 1}; scores must be finite")
    numbers: list[float] = scores.tolist()
    return numbers


def _at(rank: int, hit: Hit, score: float) -> Hit:
    first_rank, first_score = hit.first_rank or hit.rank, hit.score if hit.first_score is None else hit.first_score
    return replace(hit, rank=rank, score=score, first_rank=first_rank, first_score=first_score)


def _of_vector(hit: Hit) -> str:
    """Return the id that the hit's vector has: that of the best passage."""
    return hit.passages[0].id if hit.passages else hit.id


def _diverse(hits: Sequence[Hit], vectors: Any, diversity: float, count: int) -> list[Hit]:
    """Choose hits one after the other by maximal marginal relevance (Carbonell and Goldstein 1998).

    The next one has the highest (1 - diversity) x relevance - diversity x the largest cosine to one before it: its new
    score. Relevance is the score, put between 0 and 1 over these hits. A cosine below 0 counts as 0, so that scores
    fall from hit to hit; what has no vector is like nothing.
    """
    by_id = sorted(hits, key=lambda hit: hit.id)  # of equal values the first one counts
    rows = [vectors.get(_of_vector(hit)) for hit in by_id]
    dimension = next((len(row) for row in rows if row is not None), 1)
    unit = np.array([np.zeros(dimension) if row is None else row for row in rows], np.float64).reshape(-1, dimension)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    relevance = (1 - diversity) * _between_0_and_1(np.array([hit.score for hit in by_id]))
    nearest: Cosines = np.zeros(len(hits))
    chosen: list[Hit] = []
    for rank in range(1, min(count, len(hits)) + 1):
        values = relevance - diversity * nearest
        place = int(np.argmax(values))
        chosen.append(_at(rank, by_id[place], float(values[place])))
        nearest = np.maximum(nearest, np.round(unit @ unit[place], _DECIMALS))
        relevance[place] = -np.inf
    return chosen


def _between_0_and_1(scores: Cosines) -> Cosines:
    if not len(scores) or np.ptp(scores) == 0:
        return np.ones(len(scores))
    scaled: Cosines = (scores - scores.min()) / np.ptp(scores)
    return scaled


def _folder_of(model: str | Path) -> str | None:
    """Return a cross-encoder's folder; None for a name on the hub.

    :raises ModelNotFound: if it can only be a folder, and is none.
    """
    name = str(model)
    folder = Path(model).expanduser()
    if usable_path(folder, "the cross-encoder", _GIVE).is_dir() and (folder / "config.json").is_file():
        return str(folder)
    if isinstance(model, Path) or name.startswith((".", "/", "~")):
        raise ModelNotFound(f"{model}: there is no cross-encoder; give the folder that has its config.json")
    return None


def is_to_fetch(model: str | Path) -> bool:
    """Return whether a cross-encoder has to come from the hub: it is neither a folder nor in the hub's cache.

    :raises MissingExtra: if the hub's library is not installed.
    :raises ModelNotFound: if it can be neither.
    """
    with importing_extra("rerank"):
        from huggingface_hub import try_to_load_from_cache
    if _folder_of(model) is not None:
        return False
    try:
        cached = [
            isinstance(try_to_load_from_cache(str(model), file), str)
            for file in ("config.json", "model.safetensors", "model.safetensors.index.json")
        ]
    except ValueError as error:
        raise ModelNotFound(f"{model} is neither a folder nor a name on the hub; {_GIVE}") from error
    return not (cached[0] and any(cached[1:]))


def _check_hub_has(name: str) -> None:
    """Ask the hub once: the libraries would try again for a minute.

    :raises ModelNotFound: if it has no such model, or can't or must not be reached.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise ModelNotFound(f"cross-encoder {name} is not in the hub's cache, and HF_HUB_OFFLINE is set; {_GIVE}")
    try:
        HfApi().model_info(name, timeout=_ANSWER_SECONDS)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelNotFound(f"cross-encoder {name} can't be fetched from the hub ({reason}); {_GIVE}") from error


class CrossEncoderReranker:
    """A reranker: a cross-encoder of sentence-transformers, which reads a query and a document together.

    Thread-safe: calls wait for one another. It needs the extra ``rerank``. A model is read from safetensors alone, and
    no code that comes with it is run.

    :param model: the model's folder, or its name on the hub, such as ``cross-encoder/ms-marco-MiniLM-L6-v2``.
    :param device: ``cpu``, ``cuda`` …; None for a GPU if there is one.
    :param batch_size: pairs of query and document that are read at once.
    :raises MissingExtra: if sentence-transformers is not installed.
    :raises ModelNotFound: if there is no such model, it can't be reached, or it gives more than one number.
    """

    def __init__(self, model: str | Path, *, device: str | None = None, batch_size: int = 32) -> None:
        with importing_extra("rerank"):
            import sentence_transformers
            from transformers.utils import logging as of_library
        of_library.set_verbosity_error()  # type: ignore[no-untyped-call]
        of_library.disable_progress_bar()  # type: ignore[no-untyped-call]
        name = _folder_of(model)
        if name is None:
            name, fetches = str(model), is_to_fetch(model)
            if fetches:
                _check_hub_has(name)
        else:
            fetches = False
        try:
            self._model: Any = sentence_transformers.CrossEncoder(
                name, device=device, local_files_only=not fetches, model_kwargs={"use_safetensors": True}
            )
        except Exception as error:  # of three libraries, each with classes of its own
            raise ModelNotFound(f"cross-encoder {model} can't be loaded: {error}; give a folder that has it") from error
        kinds = getattr(getattr(self._model.model, "config", None), "architectures", None) or ()
        if len(self._model) == 1 and not any(str(kind).endswith("ForSequenceClassification") for kind in kinds):
            # Its last layer would be new and random, of which the library no more than warns.
            raise ModelNotFound(f"{model} is no cross-encoder ({', '.join(kinds) or 'nothing said'}); give one that is")
        if self._model.num_labels != 1:
            raise ModelNotFound(
                f"{model} gives {self._model.num_labels} numbers for a pair of texts; a reranker needs a cross-encoder "
                f"that gives one, its score"
            )
        self.name, self._batch_size, self._lock = str(model), batch_size, threading.Lock()

    def __call__(self, query: str, hits: Sequence[Hit]) -> NDArray[Any]:
        """Score hits: (n,) floats, higher is better; on the model's own scale."""
        pairs = [(query, beginning(hit.searchable_text, _LONGEST, spaces_only=True)) for hit in hits]
        with self._lock:  # tokenizers refuse to be used by two threads while they set how they cut
            return np.asarray(
                self._model.predict(pairs, batch_size=self._batch_size, show_progress_bar=False), np.float64
            )
