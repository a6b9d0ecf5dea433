"""Limits and rights of the HTTP service."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hybrid_search.settings.base import Setting, require

__all__ = ["ServiceOptions"]


class ServiceOptions(Setting, frozen=True):
    """What the service lets its clients do, and how much of it at once."""

    writable: Annotated[bool, Meta(description="Clients may add and delete documents.")] = False
    keys: Annotated[str, Meta(title="a file", description="A TOML file of the API keys; empty lets everybody in.")] = ""
    judgements: Annotated[
        str,
        Meta(title="a folder", description="Where judgements of the page's visitors go, for refit; empty takes none."),
    ] = ""
    origins: Annotated[
        tuple[str, ...],
        Meta(
            title="origins such as https://app.example.org, or *",
            description="Origins whose pages may call the service from a browser (CORS).",
        ),
    ] = ()
    max_body: Annotated[int, Meta(ge=1_024, le=1 << 30, description="Bytes of a request's body.")] = 8 << 20
    max_query: Annotated[int, Meta(ge=1, le=1_000_000, description="Characters of a query.")] = 2_000
    max_k: Annotated[int, Meta(ge=1, le=10_000, description="Hits of a query.")] = 1_000
    max_batch: Annotated[
        int, Meta(ge=1, le=100_000, description="Queries, texts, ids or documents of one request.")
    ] = 1_000
    concurrency: Annotated[
        int, Meta(ge=1, le=100_000, description="Requests at work or waiting for a thread; further ones are sent away.")
    ] = 128
    threads: Annotated[
        int,
        Meta(
            ge=0,
            le=1_024,
            description="Threads of a process that search; 0 for its share of the cores, at least 2, and 32 for an "
            "index on a server.",
        ),
    ] = 0
    time_limit: Annotated[
        float, Meta(gt=0, le=3_600, description="Seconds for an answer, and for a client to send its request.")
    ] = 10.0
    drain: Annotated[
        float,
        Meta(ge=0, le=3_600, description="Seconds that it still answers after SIGTERM while it asks clients to go."),
    ] = 1.0
    grace: Annotated[
        float, Meta(ge=0, le=3_600, description="Seconds that running requests have to finish when the service ends.")
    ] = 30.0

    def check(self) -> None:
        """Check what can't be an origin."""
        for origin in self.origins:
            whole = origin == "*" or (origin.startswith(("http://", "https://")) and origin.count("/") == 2)
            require(whole, "origins", origin, "an origin such as https://app.example.org, or *")
