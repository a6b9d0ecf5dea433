"""Data sets of documents that don't come from a loader."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from hybrid_search.settings.index import FieldType
from hybrid_search.types import Document, Example, Judgement, MetadataValue, Query

__all__ = ["Corpus", "Reservoir", "in_types"]


def in_types(documents: Iterator[Document], types: Mapping[str, FieldType]) -> Iterator[Document]:
    """Yield documents with values of metadata read as the types that were declared; what can't be read stays.

    Sources differ: a table's numbers are texts, a front matter's are numbers.
    """
    for document in documents:
        if not (types and isinstance(document.metadata, Mapping)):
            yield document
            continue
        read = {
            name: _in_type(value, types[name])
            for name, value in document.metadata.items()
            if name in types and not isinstance(value, tuple)
        }
        yield replace(document, metadata={**document.metadata, **read}) if read else document


def _in_type(value: MetadataValue, kind: FieldType) -> MetadataValue:
    if kind == "keyword" and isinstance(value, bool):
        return str(value).lower()
    if kind == "keyword":
        return value if isinstance(value, tuple) else str(value)
    if not isinstance(value, str):
        return value
    if kind == "boolean":
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    try:
        return int(value) if kind == "long" else float(value) if kind == "double" else value
    except ValueError:
        return value


class Corpus:
    """A :class:`~hybrid_search.protocols.Dataset` with documents only.

    :param documents: starts the stream; called once for each pass.
    """

    def __init__(
        self,
        name: str,
        documents: Callable[[], Iterator[Document]],
        report: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self.name = name
        self.documents = documents
        self.report = report

    def splits(self) -> tuple[str, ...]:
        """There are none."""
        return ()

    def judgement_sets(self) -> tuple[str, ...]:
        """There are none."""
        return ()

    def queries(self, split: str) -> Iterator[Query]:
        """There are none."""
        return iter(())

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        """There are none."""
        return iter(())

    def examples(self, split: str) -> Iterator[Example]:
        """There are none."""
        return iter(())


class Reservoir:
    """Keeps a uniform sample of the documents of a stream.

    :ivar sample: the sample of the last pass.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.sample: list[Document] = []
        self._size = size
        self._seed = seed

    def watching(self, documents: Callable[[], Iterator[Document]]) -> Callable[[], Iterator[Document]]:
        """Return a stream of the same documents, which are sampled as they are read."""

        def stream() -> Iterator[Document]:
            draw = random.Random(self._seed)
            self.sample = sample = []
            for seen, document in enumerate(documents()):
                if seen < self._size:
                    sample.append(document)
                elif (slot := draw.randrange(seen + 1)) < self._size:
                    sample[slot] = document
                yield document

        return stream
