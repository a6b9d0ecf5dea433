"""What the legs contributed to a page of hits, worked out when somebody looks: most who search never do. Pure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from hybrid_search.config import Fusion
from hybrid_search.fusion import explain
from hybrid_search.types import Leg, Ranking

__all__ = ["LegsOfHit", "LegsOfPage"]


class LegsOfPage:
    """The explanations of all hits of a page.

    :param read: decodes each leg's ranking, BM25's and the k-NN leg's; called at the first look.
    :param ids: of the hits.
    """

    def __init__(self, read: Sequence[Callable[[], Ranking]], fusion: Fusion, ids: Sequence[str]) -> None:
        self._read = read
        self._fusion = fusion
        self._ids = ids
        self._told: Mapping[str, Mapping[str, Leg]] | None = None
        self._guard = threading.Lock()

    @property
    def by_id(self) -> Mapping[str, Mapping[str, Leg]]:
        """Id -> leg -> contribution."""
        with self._guard:
            if self._told is None:
                bm25, knn = (*(read() for read in self._read), Ranking((), ()), Ranking((), ()))[:2]
                self._told = explain(bm25, knn, self._fusion, self._ids)
                self._read = ()  # lets go of the answer
            return self._told


class LegsOfHit(Mapping[str, Leg]):
    """One hit's; equal to any mapping with the same content, and copied or pickled as a dict."""

    __slots__ = ("_id", "_page")

    def __init__(self, page: LegsOfPage, id: str) -> None:
        self._page = page
        self._id = id

    def __getitem__(self, leg: str) -> Leg:
        return self._page.by_id[self._id][leg]

    def __iter__(self) -> Iterator[str]:
        return iter(self._page.by_id[self._id])

    def __len__(self) -> int:
        return len(self._page.by_id[self._id])

    def __reduce__(self) -> tuple[type[dict[str, Leg]], tuple[dict[str, Leg]]]:
        return dict, (dict(self),)

    def __repr__(self) -> str:
        return repr(dict(self))
