"""Encoding texts with ONNX Runtime, for indexing and searching."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import CorruptModel, UsageError, shown
from hybrid_search.settings.index import Similarity
from hybrid_search.towers.model_card import ModelCard, read_model_card, verify_files
from hybrid_search.towers.onnx.runtime import open_session
from hybrid_search.towers.padding import batches_of_one_width, pad_ids, width
from hybrid_search.towers.tokenizer import TextTokenizer

__all__ = ["OnnxEncoder"]

_MOST_THREADS = 1_024
_PADDED_TOKENS = 3_072  # per batch
_PADDED_TOKENS_OF_REC = 1_024  # what is computed for more of them does not fit into a core's cache
_ROWS_OF_RNN = 4
_OUTPUTS = ("sentence_embedding",)


class OnnxEncoder:
    """Both towers of a checkpoint on the CPU. Thread-safe.

    A tower is loaded at its first use, so a process that only searches never loads the document tower.
    """

    def __init__(self, folder: Path, card: ModelCard, threads: int) -> None:
        self._folder, self._card = folder, card
        if not isinstance(threads, int) or not 0 <= threads <= _MOST_THREADS:
            raise UsageError(f"threads is {shown(threads)}; give 0 (one per core) to {_MOST_THREADS:,}")
        self._threads = threads or _available_cores()
        self._opening = Lock()
        self._sessions: dict[str, Any] = {}
        self._tokenizer = TextTokenizer.from_file(folder / "tokenizer.json")
        self._counting = Lock()
        self._documents_cut = 0

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> Self:
        """Open a checkpoint, or its copy in an index, and check every file that encoding needs.

        :param threads: number of batches that are encoded concurrently, at most 1,024; 0 for one per core.
        :raises ModelNotFound: if there is none.
        :raises CorruptModel: names the file that is missing or changed.
        """
        card = read_model_card(folder)
        verify_files(folder, card, card.served)
        return cls(folder, card, threads)

    @property
    def card(self) -> ModelCard:
        """The checkpoint's description."""
        return self._card

    @property
    def fingerprint(self) -> str:
        """Identifies everything that determines a vector: weights, tokenizer, configuration."""
        return self._card.fingerprint

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._card.tower.dimension

    @property
    def similarity(self) -> Similarity:
        """How vectors are compared."""
        return self._card.tower.similarity

    @property
    def documents_cut(self) -> int:
        """Number of documents encoded so far that have more tokens than the tower reads."""
        return self._documents_cut

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode queries with the query tower.

        :return: (n, dimension) in the given order, rows of unit length with cosine similarity; a text without a known
            token has a zero row. A text's vector is the same, to the last bit, in any batch.
        """
        return self._encode(texts, self._query_session, self._card.tower.max_query_tokens)[0]

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode documents with the document tower; otherwise as :meth:`encode_queries`."""
        vectors, cut = self._encode(texts, self._document_session, self._card.tower.max_document_tokens)
        with self._counting:
            self._documents_cut += cut
        return vectors

    @property
    def _query_session(self) -> Any:
        return self._session_of("query.onnx")

    @property
    def _document_session(self) -> Any:
        return self._session_of("document.onnx")

    def _run(self, session: Any, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = len(ids)
        # ONNX Runtime's RNN sums the last few rows in another order; the other networks are not affected.
        if self._card.tower.encoder == "rnn" and (more := -len(ids) % _ROWS_OF_RNN):
            ids = np.concatenate([ids, np.zeros((more, ids.shape[1]), np.int64)])
        return _run(session, ids)[:rows]

    def _session_of(self, file: str) -> Any:
        if (session := self._sessions.get(file)) is not None:
            return session
        with self._opening:  # so that concurrent threads don't each load the network
            if file not in self._sessions:
                self._sessions[file] = _session(self._folder / file)
            return self._sessions[file]

    def _encode(self, texts: Sequence[str], session: Any, max_tokens: int) -> tuple[NDArray[np.float32], int]:
        """Return the vectors, and the number of texts that have more tokens than are read."""
        if len(texts) == 1:  # a query; sorting into batches would add a fifth to its time
            ids = self._tokenizer.encode_one(texts[0], max_tokens + 1)
            read = ids[:max_tokens]
            row = np.zeros((1, width(len(read))), np.int64)
            row[0, : len(read)] = read
            return self._run(session, row), int(len(ids) > max_tokens)
        longer = self._tokenizer.encode(texts, max_tokens + 1)
        id_lists = [ids[:max_tokens] for ids in longer]
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)

        def encode(batch: tuple[int, NDArray[np.intp]]) -> None:
            wide, rows = batch
            vectors[rows] = self._run(session, pad_ids([id_lists[row] for row in rows], wide))

        most = _PADDED_TOKENS_OF_REC if self._card.tower.encoder == "rec" else _PADDED_TOKENS
        batches = batches_of_one_width([len(ids) for ids in id_lists], most)
        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(encode, batches):
                pass
        return vectors, sum(len(ids) > max_tokens for ids in longer)


def _session(path: Path) -> Any:
    try:
        return open_session(path)
    except Exception as error:  # onnxruntime raises no narrower class
        raise CorruptModel(f"ONNX Runtime can't load {path}: {error}; restore the checkpoint or train again") from error


def _run(session: Any, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    # With names, as the session would make a list of them each time.
    (vectors,) = session.run(_OUTPUTS, {"input_ids": ids, "attention_mask": np.minimum(ids, 1)})
    return np.asarray(vectors, dtype=np.float32)


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
