"""How far a reader's caches are behind what another process has committed, and how long a search waits for them."""

from __future__ import annotations

import logging
import time

from hybrid_search.engines.embedded.caches import Caches
from hybrid_search.engines.embedded.store import Store

__all__ = ["POLL", "Lag"]

_LOG = logging.getLogger(__name__)

POLL = 0.005
"""Seconds between two searches of one that waits."""

_PATIENCE = 10.0


class Lag:
    """Between another process's commit and its caches the rows that it replaced are found nowhere.

    The old ones are gone from the store, the new ones not yet in the caches. Safe in any thread without a lock: the one
    number that is kept only grows, and a thread that overwrites a larger one with its own waits once more.
    """

    def __init__(self, store: Store, caches: Caches) -> None:
        self._store = store
        self._caches = caches
        self._given_up = 0

    def hides(self, since: float) -> bool:
        """Return whether a search that ended just now may have missed a document, and is to be made again.

        A writer that takes longer than some seconds is not waited for, and that is logged.

        :param since: of ``time.monotonic``, when the search began.
        """
        reached, newest = self._caches.generation, self._store.state().generation
        if newest <= max(reached, self._given_up) or not self._store.lost_since(reached):
            return False
        if time.monotonic() - since > _PATIENCE:
            self._given_up = newest
            _LOG.warning("%s: a commit takes long; what it replaces is missing until then", self._store.layout.folder)
            return False
        return True
