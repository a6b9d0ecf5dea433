"""Exports a tower to ONNX, and checks that the file computes the same as torch."""

from __future__ import annotations

import copy
import struct
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hybrid_search.errors import ModelError
from hybrid_search.storage import disk_errors
from hybrid_search.towers.networks.gated import PLACEHOLDER, as_texts
from hybrid_search.towers.networks.two_tower import Reading, Tower
from hybrid_search.towers.onnx.loop import write_loops
from hybrid_search.towers.onnx.runtime import open_session
from hybrid_search.towers.onnx.small import write_small_products
from hybrid_search.towers.padding import pad_ids
from hybrid_search.towers.small import STEP
from hybrid_search.towers.tokenizer import PAD, UNK

__all__ = ["LEAST_COSINE", "TOLERANCE", "check_export", "check_small", "export_tower", "share_weights"]

TOLERANCE = 1e-5
"""Largest allowed difference between ONNX Runtime and torch; relative to the longest vector if that exceeds 1."""

LEAST_COSINE = 0.998
"""Least mean cosine of the vectors of ONNX Runtime in 8-bit numbers and of torch."""

_LEAST_OF_ADAPTED = 0.995
"""The same where a run held the network and trained the last layer, which may enlarge the network's rounding."""

_OPSET = 17
_TABLES = ("embedding", "shift")
_VERY_LOW = -1e4  # minus infinity would give NaN for a text without tokens


class _HalfTable(nn.Module):
    """Word vectors stored as float16, read as float32."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.register_buffer("table", embedding.weight.detach().half())

    def forward(self, ids: Tensor) -> Tensor:
        return nn.functional.embedding(ids, self.get_buffer("table")).float()


class _SmallTable(nn.Module):
    """Word vectors stored as whole numbers (V, d) int8 with a step (V,) for each, read as float32."""

    def __init__(self, table: Tensor, steps: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table)
        self.register_buffer("steps", steps[:, None])

    def forward(self, ids: Tensor) -> Tensor:
        # Not DequantizeLinear: the version of ONNX Runtime in ml-commons copies it without its axis, and fails.
        return self.get_buffer("table")[ids].float() * self.get_buffer("steps")[ids]


class _Graph(nn.Module):
    """A tower with the inputs and outputs that ml-commons expects of a sentence embedding model."""

    def __init__(self, tower: Tower, small: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.tower = copy.copy(tower)
        self.tower._modules = {**tower._modules, **_tables(tower, small)}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        ids = input_ids * attention_mask
        config = self.tower.config
        is_short = config.encoder == "rec" and not config.bidirectional
        if is_short and config.pooling in ("idf", "mean") and self.tower.projection is None:
            return self._in_rows(ids)
        vectors: Tensor = self.tower(ids)
        return vectors

    def _in_rows(self, ids: Tensor) -> Tensor:
        """Compute the same in as few operators as there can be, for queries: see :meth:`GatedEncoder.in_rows`."""
        tower, config = self.tower, self.tower.config
        each = ids.unsqueeze(1)  # (n, 1, t)
        is_padding = each == PAD
        # Weighted means, as weights are stored as logarithms. A text of padding alone is none of known tokens.
        very_low, zero = torch.tensor(_VERY_LOW), torch.tensor(0.0)
        alike = torch.softmax(torch.where(is_padding, very_low, zero), dim=2)
        weights = torch.softmax(torch.where(is_padding, very_low, tower.log_weights[each]), dim=2)
        flat, width = ids.reshape(-1), config.embedding_dimension
        states = as_texts(tower.encoder.in_rows(tower.embedding(flat), ids, alike), ids, width)
        pooled = ((weights if config.pooling == "idf" else alike) @ states).squeeze(1)
        shift = None if tower.shift is None else (weights @ as_texts(tower.shift(flat), ids, width)).squeeze(1)
        known = (ids > UNK).to(pooled.dtype).amax(dim=1, keepdim=True)
        return tower.finished(Reading(pooled, None), shift, known)


def _tables(tower: Tower, small: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """Return the modules of a tower's tables of word vectors as they are stored."""
    made: dict[str, nn.Module] = {}
    for name in _TABLES:
        table = getattr(tower, name)
        if table is not None and small:
            made[name] = _SmallTable(small[f"{name}.weight"], small[f"{name}.weight{STEP}"])
        elif table is not None:
            made[name] = _HalfTable(table)
    return made


