"""A general training: rounds over the lots at a constant rate, for as long as one likes; and models branched off it.

The rate stays constant, so that a run can go on in a later session with texts that were encoded meanwhile. A model is
made from a copy of it whose rate falls to nothing over some last minutes (warm-up, stable, decay).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from hybrid_search.errors import ResumeMismatch
from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.networks.losses import alignment
from hybrid_search.towers.networks.two_tower import TwoTower, seeded_towers
from hybrid_search.training.general.batches import Round, Sides, next_lots
from hybrid_search.training.general.lots import EncodedLot, lot_files
from hybrid_search.training.general.start import Start
from hybrid_search.training.loop.optimiser import clip_gradients
from hybrid_search.training.loop.state import (
    Progressed,
    load_state,
    optimiser_tensors,
    restore_optimiser,
    save_state,
    whole_state,
)

__all__ = ["TOWERS", "GeneralRun", "Measure", "measure_of", "write_journal"]

TOWERS = TowerConfig(
    encoder="rec", layers=2, hidden=192, query_layers=2, query_hidden=128, bidirectional_queries=False, dropout=0.0,
    pooling="idf", residual=False, head_layers=1, embedding_dimension=384, dimension=256, sif_a=1e-2,
    max_query_tokens=64, max_document_tokens=256,
)  # fmt: skip
"""Two layers both ways for documents, two smaller ones forwards for queries, one table of word pieces for both."""

_RATE, _TABLE_RATE, _WEIGHT_RATE = 2e-3, 2e-3, 1e-2
_WARM_UP = 40  # steps
_DECAY, _BETAS, _CLIP = 0.01, (0.9, 0.98), 0.2
_LAST = 0.02  # share of the rate at the end of a branch
_MOST_MEASURED = 400  # texts of a kind
_RIDGE = 1e-3
_PARTS = 64
_NONE = torch.empty(0)

Measure = Callable[[TwoTower], Mapping[str, float]]


class GeneralRun:
    """Towers in training, their optimisers, and what they have read."""

    def __init__(self, store: Path, start: Start, *, seed: int = 0, towers: TowerConfig = TOWERS) -> None:
        """Begin anew; the lots of ``store`` are only read when there is a step to take.

        :param towers: their shape; widths and the number of axes are those of the start.
        """
        self._lots, self._start, self._seed = store / "lots", start, seed
        shape = towers.replace(embedding_dimension=start.table.shape[1], dimension=start.axes.shape[1])
        self.towers = seeded_towers(shape, len(start.table), vectors=start.table, counts=start.counts, seed=seed)
        _set_axes(self.towers, start)
        self.towers.use_sparse_gradients(True)
        tables = self.towers.embedding_parameters()
        others = [p for p in self.towers.parameters() if not any(p is table for table in tables)]
        weights = [p for p in others if p.ndim == 1 and len(p) == self.towers.vocabulary_size]
        nets = [p for p in others if not any(p is weight for weight in weights)]
        groups: list[dict[str, Any]] = [
            {"params": nets},
            {"params": weights, "lr": _WEIGHT_RATE, "weight_decay": 0.0},
        ]
        self._optimisers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=_RATE, betas=_BETAS, weight_decay=_DECAY),
            torch.optim.SparseAdam(tables, lr=_TABLE_RATE, betas=_BETAS),
        ]
        self._rates = [[group["lr"] for group in one.param_groups] for one in self._optimisers]
        self.step, self.seconds, self._round, self._place = 0, 0.0, -1, 0
        self._read: dict[str, int] = {}
        self._now: tuple[Path, Path] | None = None
        self._batches: Round | None = None

    @property
    def read(self) -> Mapping[str, int]:
        """How often each lot was read, by the name of its file."""
        return self._read

    @property
    def _name(self) -> str:
        """Identify a run by its weights' shapes, not by settings: a later version has more of these, and goes on."""
        shapes = sorted((name, tuple(weight.shape)) for name, weight in self.towers.named_parameters())
        return f"general {hashlib.sha256(repr(shapes).encode()).hexdigest()[:16]} seed {self._seed}"

    def advance(self, factor: float = 1.0) -> tuple[float, float]:
        """Take a step, and return 1 - cosine of its passages and of its queries.

        :param factor: of the learning rates.
        """
        began = time.process_time()
        batch = self._next().at(self._place)
        self.towers.train()
        losses = [
            alignment(self.towers.encode_documents(batch.documents.ids), batch.documents.targets),
            alignment(self.towers.encode_queries(batch.queries.ids), batch.queries.targets),
        ]
        torch.autograd.backward(torch.stack(losses).sum())
        clip_gradients(self.towers.parameters(), _CLIP)
        factor *= min(1.0, (self.step + 1) / _WARM_UP)
        for optimiser, rates in zip(self._optimisers, self._rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._place += 1
        self.seconds += time.process_time() - began
        return losses[0].item(), losses[1].item()

    def branch(self, seconds: float) -> None:
        """Take last steps for so many processor seconds while the rate falls to :data:`_LAST`."""
        began = self.seconds
        while (done := (self.seconds - began) / seconds) < 1:
            self.advance(_LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * done)))
        self.towers.eval()

    def save(self, folder: Path) -> None:
        """Write all of it, replacing what was there."""
        tensors = {f"model.{name}": tensor for name, tensor in self.towers.state_dict().items()}
        for number, optimiser in enumerate(self._optimisers):
            tensors |= optimiser_tensors(optimiser, f"optimiser.{number}.")
        tensors |= {f"read.{name}": torch.tensor(times) for name, times in self._read.items()}
        tensors |= {f"now.{number}.{path.name}": torch.tensor(0) for number, path in enumerate(self._now or ())}
        tensors["place"] = torch.tensor([self._round, self._place])
        save_state(folder, Progressed(run=self._name, step=self.step, seconds=self.seconds), tensors)

    def restore(self, folder: Path) -> bool:
        """Go on with what :meth:`save` wrote; return whether there was anything.

        :raises ResumeMismatch: if it is of towers of another shape, or another seed.
        """
        if (state := load_state(folder, self._name)) is None:
            return False
        self.step, self.seconds = state.progressed.step, state.progressed.seconds
        self.towers.load_state_dict(_under("model.", state.tensors))
        for number, optimiser in enumerate(self._optimisers):
            restore_optimiser(optimiser, state.tensors, f"optimiser.{number}.")
        self._read = {name: int(times) for name, times in _under("read.", state.tensors).items()}
        self._round, self._place = state.tensors["place"].tolist()
        now = sorted(_under("now.", state.tensors))
        self._now = (self._lots / now[0][2:], self._lots / now[1][2:]) if now else None
        return True

    def take_over(self, folder: Path, lot: EncodedLot) -> None:
        """Begin with the towers that a run of another store has trained, turned to what is to be learnt here.

        A layer that these towers have more adds nothing at first. The lots which that run has read count as read.

        :param folder: that run's.
        :param lot: texts by which to turn their vectors (ridge regression on the targets).
        :raises ResumeMismatch: if they are towers of another kind.
        """
        tensors = whole_state(folder)
        weights = _under("model.", tensors)
        own = self.towers.state_dict()
        if strange := sorted(name for name, weight in weights.items() if own.get(name, _NONE).shape != weight.shape):
            raise ResumeMismatch(f"{folder} has towers of another kind: {', '.join(strange[:3])} do not fit")
        self.towers.load_state_dict(weights, strict=False)
        self._read = {name: int(times) for name, times in _under("read.", tensors).items()}
        self._round = int(tensors["place"][0])
        sides = Sides([(lot, lot.rows(passages=True))], self._start, self.towers.config.max_document_tokens)
        with torch.inference_mode():
            self.towers.eval()
            order = np.argsort(sides.lengths)
            parts = [sides.take(rows) for rows in np.array_split(order[sides.lengths[order] > 0], _PARTS)]
            found = torch.cat([self.towers.encode_documents(part.ids) for part in parts]).double()
            wanted = torch.cat([part.targets for part in parts]).double()
            square = found.T @ found
            square += _RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
            turn = torch.linalg.solve(square, found.T @ wanted).T.float()
        with torch.no_grad():
            for last in _last_layers(self.towers):
                last.weight.copy_(turn @ last.weight)
                last.bias.copy_(turn @ last.bias)

    def _next(self) -> Round:
        """Return the round that the next step belongs to."""
        if self._batches is None and self._now is not None:
            self._batches = self._opened(self._now)
        if self._batches is None or self._place >= len(self._batches):
            self._now = next_lots(lot_files(self._lots), self._read)
            for path in self._now:
                self._read[path.name] = self._read.get(path.name, 0) + 1
            self._round, self._place = self._round + 1, 0
            self._batches = self._opened(self._now)
        return self._batches

    def _opened(self, lots: tuple[Path, Path]) -> Round:
        config = self.towers.config
        most = (config.max_document_tokens, config.max_query_tokens)
        return Round(lots, self._start, (self._seed, self._round), most)


