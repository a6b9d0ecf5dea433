"""What a training takes over from the model that it starts from.

The vocabulary, the networks and their settings are the model's. Of the queries that it has seen, those that it was
trained on are no validation queries of the new run, and those that it was validated on are not trained on, so that
figures of both can be believed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from hybrid_search.errors import ConfigError, CorruptModel, UsageError, shown
from hybrid_search.settings.training import TowerConfig, TrainConfig
from hybrid_search.storage import disk_errors
from hybrid_search.streams import in_document_batches
from hybrid_search.towers.coverage import Words
from hybrid_search.towers.model_card import RECORD_FILE, UNTRAINED_FILE, ModelCard, read_model_card, verify_files
from hybrid_search.towers.shipped import default_model, located, name_of
from hybrid_search.towers.tokenizer import TextTokenizer
from hybrid_search.training.recipes import DEFAULT, RECIPES, Recipe, TrainSettings
from hybrid_search.training.request import DEFAULT_START, DataSource, TrainRequest
from hybrid_search.types import Document

__all__ = ["ADAPT_RATES", "ADAPT_STEPS", "RATE", "KnownQueries", "Start", "settled", "told_of_words", "why_fixed"]

RATE = 0.3
"""Factor for learning rates: large steps harm towers that are already trained."""

ADAPT_STEPS, ADAPT_RATES = 600, {"learning_rate": 2e-3, "embedding_learning_rate": 1e-2}
"""What a run does with the networks held; measured in docs/en.md."""

_FREE = ("dropout", "max_query_tokens", "max_document_tokens", "adapted")
"""Settings of towers that shape no weight that there is already."""

_TAKEN_OVER = ("vocabulary", "min_frequency", "word_vectors", "residual_share")
"""Settings of a training that a start decides: towers that are trained are never run without their encoder."""

_OF_WHOLE_STEPS = (
    "batch_size", "epochs", "frozen_steps", "hard_negatives", "queue", "learn_temperature", "self_supervised", "device",
)  # fmt: skip
"""Settings of steps that train all of the towers: whoever gives one of them asks for such steps."""

_MEASURED, _BATCH = 10_000, 1_024
_MANY_IN_PIECES, _MANY_UNKNOWN = 0.15, 0.02


@dataclass(frozen=True, slots=True)
class KnownQueries:
    """The queries that a model and those before it have seen, as :func:`~hybrid_search.types.text_hash`."""

    trained: frozenset[str] = frozenset()
    held_out: frozenset[str] = frozenset()

    def arrays(self) -> dict[str, NDArray[np.uint64]]:
        """Return them as sorted 64-bit numbers, by name."""
        named = {"trained": self.trained, "held_out": self.held_out}
        return {name: np.array(sorted(int(one, 16) for one in ones), np.uint64) for name, ones in named.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read what :meth:`arrays` gave; a missing array is empty."""
        read = {name: [f"{one:016x}" for one in arrays.get(name, np.zeros(0, np.uint64)).tolist()] for name in
                ("trained", "held_out")}  # fmt: skip
        return cls(**{name: frozenset(ones) for name, ones in read.items()})


class _Report(msgspec.Struct, frozen=True):
    """The part of ``training.json`` that matters here; older models lack some of it."""

    split: str = ""
    data_set: DataSource | None = None
    teacher: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """A model to start from.

    :ivar known: the queries that it has seen.
    :ivar split: of the data set that it was trained on.
    :ivar source: that data set; None if it is not known.
    :ivar teacher: the teacher whose axes it has, empty for none.
    :ivar axes: (D, dimension) float32, how that teacher's vectors became the towers' targets.
    """

    folder: Path
    card: ModelCard
    known: KnownQueries
    split: str
    source: DataSource | None
    teacher: str = ""
    axes: NDArray[np.float32] | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a checkpoint, and verify its files.

        :raises ModelNotFound: if there is no checkpoint.
        :raises CorruptModel: if a file is missing or changed.
        """
        card = read_model_card(folder)
        verify_files(folder, card, card.files)
        report, arrays = _Report(), dict[str, NDArray[Any]]()
        with contextlib.suppress(msgspec.MsgspecError, RecursionError), disk_errors(f"reading {folder}"):
            report = msgspec.json.decode((folder / "training.json").read_bytes(), type=_Report)
        if RECORD_FILE in card.files:
            try:
                arrays = load_file(folder / RECORD_FILE)
            except SafetensorError as error:
                raise CorruptModel(f"{folder / RECORD_FILE} is not readable: {error}; train again") from error
        return cls(
            folder, card, KnownQueries.of(arrays), report.split, report.data_set, report.teacher, arrays.get("axes")
        )

    @property
    def name(self) -> str:
        """What to call the model."""
        return name_of(self.folder)

    @property
    def untrained(self) -> Path | None:
        """The file of the word vectors before training; None for a model without one."""
        return self.folder / UNTRAINED_FILE if UNTRAINED_FILE in self.card.files else None

    @property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer."""
        return TextTokenizer.from_file(self.folder / "tokenizer.json")

    def axes_of(self, teacher: str) -> NDArray[np.float32] | None:
        """Return the axes that the towers learnt this teacher's vectors in; None if they did not."""
        return self.axes if teacher == self.teacher else None

    def settings(self, recipe: Recipe, *given: Mapping[str, Mapping[str, Any]]) -> TrainSettings:
        """Return the settings of a run from here: the model's towers, a recipe's training with the networks held.

        Where that is not possible, or ``training.adapt_steps`` is 0, all of the towers are trained, at lower rates.

        :param given: settings in a file's form (``towers``, ``training``), which win over the recipe.
        :raises ConfigError: if one of them contradicts the model.
        """
        asked = dict[str, dict[str, Any]](towers={}, training={})
        for one in given:
            for kind in asked:
                asked[kind] |= one.get(kind, {})
        if fixed := [name for name in _TAKEN_OVER if name in asked["training"]]:
            raise ConfigError(
                f"training.{fixed[0]} is {shown(asked['training'][fixed[0]])}, and a run that starts from a model "
                f"takes that from {self.name}; leave it out"
            )
        _, training = recipe.joined_with(*given)
        steps = asked["training"].get("adapt_steps", self._adapt_steps(asked["training"], training))
        rates = ADAPT_RATES if steps else {
            name: RATE * recipe.training.get(name, getattr(TrainConfig(), name)) for name in ADAPT_RATES
        }  # fmt: skip
        training |= {name: rate for name, rate in rates.items() if name not in asked["training"]}
        training |= {"residual_share": 0.0, "adapt_steps": steps}
        if steps and "evaluate_every" not in asked["training"]:
            training["evaluate_every"] = ADAPT_STEPS // 4
        towers = msgspec.to_builtins(self.card.tower) | asked["towers"]
        settings = TrainSettings.from_mapping({"towers": towers, "training": training}, source="settings")
        self.check_towers(settings.towers)
        is_adapted = self.card.tower.adapted or bool(steps)
        return settings.replace(towers=settings.towers.replace(adapted=is_adapted))

    def _adapt_steps(self, asked: Mapping[str, Any], training: Mapping[str, Any]) -> int:
        """Return the steps with the networks held; 0 if they can't be, or others are asked for."""
        loss = training.get("loss", TrainConfig().loss)
        is_whole = loss not in ("infonce", "align") or any(name in asked for name in _OF_WHOLE_STEPS)
        return ADAPT_STEPS if self.card.tower.can_adapt and not is_whole else 0

    def check_out(self, out: Path) -> None:
        """Refuse to write the new model in the old one's place, which is needed until the end."""
        if out.resolve() == self.folder.resolve():
            raise UsageError(f"{out} is the model to start from; give another `out` for the new one")

    def check_towers(self, towers: TowerConfig) -> None:
        """Compare settings with the model's.

        :raises ConfigError: if one of them differs that shapes a weight or the space of the vectors.
        """
        own = msgspec.to_builtins(self.card.tower)
        for name, value in msgspec.to_builtins(towers).items():
            if name not in _FREE and value != own[name]:
                raise ConfigError(
                    f"towers.{name} is {shown(value)}, and {self.name}, which the run starts from, has "
                    f"{shown(own[name])}; leave it out, or train without a start"
                )


