"""A FastAPI application with routes of its own, and the search service of an index below ``/search-service``.

INDEX=quickstart/index uvicorn --app-dir examples with_fastapi:app
curl localhost:8000/search-service/search -H 'content-type: application/json' -d '{"query": "join two paths"}'
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from hybrid_search import ServiceOptions, create_app

service = create_app(os.environ["INDEX"], options=ServiceOptions(max_k=100, time_limit=2.0))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start and end the mounted service with this application, which FastAPI does not do by itself."""
    async with service.router.lifespan_context(service):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/search-service", service)


@app.get("/greeting")
def greeting() -> dict[str, str]:
    """Answer with a route of the application's own."""
    return {"greeting": "hello"}
