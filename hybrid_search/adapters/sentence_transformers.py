"""The towers of a model with the methods of ``sentence_transformers.SentenceTransformer`` that encode and compare.

For code that was written for one: evaluation suites, clustering, a vector database of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import MissingExtra, UsageError, shown
from hybrid_search.protocols import Encoder
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import texts_of
from hybrid_search.settings.index import Similarity

__all__ = ["TowerEncoder"]

_NAMES: dict[Similarity, str] = {"cosine": "cosine", "dot": "dot", "l2": "euclidean"}
_PROMPTS = {None: "document", "document": "document", "query": "query"}

Embeddings = Any
"""A (n, dimension) array or tensor, a list of tensors, or of one text its row; as the arguments say."""


class TowerEncoder:
    """Both towers behind SentenceTransformer's names.

    :param model: a checkpoint's folder; or a retriever, or an encoder, whose towers are used.
    :raises ModelNotFound: if there is no checkpoint.
    """

    def __init__(self, model: str | Path | Retriever | Encoder) -> None:
        if isinstance(model, Retriever):
            self.towers: Encoder = model.source.current.towers()
        elif isinstance(model, str | Path):
            from hybrid_search.towers.onnx.encoder import OnnxEncoder

            self.towers = OnnxEncoder.load(Path(model))
        else:
            self.towers = model

    @property
    def similarity_fn_name(self) -> str:
        """How vectors are compared: cosine, dot or euclidean."""
        return _NAMES[self.towers.similarity]

    def get_embedding_dimension(self) -> int:
        """Return the length of the vectors."""
        return self.towers.dimension

    get_sentence_embedding_dimension = get_embedding_dimension

    def encode_query(self, inputs: str | Sequence[str], **kwargs: Any) -> Embeddings:
        """Encode with the query tower; arguments as for :meth:`encode`."""
        return self.encode(inputs, **{**kwargs, "prompt_name": "query"})

    def encode_document(self, inputs: str | Sequence[str], **kwargs: Any) -> Embeddings:
        """Encode with the document tower; arguments as for :meth:`encode`."""
        return self.encode(inputs, **{**kwargs, "prompt_name": "document"})

    def encode(
        self,
        inputs: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
        precision: Literal["float32"] = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        normalize_embeddings: bool = False,
    ) -> Embeddings:
        """Encode a text or several; the parameters have SentenceTransformer's names, order and defaults.

        :param prompt_name: ``query`` or ``document``, the tower; the document tower unless given.
        :param prompt: put before each text.
        :param show_progress_bar: taken, but no bar is shown.
        :param convert_to_tensor: return one tensor (extra ``train``); without it and ``convert_to_numpy`` a list.
        :param device: None or ``cpu``; towers run on the processor.
        :return: a row for each text, all zeros for one without a known word; of a single text its row alone.
        :raises UsageError: if an argument asks for what towers do not have.
        """
        for name, given, taken in (
            ("prompt_name", prompt_name, tuple(_PROMPTS)), ("output_value", output_value, ("sentence_embedding",)),
            ("precision", precision, ("float32",)), ("device", device, (None, "cpu")),
        ):  # fmt: skip
            if given not in taken:
                raise UsageError(f"{name} is {shown(given)}; give {' or '.join(map(repr, taken))}")
        if not (isinstance(batch_size, int) and batch_size >= 1):
            raise UsageError(f"batch_size is {shown(batch_size)}; it must be a whole number from 1")
        texts = [(prompt or "") + text for text in texts_of([inputs] if isinstance(inputs, str) else inputs, "inputs")]
        tower = self.towers.encode_queries if _PROMPTS[prompt_name] == "query" else self.towers.encode_documents
        rows = [tower(texts[first : first + batch_size]) for first in range(0, len(texts), batch_size)]
        vectors = np.concatenate(rows) if rows else np.zeros((0, self.towers.dimension), np.float32)
        if normalize_embeddings:
            vectors = _of_unit_length(vectors)
        if convert_to_tensor or not convert_to_numpy:
            vectors = _torch().from_numpy(np.ascontiguousarray(vectors))
        if isinstance(inputs, str):
            return vectors[0]
        return list(vectors) if not (convert_to_tensor or convert_to_numpy) else vectors

    def similarity(self, embeddings1: Embeddings, embeddings2: Embeddings) -> Embeddings:
        """Compare each of the first with each of the second: (n, m), larger is nearer; a tensor if both are tensors."""
        first, second = _rows(embeddings1), _rows(embeddings2)
        if self.towers.similarity == "l2":
            scores = -np.linalg.norm(first[:, None] - second[None], axis=2)
        elif self.towers.similarity == "cosine":
            scores = _of_unit_length(first) @ _of_unit_length(second).T
        else:
            scores = first @ second.T
        return _like(scores, embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Embeddings, embeddings2: Embeddings) -> Embeddings:
        """Compare the first with the first, the second with the second, …: (n,)."""
        first, second = _rows(embeddings1), _rows(embeddings2)
        if self.towers.similarity == "l2":
            scores = -np.linalg.norm(first - second, axis=1)
        elif self.towers.similarity == "cosine":
            scores = (_of_unit_length(first) * _of_unit_length(second)).sum(1)
        else:
            scores = (first * second).sum(1)
        return _like(scores, embeddings1, embeddings2)


def _of_unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)


def _rows(embeddings: Embeddings) -> NDArray[np.float32]:
    if isinstance(embeddings, list):
        return np.concatenate([_rows(one) for one in embeddings])
    return np.atleast_2d(np.asarray(embeddings, np.float32))


def _like(scores: NDArray[np.float32], *given: Embeddings) -> Embeddings:
    is_numpy = any(isinstance(one, np.ndarray) for of_one in given for one in (of_one, *list(of_one)[:1]))
    return scores if is_numpy else _torch().from_numpy(scores)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "train") from None
    return torch
