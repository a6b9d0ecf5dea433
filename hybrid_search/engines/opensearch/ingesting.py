"""What documents go through on their way into an index: checked before the first of them is sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import quote

from hybrid_search.engines.opensearch.aliases import Place
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.fitness import pipelines_of
from hybrid_search.errors import AccessDenied, UnfitIndex

__all__ = ["check_pipelines", "dropped_if_unfit"]


def check_pipelines(client: Client, place: Place) -> None:
    """Check that documents are not all refused for want of a pipeline.

    :raises UnfitIndex: naming the pipeline.
    """
    for setting, name in pipelines_of(place.settings).items():
        with contextlib.suppress(AccessDenied):  # who may not look finds out from the first documents
            path = f"/_ingest/pipeline/{quote(name, safe='')}"
            if name not in client.call("GET", path, ignore=HTTPStatus.NOT_FOUND.value):
                raise UnfitIndex(
                    f"{place.address}: the ingest pipeline {name!r} ({setting}) is not on the server, so every "
                    f"document would be refused; make it (hybrid-search deploy, for towers in the cluster), or take "
                    f'the setting back: PUT /{place.address.index}/_settings {{"{setting}": null}}'
                )


@contextlib.contextmanager
def dropped_if_unfit(client: Client, index: str) -> Iterator[None]:
    """Delete an index that was just made if it turns out to be unfit: nobody can put anything into it."""
    try:
        yield
    except UnfitIndex:
        client.call("DELETE", f"/{index}", ignore=HTTPStatus.NOT_FOUND.value)
        raise
