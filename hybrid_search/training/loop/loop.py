"""The training loop.

A run is a function of settings, data and seed: batches and negatives depend on the seed and the step alone, so an
interrupted run continues from its state to the weights of an uninterrupted one (on the same machine with the same
number of threads; not on a GPU, whose sums and dropout vary).
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import msgspec
import torch
from torch import Tensor

from hybrid_search.errors import ConfigError, TrainingError
from hybrid_search.protocols import Progress, Tracker, silent
from hybrid_search.settings.training import TrainConfig
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.training.data.arrays import TrainingData
from hybrid_search.training.loop.adapting import adapt_towers
from hybrid_search.training.loop.batches import batches_of
from hybrid_search.training.loop.objective import Objective
from hybrid_search.training.loop.optimiser import EarlyStopping, Optimisers, clip_gradients, learning_rate_factor
from hybrid_search.training.loop.state import Progressed, State, load_state, save_state
from hybrid_search.training.loop.validation import MEASURE, CollapseAlarm, validate
from hybrid_search.training.loop.weights import parameters_of, weights_of

__all__ = ["TrainReport", "deferred_interrupt", "train_towers"]


_LOG_EVERY = 10


@dataclass(frozen=True, slots=True)
class TrainReport:
    """The course of a run.

    :ivar best_step: number of steps after which the kept weights were reached; 0 means that training did not help.
    :ivar best_measure: their nDCG@10 on the validation corpus; NaN without one.
    :ivar untrained_measure: nDCG@10 before the first step.
    :ivar curve: (step, nDCG@10) of every evaluation.
    :ivar steps: number of steps taken.
    :ivar seconds: duration of training, including interrupted parts of the run.
    :ivar stopped_because: ``finished``, or ``early stopping``.
    """

    best_step: int
    best_measure: float
    untrained_measure: float
    curve: tuple[tuple[int, float], ...]
    steps: int
    seconds: float
    stopped_because: str


def train_towers(
    towers: TwoTower,
    data: TrainingData,
    config: TrainConfig,
    *,
    work: Path,
    tracker: Tracker,
    progress: Progress = silent,
) -> TrainReport:
    """Train the towers in place; at the end they have the weights that validated best and are in evaluation mode.

    :param work: folder for the run's state. Training continues from a state found there; the final state stays until
        the checkpoint is written and the folder removed, so that nothing is lost.
    :raises CollapsedTowers: if all documents get the same vector.
    :raises ConfigError: if the device is not available.
    :raises TrainingError: if the loss is not finite.
    :raises ResumeMismatch: if ``work`` holds the state of a run with other settings or data.
    :raises KeyboardInterrupt: on Ctrl-C, between two steps, with the state written.
    """
    with _own_threads_and_seed(config):
        if config.adapt_steps:
            return _adapted(towers, data, config, tracker=tracker, progress=progress)
        run = _Run(towers, data, config, tracker)
        run.begin(load_state(work, run.name))
        with deferred_interrupt() as is_interrupted, progress("training", run.batches.steps) as task:
            task.advance(run.step)
            while not run.is_finished:
                run.take_step()
                task.advance()
                if run.is_due(config.evaluate_every) or run.is_finished:
                    run.evaluate()
                interrupted = is_interrupted()
                if run.is_due(config.checkpoint_every) or run.is_finished or interrupted:
                    run.save(work)
                if interrupted:
                    raise KeyboardInterrupt
        return run.end()


def _adapted(
    towers: TwoTower, data: TrainingData, config: TrainConfig, *, tracker: Tracker, progress: Progress
) -> TrainReport:
    started = time.monotonic()
    settings = {"train": msgspec.to_builtins(config), "towers": msgspec.to_builtins(towers.config)}
    tracker.log(0, {**settings, "parameters": parameters_of(towers), "data": dict(data.report)})
    course = adapt_towers(towers, data, config, tracker=tracker, progress=progress)
    return TrainReport(
        best_step=course.best_step, best_measure=course.best_measure, untrained_measure=course.untrained_measure,
        curve=course.curve, steps=course.steps, seconds=time.monotonic() - started,
        stopped_because="early stopping" if course.stopped_early else "finished",
    )  # fmt: skip


class _Run:
    """The state of a run, its steps, and how it is saved and restored."""

    def __init__(self, towers: TwoTower, data: TrainingData, config: TrainConfig, tracker: Tracker) -> None:
        self.towers, self.data, self.config, self.tracker = towers, data, config, tracker
        self.device = _device(config)
        towers.to(self.device)
        self.name = _run_name(towers, data, config)
        self.batches = batches_of(data, config)
        self.objective = Objective(config, towers.config).to(self.device)
        self.optimisers = Optimisers(towers, self.objective, config)
        self.stopping = EarlyStopping(config.patience)
        self.alarm = CollapseAlarm(towers.config.similarity)
        self.step = 0
        self.curve: list[tuple[int, float]] = []
        self.best: dict[str, Tensor] = {}
        self.earlier_seconds = 0.0
        self.started = time.monotonic()

    @property
    def is_finished(self) -> bool:
        return self.step >= self.batches.steps or self.stopping.is_exhausted

    def is_due(self, every: int) -> bool:
        return self.step % every == 0

    def begin(self, state: State | None) -> None:
        settings = {"train": msgspec.to_builtins(self.config), "towers": msgspec.to_builtins(self.towers.config)}
        if state is None:
            counts = {"parameters": parameters_of(self.towers), "data": dict(self.data.report)}
            self.tracker.log(0, {**settings, **counts, "steps": self.batches.steps})
            self.choose_parts()
            self.evaluate()
        else:
            self.restore(state)
            self.tracker.log(self.step, {**settings, "resumed": True})

    def take_step(self) -> None:
        config, step = self.config, self.step
        self.towers.train()
        self.choose_parts()
        loss, vectors = self.objective(self.towers, self.batches.at(step).to(self.device))
        loss.backward()
        norm = clip_gradients([*self.towers.parameters(), *self.objective.parameters()], config.clip_norm)
        if not (math.isfinite(loss.item()) and math.isfinite(norm)):
            raise TrainingError(_not_a_number(step, loss.item(), norm, config))
        factor = learning_rate_factor(
            step, self.batches.steps, warmup_share=config.warmup_share, schedule=config.schedule
        )
        self.optimisers.step(factor)
        width = self.alarm.observe(step, vectors)
        self.step += 1
        if self.is_due(_LOG_EVERY):
            values = {"loss": loss.item(), "gradient_norm": norm, "learning_rate": config.learning_rate * factor}
            self.tracker.log(self.step, {**values, "spread": width, "temperature": self.objective.temperature.item()})

    def choose_parts(self) -> None:
        """Freeze or train the word vectors, and skip or train the encoder, according to the step."""
        config, step = self.config, self.step
        never = config.frozen_steps < 0 or config.embedding_learning_rate == 0
        self.towers.freeze_embeddings(never or step < config.frozen_steps)
        self.towers.skip_encoder(step < round(config.residual_share * self.batches.steps))

    def evaluate(self) -> None:
        if self.data.validation is None:
            return
        measure = validate(self.towers, self.data.validation, self.device)
        self.curve.append((self.step, measure))
        self.tracker.log(self.step, {MEASURE: measure, **weights_of(dict(self.towers.named_parameters()))})
        if self.stopping.improves(self.step, measure):
            self.best = {name: tensor.detach().clone() for name, tensor in self.towers.state_dict().items()}

    def save(self, work: Path) -> None:
        best = {f"best.{name}": tensor for name, tensor in self.best.items()}
        model = {f"model.{name}": tensor for name, tensor in self.towers.state_dict().items()}
        objective = {f"objective.{name}": tensor for name, tensor in self.objective.state_dict().items()}
        generator = {"random": torch.get_rng_state()}
        progressed = Progressed(
            run=self.name,
            step=self.step,
            narrow_steps=self.alarm.narrow_steps,
            seconds=self.seconds,
            curve=self.curve,
        )
        save_state(work, progressed, best | model | objective | generator | self.optimisers.tensors())

    def restore(self, state: State) -> None:
        progressed, tensors = state.progressed, state.tensors
        self.step, self.curve, self.earlier_seconds = progressed.step, progressed.curve, progressed.seconds
        for step, measure in self.curve:
            self.stopping.improves(step, measure)
        self.alarm.narrow_steps = progressed.narrow_steps
        self.best = _under("best.", tensors)
        self.towers.load_state_dict(_under("model.", tensors))
        self.objective.load_state_dict(_under("objective.", tensors))
        self.optimisers.restore(tensors)
        torch.set_rng_state(tensors["random"])

    @property
    def seconds(self) -> float:
        return self.earlier_seconds + time.monotonic() - self.started

    def end(self) -> TrainReport:
        if self.best:
            self.towers.load_state_dict(self.best)
        self.towers.freeze_embeddings(False)
        self.towers.skip_encoder(False)
        self.towers.cpu().eval()
        measured = bool(self.curve)
        report = TrainReport(
            best_step=self.stopping.best_step if measured else self.step,
            best_measure=self.stopping.best if measured else math.nan,
            untrained_measure=self.curve[0][1] if measured else math.nan,
            curve=tuple(self.curve),
            steps=self.step,
            seconds=self.seconds,
            stopped_because="finished" if self.step >= self.batches.steps else "early stopping",
        )
        summary = {"best_step": report.best_step, f"best_{MEASURE}": report.best_measure}
        self.tracker.log(self.step, {**summary, "seconds": report.seconds, "stopped_because": report.stopped_because})
        return report


def _device(config: TrainConfig) -> torch.device:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device is 'cuda', and torch finds no GPU; install torch for CUDA, or use training.device=cpu"
        )
    return torch.device(config.device)


def _run_name(towers: TwoTower, data: TrainingData, config: TrainConfig) -> str:
    sha = hashlib.sha256(config.to_json() + towers.config.to_json() + str(towers.vocabulary_size).encode())
    sha.update(data.digest().encode())
    return sha.hexdigest()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _not_a_number(step: int, loss: float, norm: float, config: TrainConfig) -> str:
    return (
        f"step {step}: the loss is {loss:g} and the gradient's norm {norm:g}; training can't go on. Lower "
        f"training.learning_rate (it is {config.learning_rate:g}) or raise training.temperature (it is "
        f"{config.temperature:g})"
    )


@contextlib.contextmanager
def _own_threads_and_seed(config: TrainConfig) -> Iterator[None]:
    """Seed torch and set its number of threads for the run, and restore both afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads or threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Defer the first Ctrl-C, and yield a function that returns whether there was one; a second one acts at once.

    A deferred interrupt that the block did not handle is raised at its end.

    An interrupt inside an optimiser's step would leave half of the weights updated, and a run could not continue from
    that to the same result. Outside the main thread, to which Python delivers interrupts, this does nothing.
    """
    arrived = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield arrived.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        arrived.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield arrived.is_set
    finally:
        signal.signal(signal.SIGINT, before)
    if arrived.is_set():
        raise KeyboardInterrupt
