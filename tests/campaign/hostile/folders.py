"""An index folder, or a checkpoint, of somebody hostile."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import hybrid_search
from campaign.attack import Attempt, Bench, Outcome
from campaign.hostile.sandbox import Sandbox, attempted
from campaign.hostile.tricks import FOLDER_TRICKS, MODEL_TRICKS
from campaign.seam.folders import copied
from campaign.seam.forge import forge
from campaign.seam.models import WORDS, small_model
from hybrid_search import Document
from hybrid_search.loading.sources import Corpus

__all__ = ["HostileFolder", "HostileModel"]

Trick = Callable[[Sandbox, random.Random], str]


class _Hostile(ABC):
    """Tricks in turn, each with what is drawn for the trial."""

    name: str
    tricks: Sequence[Trick]
    actions: Sequence[str]

    @abstractmethod
    def source(self, bench: Bench) -> Path:
        """Make what is spoilt."""

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        source = self.source(bench)

        def attempt(trial: int) -> Outcome:
            rng = random.Random(bench.draw(trial))
            trick, action = self.tricks[trial % len(self.tricks)], rng.choice(self.actions)
            root = bench.folder / f"t{trial}"
            where = f"seed {bench.seed}, trial {trial}"
            return attempted(forge(), root, source, trick, rng, action, bench.planted, where)

        yield attempt


class HostileFolder(_Hostile):
    """An index in a folder."""

    name, unit, wanted, short, needs_server = "hostile-folder", "places", 900, 19, False
    tricks, actions = FOLDER_TRICKS, ("search", "write", "verify", "repair", "all")
    planted: ClassVar[Mapping[str, str]] = {
        "links-followed": "links in an index are followed",
        "error-let-through": "a manifest that can't be read is not caught",
    }

    def source(self, bench: Bench) -> Path:
        folder = bench.folder / "source"
        documents = [
            Document(f"d{number}", f"{word} {WORDS[number - 1]} stone", metadata={"year": 1990 + number, "tag": word})
            for number, word in enumerate(WORDS[:20])
        ]
        hybrid_search.load(Corpus("words", lambda: iter(documents)), folder, model=small_model())
        with hybrid_search.open(folder, writable=True) as retriever:
            retriever.delete(["d3"])
        return folder


class HostileModel(_Hostile):
    """A checkpoint."""

    name, unit, wanted, short, needs_server = "hostile-model", "places", 300, 12, False
    tricks, actions = MODEL_TRICKS, ("model",)
    planted: ClassVar[Mapping[str, str]] = {"sizes-believed": "a file of a model may have any size"}

    def source(self, bench: Bench) -> Path:
        folder = bench.folder / "source"
        copied(small_model(), folder)
        return folder