def settled(request: TrainRequest) -> tuple[Start | None, TowerConfig, TrainConfig]:
    """Return the model that a request starts from (None for new towers), and all of its settings.

    :raises ModelNotFound: if there is no such model.
    :raises ConfigError: if the request has other towers than the model.
    """
    folder = _folder(request)
    if folder is None:
        usual = RECIPES[DEFAULT].settings()
        if request.config and request.config.adapt_steps:
            raise ConfigError(f"training.adapt_steps is {request.config.adapt_steps}, and there is no model to adapt")
        return None, request.towers or usual.towers, request.config or usual.training
    start = Start.read(folder)
    own = start.settings(RECIPES[DEFAULT])
    towers, config = request.towers or own.towers, request.config or own.training
    start.check_towers(towers)
    towers = towers.replace(adapted=start.card.tower.adapted or bool(config.adapt_steps))
    return start, towers, config.replace(residual_share=0.0)


def why_fixed(name: str, start: Start | None, config: TrainConfig) -> str:
    """Return why a setting can't vary between runs that go on from a model; empty if it can.

    :param name: as ``hybrid-search settings`` lists it.
    """
    section, _, rest = name.partition(".")
    first = rest.partition(".")[0]
    if start is None:
        return ""
    if (section == "towers" and first not in _FREE[:-1]) or (section == "training" and first in _TAKEN_OVER):
        return f"the runs take that from {start.name}; leave it out, or begin with new towers (no start)"
    if section == "training" and config.adapt_steps and first in _OF_WHOLE_STEPS:
        return "steps with the networks held do not have it; give training.adapt_steps=0, or leave it out"
    return ""


def _folder(request: TrainRequest) -> Path | None:
    if request.start == DEFAULT_START:
        return default_model() if request.towers is None and request.config is None else None
    return None if request.start is None else located(Path(request.start))


def told_of_words(tokenizer: TextTokenizer, documents: Iterable[Document]) -> str:
    """Say how many words of a corpus (its first 10,000 documents) a model's vocabulary has."""
    words = in_pieces = unknown = 0.0
    for figures in _measured(Words.with_tokenizer(tokenizer, 1), islice(documents, _MEASURED)):
        words += figures["words"]
        unknown += figures.get("unknown", 0) * figures["words"]
        in_pieces += (figures.get("out_of_vocabulary", 0) - figures.get("unknown", 0)) * figures["words"]
    if not words:
        return "the corpus has no words"
    shares = in_pieces / words, unknown / words
    text = f"of the corpus's words the model's vocabulary lacks {sum(shares):.1%}"
    text += f": {shares[0]:.1%} are read in pieces, {shares[1]:.1%} not at all"
    if shares[0] > _MANY_IN_PIECES or shares[1] > _MANY_UNKNOWN:
        text += "; that is much: compare with a model that is trained without a start, which learns these words whole"
    return text


def _measured(words: Words, documents: Iterator[Document]) -> Iterator[Mapping[str, Any]]:
    for batch in in_document_batches(documents, _BATCH):
        texts: Sequence[str] = [document.searchable_text for document in batch]
        yield from words.measure(texts)
