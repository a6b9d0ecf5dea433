"""The interface of a data set, and what the built-in ones share.

``Dataset`` repeats ``hybrid_search.protocols.Dataset``: loaders import only the library's records and errors, so that a
loader can be written, tested and shipped without its engines. A test keeps both equal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from hybrid_search.errors import UsageError
from hybrid_search.types import Document, Example, Judgement, Query

__all__ = ["BaseDataset", "Dataset", "not_read", "order_splits"]

_NOT_READ = {
    "not_read_hidden": "hidden",
    "not_read_links": "symbolic links",
    "not_read_assets": "pictures, styles and scripts",
    "not_read_binary": "binary",
    "not_read_data": "JSON without a text",
    "not_read_empty": "empty",
    "not_read_special": "pipes and devices",
    "not_read_folders": "folders that may not be read",
}

_SPLIT_ORDER = ("train", "dev", "validation", "test")


class Dataset(Protocol):
    """Documents, and in some data sets queries, judgements and training examples."""

    @property
    def name(self) -> str:
        """The loader's name."""

    def documents(self) -> Iterator[Document]:
        """Stream the corpus, each document once."""

    def splits(self) -> tuple[str, ...]:
        """Splits that have queries, training first."""

    def judgement_sets(self) -> tuple[str, ...]:
        """Names of the judgement sets, the default one first."""

    def queries(self, split: str) -> Iterator[Query]:
        """Stream a split's queries."""

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        """Stream a split's judgements, of the default set unless another is named."""

    def examples(self, split: str) -> Iterator[Example]:
        """Stream the training examples that the data set provides; empty if it has none."""

    def report(self) -> Mapping[str, int]:
        """Counts made while reading so far: name -> count."""


class BaseDataset(ABC):
    """Base of the built-in data sets: one judgement set, no examples, counting, checks of split names."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._passes: dict[str, Counter[str]] = {}

    @property
    def name(self) -> str:
        """The loader's name."""
        return self._name

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Stream the corpus, each document once."""

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Splits that have queries, training first."""

    @abstractmethod
    def queries(self, split: str) -> Iterator[Query]:
        """Stream a split's queries.

        :raises UsageError: if there is no such split.
        """

    @abstractmethod
    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        """Stream a split's judgements, of the default set unless another is named.

        :raises UsageError: if there is no such split or set.
        """

    def judgement_sets(self) -> tuple[str, ...]:
        """Names of the judgement sets, the default one first."""
        return ("qrels",)

    def examples(self, split: str) -> Iterator[Example]:
        """Stream the training examples that the data set provides; none here.

        :raises UsageError: if there is no such split.
        """
        self._check_split(split)
        return iter(())

    def report(self) -> Mapping[str, int]:
        """Counts of the latest pass over each part: name -> count."""
        total: Counter[str] = Counter()
        for counts in self._passes.values():
            total.update(counts)
        return dict(total)

    def _start_pass(self, part: str) -> Counter[str]:
        # Counts start again with each pass, so that reading a part twice does not double them.
        counts = self._passes[part] = Counter()
        return counts

    def _check_split(self, split: str) -> None:
        if split not in self.splits():
            known = ", ".join(self.splits()) or "none"
            raise UsageError(f"{self.name} has no split {split!r}; it has: {known}")

    def _check_judgement_set(self, judgement_set: str) -> str:
        if judgement_set and judgement_set not in self.judgement_sets():
            known = ", ".join(self.judgement_sets())
            raise UsageError(f"{self.name} has no judgement set {judgement_set!r}; it has: {known}")
        return judgement_set or self.judgement_sets()[0]


def order_splits(splits: Iterable[str]) -> tuple[str, ...]:
    """Order splits: train, dev, validation, test, then any others by name; each once."""

    def rank(split: str) -> tuple[int, str]:
        return (_SPLIT_ORDER.index(split) if split in _SPLIT_ORDER else len(_SPLIT_ORDER), split)

    return tuple(sorted(set(splits), key=rank))


def not_read(counts: Mapping[str, int]) -> str:
    """Say which files a data set passed over and how many, by its report; empty if there were none."""
    return ", ".join(f"{what}: {counts[name]:,}" for name, what in _NOT_READ.items() if counts.get(name))
