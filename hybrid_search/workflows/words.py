"""How the towers' tokenizer cuts a text: its length, and how much of it the vocabulary lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hybrid_search.towers.tokenizer import TextTokenizer

__all__ = ["Words"]

_WHOLE = 1 << 30
_PIECE = "##"


@dataclass(frozen=True, slots=True)
class Words:
    """Measures texts.

    :ivar tokenizer: None for an index without towers, whose texts are measured in words that white space parts.
    :ivar goes_on: (vocabulary,) whether a token goes on with a word that another one began.
    :ivar longest: tokens that the document tower reads.
    """

    tokenizer: TextTokenizer | None
    goes_on: NDArray[np.bool_]
    longest: int

    @classmethod
    def of(cls, folder: Path | None) -> Self:
        """Read the tokenizer of a checkpoint, or of the copy that an index carries."""
        if folder is None:
            return cls(None, np.zeros(0, bool), _WHOLE)
        from hybrid_search.towers.model_card import read_model_card
        from hybrid_search.towers.tokenizer import TextTokenizer

        longest = read_model_card(folder).tower.max_document_tokens
        return cls.with_tokenizer(TextTokenizer.from_file(folder / "tokenizer.json"), longest)

    @classmethod
    def with_tokenizer(cls, tokenizer: TextTokenizer, longest: int) -> Self:
        """Measure as a tokenizer cuts.

        :param longest: tokens that the document tower reads.
        """
        goes_on = np.array([token.startswith(_PIECE) for token in tokenizer.tokens()])
        return cls(tokenizer, goes_on, longest)

    def measure(self, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Measure each text.

        ``out_of_vocabulary`` is the share of words that the vocabulary does not have whole: they are cut into pieces,
        or, where no pieces fit, ``unknown`` (a part of them).
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
