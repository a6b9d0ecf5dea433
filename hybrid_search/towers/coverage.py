"""How much of a text the towers read: its length in tokens, what is cut off, and which words the vocabulary lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hybrid_search.errors import HybridSearchError
from hybrid_search.passages import Pieces
from hybrid_search.protocols import Engine
from hybrid_search.streams import in_document_batches
from hybrid_search.towers.tokenizer import UNK, TextTokenizer
from hybrid_search.types import Document

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hybrid_search.towers.tokenizer import TextTokenizer

__all__ = ["MOSTLY", "ReadByTowers", "Words", "of_index", "pieces_of", "read_by_towers", "unlike_words"]


MOSTLY = 0.4
"""From this share of words on that towers don't have as a whole, texts are ids, or in a language they don't know."""

_WHOLE = 1 << 30
_COUNTED = 1 << 14
"""Tokens of a text that are counted to cut it: more than any passage has, and few enough to be held."""
_PIECE = "##"


@dataclass(frozen=True, slots=True)
class Words:
    """Measures the length of texts and how well the vocabulary covers them.

    :ivar tokenizer: None for an index without towers; its texts are measured in words separated by white space.
    :ivar goes_on: (vocabulary,) whether a token continues a word.
    :ivar longest: number of tokens that the document tower reads.
    """

    tokenizer: TextTokenizer | None
    goes_on: NDArray[np.bool_]
    longest: int

    @classmethod
    def of(cls, folder: Path | None) -> Self:
        """Read the tokenizer of a checkpoint, or of the copy in an index."""
        if folder is None:
            return cls(None, np.zeros(0, bool), _WHOLE)
        from hybrid_search.towers.model_card import read_model_card
        from hybrid_search.towers.tokenizer import TextTokenizer

        longest = read_model_card(folder).tower.max_document_tokens
        return cls.with_tokenizer(TextTokenizer.from_file(folder / "tokenizer.json"), longest)

    @classmethod
    def with_tokenizer(cls, tokenizer: TextTokenizer, longest: int) -> Self:
        """Measure with a tokenizer.

        :param longest: number of tokens that the document tower reads.
        """
        goes_on = np.array([token.startswith(_PIECE) for token in tokenizer.tokens()])
        return cls(tokenizer, goes_on, longest)

    def measure(self, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the measures of each text.

        ``out_of_vocabulary`` is the share of words that are not in the vocabulary as a whole: they are split into
        pieces or, if no pieces fit, are ``unknown`` (a share included in the former).
        """
        if self.tokenizer is None:
            for text in texts:
                yield {"tokens": len(text.split()), "words": len(text.split()), "cut": False}
            return
        for ids in self.tokenizer.encode(texts, _WHOLE):
            yield self._of(ids)

    def _of(self, ids: NDArray[np.int32]) -> dict[str, Any]:
        from hybrid_search.towers.tokenizer import UNK

        goes_on = self.goes_on[ids]
        words = int(np.count_nonzero(~goes_on))
        in_pieces = int(np.count_nonzero(~goes_on[:-1] & goes_on[1:]))
        unknown = int(np.count_nonzero(ids == UNK))
        figures: dict[str, Any] = {"tokens": len(ids), "words": words, "cut": len(ids) > self.longest}
        if words:
            figures |= {"out_of_vocabulary": (in_pieces + unknown) / words, "unknown": unknown / words}
        return figures


MOST = 50_000
"""Number of documents that are measured; the first ones of a larger corpus."""

_OF_INDEX = 1_000
_BATCH = 1_024


@dataclass(frozen=True, slots=True)
class ReadByTowers:
    """Counts over the first documents of a corpus.

    :ivar documents: number of documents measured.
    :ivar longest: number of tokens that the document tower reads.
    :ivar cut: number of documents with more tokens.
    :ivar unknown: number of documents without any known token, which have no vector.
    """

    documents: int
    longest: int
    cut: int
    unknown: int

    def notes(self) -> list[str]:
        """Return warnings for the user."""
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

    :param longest: number of tokens that the document tower reads.
    """
    seen = cut = unknown = 0
    for batch in in_document_batches(islice(documents, MOST), _BATCH):
        seen += len(batch)
        for ids in tokenizer.encode([document.searchable_text for document in batch], longest + 1):
            cut += len(ids) > longest
            unknown += not (ids[:longest] > UNK).any()
    return ReadByTowers(seen, longest, cut, unknown)


def pieces_of(model: Path | str) -> Pieces:
    """Return how a checkpoint's towers read a text, for loaders that cut documents into passages.

    :raises ModelNotFound: if there is no checkpoint.
    :raises CorruptModel: if it can't be read.
    """
    from hybrid_search.towers.model_card import read_model_card

    longest = read_model_card(Path(model)).tower.max_document_tokens
    tokenizer = TextTokenizer.from_file(Path(model) / "tokenizer.json")
    return Pieces(lambda text: len(tokenizer.encode([text], _COUNTED)[0]), longest)


def of_index(engine: Engine) -> dict[str, Any]:
    """Count over the first thousand documents of an index, for display; empty if there are no readable towers."""
    from hybrid_search.towers.model_card import read_model_card

    try:
        folder = engine.model_folder()
        if folder is None:
            return {}
        tokenizer = TextTokenizer.from_file(folder / "tokenizer.json")
        longest = read_model_card(folder).tower.max_document_tokens
    except HybridSearchError:  # reported by `info --verify` and every search
        return {}
    return {"read_by_towers": asdict(read_by_towers(islice(engine.documents(), _OF_INDEX), tokenizer, longest))}


def unlike_words(words: Words, texts: Sequence[str]) -> tuple[float, float]:
    """Return which share of the texts' words the towers read in pieces, and of which they know none; 0 of no words."""
    measured = [figures for figures in words.measure(texts) if figures["words"]]
    total: int = sum(figures["words"] for figures in measured)
    lacking, unknown = (
        sum(figures.get(name, 0.0) * figures["words"] for figures in measured) / max(1, total)
        for name in ("out_of_vocabulary", "unknown")
    )
    return lacking - unknown, unknown