def measure_of(lots: Mapping[str, EncodedLot], start: Start, towers: TowerConfig) -> Measure:
    """Return a function that tells the mean cosine of towers and teacher for each kind of text in some lots."""
    parts: list[tuple[str, bool, Sides]] = []
    for name, lot in lots.items():
        for is_query in (False, True):
            rows = lot.rows(passages=not is_query)[:_MOST_MEASURED]
            if len(rows):
                most = towers.max_query_tokens if is_query else towers.max_document_tokens
                kind = "queries" if is_query else "documents"
                parts.append((f"{name} {kind}", is_query, Sides([(lot, rows)], start, most)))

    def measure(towers: TwoTower) -> dict[str, float]:
        towers.eval()
        found = {}
        with torch.inference_mode():
            for name, is_query, sides in parts:
                encode = towers.encode_queries if is_query else towers.encode_documents
                losses = []
                for rows in np.array_split(np.argsort(sides.lengths), min(16, len(sides.lengths))):
                    side = sides.take(rows)
                    losses.append(alignment(encode(side.ids), side.targets).item() * len(rows))
                found[name] = round(1 - sum(losses) / len(sides.lengths), 5)
        return found

    return measure


def write_journal(path: Path, entry: Mapping[str, object]) -> None:
    """Add a line to a run's journal."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")


def _set_axes(towers: TwoTower, start: Start) -> None:
    """Let both towers begin as the weighted mean of the table's vectors, on the axes of the first teacher."""
    axes = torch.from_numpy(start.axes[: start.table.shape[1]].T.copy())
    with torch.no_grad():
        for last in _last_layers(towers):
            last.weight.copy_(axes)
            last.bias.zero_()


def _last_layers(towers: TwoTower) -> Iterator[nn.Linear]:
    for tower in (towers.query_tower, towers.document_tower):
        last = tower.head[-1]
        assert isinstance(last, nn.Linear)
        yield last


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
