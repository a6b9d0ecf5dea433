"""Documents that can be told apart, good and bad ones, and the comparison of an index with what was to be loaded."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from asked import by_text, by_vector
from conftest import TOPICS

from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.protocols import Encoder
from hybrid_search.types import Document

__all__ = ["BAD_LINES", "Corpus", "assert_holds", "made_documents", "write_corpus"]

WORDS = sorted({word for phrases in TOPICS.values() for phrase in phrases for word in phrase.split()})
"""The model of the ``home`` fixture knows them, so that texts of different words have different vectors."""

BAD_LINES = {
    "a number that is a word": '{"id": "bad-%d", "text": "the sea", "metadata": {"year": "long ago"}}',
    "an id of 600 bytes": '{"id": "bad-%d-' + "x" * 600 + '", "text": "the sea"}',
    "not a number": '{"id": "bad-%d", "text": "the sea", "metadata": {"weight": NaN}}',
    "a word of 40,000 letters": '{"id": "bad-%d", "text": "' + "x" * 40_000 + '"}',
    "no text": '{"id": "bad-%d"}',
    "a text that is none": '{"id": "bad-%d", "text": ["the sea"]}',
    "cut off": '{"id": "bad-%d", "text": "the s',
}
"""What may be wrong with a line; the loader, the engine and the server each find some of these."""


@dataclass(frozen=True)
class Corpus:
    """A file of documents and what is in it.

    :ivar bad: 1-based lines of the records that can't be taken.
    """

    file: Path
    documents: list[Document]
    bad: list[int]


def made_documents(count: int, *, seed: int = 0) -> list[Document]:
    """Make documents of known words, each with a word of its own."""
    drawn = random.Random(seed)
    return [
        Document(
            f"doc-{number:05}",
            f"{' '.join(drawn.choices(WORDS, k=12))} n{number:05}",
            title=drawn.choice(["", *TOPICS]),
            metadata={"topic": drawn.choice(list(TOPICS)), "year": drawn.randrange(1900, 2030)},
        )
        for number in range(count)
    ]


def write_corpus(file: Path, documents: Sequence[Document], *, bad: int = 0) -> Corpus:
    """Write documents as the jsonl loader takes them, with so many bad lines among them, at even distances."""
    lines = [json.dumps(_record(document)) for document in documents]
    kinds = list(BAD_LINES.values())
    step = len(lines) // (bad + 1)
    for number in range(bad):
        # The line before a bad one declares its fields.
        lines.insert((number + 1) * step + number, kinds[number % len(kinds)].replace("%d", str(number)))
    file.write_text("".join(f"{line}\n" for line in lines))
    return Corpus(file, list(documents), [(number + 1) * step + number + 1 for number in range(bad)])


def _record(document: Document) -> dict[str, object]:
    return {"id": document.id, "title": document.title, "text": document.text, "metadata": dict(document.metadata)}


def assert_holds(location: str, documents: Iterable[Document], encoder: Encoder, *, sample: int = 100) -> None:
    """Compare all ids, texts, metadata and vectors with the source, and find a sample of them in both legs, once."""
    wanted = {document.id: document for document in documents}
    with OpenSearchEngine.open(location) as engine:
        stored = list(engine.documents())
        assert len(stored) == len({document.id for document in stored}), "a document is there twice"
        assert {document.id: document for document in stored} == wanted
        assert engine.count() == engine.stats()["vectors"] == len(wanted)
        vectors = engine.vectors(list(wanted))
        expected = encoder.encode_documents([document.searchable_text for document in wanted.values()])
        np.testing.assert_allclose([vectors[id] for id in wanted], expected, atol=1e-5)
        places = random.Random(len(wanted)).sample(range(len(wanted)), min(sample, len(wanted)))
        ids = [list(wanted)[place] for place in places]
        own_words = [wanted[id].text.rsplit(" ", 1)[1] for id in ids]
        assert [ranking.ids for ranking in by_text(engine, own_words, 10)] == [(id,) for id in ids]
        near = by_vector(engine, expected[places], 100)
        assert [id for id, ranking in zip(ids, near, strict=True) if ranking.ids.count(id) != 1] == []