def export_tower(tower: Tower, path: Path, small: Mapping[str, Tensor]) -> None:
    """Write a tower in evaluation mode as ONNX.

    :param small: the weights as :func:`~hybrid_search.towers.small.make_small` stores them, by the tower's names for
        them; empty for a tower in float32, whose word vectors are written as float16, to which
        :meth:`TwoTower.round_word_vectors` rounded them before.

    Inputs ``input_ids`` and ``attention_mask`` (n, t) int64, any n and t; output ``sentence_embedding`` (n, dimension).

    :raises StorageError: if the file can't be written.
    """
    # A vocabulary may consist of PAD and UNK only, if the texts have no words.
    ids = torch.tensor([[2, 3, 1, 2], [3, 0, 0, 0]]).clamp(max=tower.embedding.num_embeddings - 1)
    was_training = tower.training
    tower.eval()
    try:
        with warnings.catch_warnings(), torch.no_grad(), disk_errors(f"writing {path}"):
            # The tracing exporter is deprecated, and warns of fixed sizes, which check_export shows not to be fixed.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Graph(tower, small),
                (ids, (ids != 0).long()),
                str(path),
                dynamo=False,
                opset_version=_OPSET,
                input_names=["input_ids", "attention_mask"],
                output_names=["sentence_embedding"],
                dynamic_axes={
                    "input_ids": {0: "batch", 1: "time"},
                    "attention_mask": {0: "batch", 1: "time"},
                    "sentence_embedding": {0: "batch"},
                },
                # Only where it is used, as it is warned of otherwise.
                custom_opsets={PLACEHOLDER.partition("::")[0]: 1} if tower.config.encoder == "rec" else None,
            )
            if tower.config.encoder == "rec":
                model = onnx.load(str(path))
                write_loops(model)
                if small:
                    write_small_products(model, small, "tower.")
                path.write_bytes(model.SerializeToString())
    finally:
        tower.train(was_training)


def share_weights(path: Path, weights: Path) -> None:
    """Make an ONNX file read what ``weights`` has too, a safetensors file in the same folder.

    Both towers' files and the weights contain the same table, by far the largest part of a checkpoint; this keeps one.

    :raises StorageError: if a file can't be read or written.
    """
    with disk_errors(f"writing {path}"):
        model = onnx.load(str(path))
        content = weights.read_bytes()
        for tensor in model.graph.initializer:
            offset = _place(content, tensor.raw_data) if len(tensor.raw_data) >= _WORTH_SHARING else -1
            if offset < 0:
                continue
            entries = {"location": weights.name, "offset": str(offset), "length": str(len(tensor.raw_data))}
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=value)
        path.write_bytes(model.SerializeToString())


_WORTH_SHARING = 256  # bytes


def _place(content: bytes, data: bytes) -> int:
    """Return the offset in a safetensors file of these bytes, which may be some rows of a tensor; -1 for none."""
    (length,) = struct.unpack("<Q", content[:8])
    return content.find(data, 8 + length)


def check_export(tower: Tower, path: Path, vocabulary_size: int) -> float:
    """Compare a file with the tower that it was made from, on texts of many lengths, including empty and unknown ones.

    :return: the largest difference of any component.
    :raises ModelError: if it is above :data:`TOLERANCE`.
    """
    session = open_session(path)
    largest = 0.0
    was_training = tower.training
    tower.eval()
    try:
        for ids in _samples(vocabulary_size):
            with torch.no_grad():
                expected = tower(torch.from_numpy(ids)).numpy()
            (found,) = session.run(None, {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64)})
            scale = max(1.0, float(np.linalg.norm(expected, axis=1).max()))
            largest = max(largest, float(np.abs(found - expected).max()) / scale)
    finally:
        tower.train(was_training)
    if not largest <= TOLERANCE:
        raise ModelError(
            f"{path.name} differs from torch by {largest:.1e}, more than {TOLERANCE:.0e}; nothing was saved. "
            f"Train with another encoder or pooling, and report this"
        )
    return largest


def check_small(tower: Tower, path: Path, texts: Sequence[NDArray[np.int32]]) -> float:
    """Compare a file in 8-bit numbers with the tower that it was made from.

    :param texts: token ids of each.
    :return: the mean cosine of the texts' vectors.
    :raises ModelError: if it is below :data:`LEAST_COSINE`, or .995 for adapted towers.
    """
    session = open_session(path)
    cosines = []
    for text in texts:
        if len(text):
            ids = pad_ids([text])
            with torch.no_grad():
                expected = tower(torch.from_numpy(ids)).numpy()[0]
            (found,) = session.run(None, {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64)})
            lengths = float(np.linalg.norm(expected) * np.linalg.norm(found[0]))
            cosines.append(float(found[0] @ expected) / lengths if lengths else 1.0)
    mean = float(np.mean(cosines)) if cosines else 1.0
    least = _LEAST_OF_ADAPTED if tower.config.adapted else LEAST_COSINE
    if not mean >= least:
        raise ModelError(
            f"{path.name} in 8-bit numbers differs from torch: mean cosine {mean:.5f}, wanted {least} or more; "
            f"nothing was saved. Train with another encoder, and report this"
        )
    return mean


def _samples(vocabulary_size: int) -> list[np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    rng = np.random.default_rng(0)
    samples = []
    for rows, longest in ((1, 1), (1, 7), (16, 40), (5, 160)):
        ids = rng.integers(1, vocabulary_size, size=(rows, longest))
        lengths = rng.integers(1, longest + 1, size=rows)
        ids[np.arange(longest) >= lengths[:, None]] = 0
        samples.append(ids)
    samples[2][0] = 0  # an empty text
    samples[2][1, 0], samples[2][1, 1:] = 1, 0  # a text of one unknown word
    return samples
