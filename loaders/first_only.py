"""Keeps the first record of each id: equal copies are counted, differing ones rejected."""

from __future__ import annotations

from collections import Counter

from hybrid_search.loaders.intake import Reject
from hybrid_search.loaders.lines import Line
from hybrid_search.loaders.seen import Seen

__all__ = ["FirstOnly"]


class FirstOnly:
    """Keeps the first record of each id; counts equal copies and rejects records with the same id and other content.

    :param counts: gets ``kind`` for each record that passes and ``duplicate_<kind>`` for each copy.
    """

    def __init__(self, kind: str, counts: Counter[str], reject: Reject) -> None:
        self._kind = kind
        self._counts = counts
        self._reject = reject
        self._seen = Seen()

    def passes(self, line: Line, id: str, content: str, advice: str = "") -> bool:
        """Return whether this record is the first with its id.

        :param advice: what to do about another with other content, for the reason of its rejection.
        """
        verdict = self._seen.add(id, content)
        if verdict == "other":
            self._reject(
                line.rejected("id", "the id was seen before with other content; the first record stays" + advice)
            )
            return False
        self._counts[self._kind if verdict == "new" else f"duplicate_{self._kind}"] += 1
        return verdict == "new"
