"""How much of the documents the towers read: long texts are cut for them, and some have no word that they know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from hybrid_search.errors import HybridSearchError
from hybrid_search.protocols import Engine
from hybrid_search.streams import in_document_batches
from hybrid_search.towers.tokenizer import UNK, TextTokenizer
from hybrid_search.types import Document

__all__ = ["ReadByTowers", "of_index", "read_by_towers"]

MOST = 50_000
"""Documents that are looked at; of a larger corpus the first."""

_OF_INDEX = 1_000
_BATCH = 1_024


@dataclass(frozen=True, slots=True)
class ReadByTowers:
    """What was seen of the first documents.

    :ivar documents: looked at.
    :ivar longest: tokens that the document tower reads of one.
    :ivar cut: documents that have more.
    :ivar unknown: documents without a word or piece that the towers know: they have no vector.
    """

    documents: int
    longest: int
    cut: int
    unknown: int

    def notes(self) -> list[str]:
        """Say what a person should know."""
        notes, of_those = [], f"of {self.documents:,} documents"
        if self.cut:
            notes.append(
                f"{self.cut:,} {of_those} have more than the {self.longest} tokens that the towers read; what comes "
                "after these is found by BM25 alone"
            )
        if self.unknown:
            alone = "searching is by BM25 alone" if self.unknown == self.documents else "they are found by BM25 alone"
            notes.append(f"the towers know no word of {self.unknown:,} {of_those}; {alone}")
        return notes


def read_by_towers(documents: Iterable[Document], tokenizer: TextTokenizer, longest: int) -> ReadByTowers:
    """Count over the first :data:`MOST` documents.

    :param longest: tokens that the document tower reads.
    """
    seen = cut = unknown = 0
    for batch in in_document_batches(islice(documents, MOST), _BATCH):
        seen += len(batch)
        for ids in tokenizer.encode([document.searchable_text for document in batch], longest + 1):
            cut += len(ids) > longest
            unknown += not (ids[:longest] > UNK).any()
    return ReadByTowers(seen, longest, cut, unknown)


def of_index(engine: Engine) -> dict[str, Any]:
    """Count over the first thousand documents of an index, for people; empty without towers that can be read."""
    from hybrid_search.towers.model_card import read_model_card

    try:
        folder = engine.model_folder()
        if folder is None:
            return {}
        tokenizer = TextTokenizer.from_file(folder / "tokenizer.json")
        longest = read_model_card(folder).tower.max_document_tokens
    except HybridSearchError:  # `info --verify` and every search say what is wrong with them
        return {}
    return {"read_by_towers": asdict(read_by_towers(islice(engine.documents(), _OF_INDEX), tokenizer, longest))}
