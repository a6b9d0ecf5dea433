"""The service's own figures, for Prometheus."""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["MEDIA_TYPE", "Metrics"]

MEDIA_TYPE = CONTENT_TYPE_LATEST

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_METHODS = ("GET", "POST", "DELETE", "HEAD", "OPTIONS")


class Metrics:
    """Counts and times requests; with several workers, the figures of all of them are added up."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "hybrid_search_requests", "Requests by route and status.", ("method", "route", "status"),
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "hybrid_search_request_seconds", "Time from a request's first byte to its answer's last.", ("route",),
            buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._search = Histogram(
            "hybrid_search_search_seconds", "Time of a search in the library.", ("mode",), buckets=_BUCKETS,
            registry=self._registry,
        )  # fmt: skip

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request.

        :param route: the path as declared, so that ids make no series of their own.
        """
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def searched(self, mode: str, seconds: float) -> None:
        """Time a search."""
        self._search.labels(mode).observe(seconds)

    def shown(self) -> bytes:
        """The figures in Prometheus' text format."""
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)
