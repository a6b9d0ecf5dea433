"""What the legs contributed to a page of hits; computed on first access, as most callers don't read it. Pure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from hybrid_search.engines.opensearch.search.answers import UNKNOWN
from hybrid_search.fusion import explain, fuse
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Hit, Leg, Ranking

__all__ = ["LegsOfHit", "LegsOfPage", "rankings_behind"]


class LegsOfPage:
    """The explanations of all hits on a page.

    :param read: decode the rankings of BM25 and k-NN; called on first access.
    :param versions: id -> version of each hit. The legs are separate searches; if one saw another version of a
        document, its hit has no explanation.
    """

    def __init__(self, read: Sequence[Callable[[], Ranking]], fusion: Fusion, versions: Mapping[str, int]) -> None:
        self._read = read
        self._fusion = fusion
        self._versions = versions
        self._legs: tuple[Ranking, Ranking] | None = None
        self._told: dict[str, dict[str, Leg]] | None = None
        self._guard = threading.Lock()

    @property
    def by_id(self) -> Mapping[str, Mapping[str, Leg]]:
        """Id -> leg -> contribution."""
        with self._guard:
            if self._told is None:
                legs = self._decoded()
                self._told = explain(*legs, self._fusion, self._versions)
                for id in self._replaced(legs):
                    self._told[id] = {}
            return self._told

    def _replaced(self, legs: Sequence[Ranking]) -> set[str]:
        seen = [pair for leg in legs for pair in zip(leg.ids, leg.versions, strict=False)]
        return {id for id, version in seen if self._versions.get(id, version) not in (version, UNKNOWN)}

    def rankings(self, top: int) -> dict[str, Ranking]:
        """Return the rankings of the legs, ``bm25`` and ``knn``, and the ``top`` best of their fusion, ``hybrid``."""
        with self._guard:
            bm25, knn = self._decoded()
        fused = fuse(bm25, knn, self._fusion, top=top)
        hybrid = Ranking(tuple(one.id for one in fused), tuple(one.score for one in fused))
        return {"bm25": bm25, "knn": knn, "hybrid": hybrid}

    def _decoded(self) -> tuple[Ranking, Ranking]:
        if self._legs is None:
            bm25, knn = (*(read() for read in self._read), Ranking((), ()), Ranking((), ()))[:2]
            self._legs = (bm25, knn)
            self._read = ()  # releases the answer
        return self._legs


class LegsOfHit(Mapping[str, Leg]):
    """The explanation of one hit; equal to any mapping with the same content, copied and pickled as a dict."""

    __slots__ = ("_id", "_page")

    def __init__(self, page: LegsOfPage, id: str) -> None:
        self._page = page
        self._id = id

    @property
    def page(self) -> LegsOfPage:
        """The page that the hit is on."""
        return self._page

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


def rankings_behind(hits: Sequence[Hit], top: int) -> dict[str, Ranking] | None:
    """Return the rankings that the hits of a hybrid search came from; see :meth:`LegsOfPage.rankings`.

    None if they are unknown: without hits, for a single leg, or for a search that was not to be explained.
    """
    legs = hits[0].legs if hits else None
    return legs.page.rankings(top) if isinstance(legs, LegsOfHit) else None
