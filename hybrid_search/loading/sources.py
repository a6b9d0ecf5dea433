"""Documents that come from something other than a loader, as a data set."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

from hybrid_search.types import Document, Example, Judgement, Query

__all__ = ["Corpus", "Reservoir"]


class Corpus:
    """Documents alone, as a :class:`~hybrid_search.protocols.Dataset` without queries.

    :param documents: begins the stream; called once a pass.
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
    """Keeps a sample of the documents of a stream, each as likely as every other.

    :ivar sample: those kept, of the last pass.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.sample: list[Document] = []
        self._size = size
        self._seed = seed

    def watching(self, documents: Callable[[], Iterator[Document]]) -> Callable[[], Iterator[Document]]:
        """Return a stream of the same documents, out of which the sample is taken as they go by."""

        def stream() -> Iterator[Document]:
            draw = random.Random(self._seed)
            self.sample = sample = []
            for seen, document in enumerate(documents()):
                if seen < self._size:
                    sample.append(document)
                elif (place := draw.randrange(seen + 1)) < self._size:
                    sample[place] = document
                yield document

        return stream
