"""A Django project of one file: ``/search?q=…`` answers from an index, and ``/notes`` adds to it.

INDEX=quickstart/index DJANGO_SECRET_KEY=… python examples/with_django.py runserver 8001
curl 'localhost:8001/search?q=join+two+paths&k=3'

In a project of several files the same lines go to ``settings.py``, ``views.py`` and ``urls.py``. Each process opens the
index once, at its first request; one process alone may write, so ``/notes`` is for a service of one.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

import hybrid_search
from hybrid_search import DataError, Document, HybridSearchError, Retriever, UsageError

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["localhost", "127.0.0.1"],
        ROOT_URLCONF=__name__,
        SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY") or os.urandom(32).hex(),
    )


@cache
def retriever() -> Retriever:
    """Open the index once in a process; it is safe for all threads."""
    return hybrid_search.open(os.environ["INDEX"], writable=True)


def answered(error: HybridSearchError) -> JsonResponse:
    """Answer with an error; its message is fit to be shown."""
    return JsonResponse({"error": str(error)}, status=400 if isinstance(error, UsageError | DataError) else 503)


@require_GET
def search(request: HttpRequest) -> JsonResponse:
    """Answer ``q`` with the ``k`` best notes, of those that pass ``filter``."""
    try:
        k = int(request.GET.get("k", 5))
        hits = retriever().search(request.GET.get("q", ""), k, filter=request.GET.get("filter") or None)
    except ValueError:
        return JsonResponse({"error": "k must be a whole number"}, status=400)
    except HybridSearchError as error:
        return answered(error)
    return JsonResponse({"hits": [{"id": hit.id, "score": hit.score, "text": hit.text} for hit in hits]})


@csrf_exempt
@require_POST
def notes(request: HttpRequest) -> JsonResponse:
    """Add a note of ``id`` and ``text``; it is found as soon as this answers."""
    try:
        given = json.loads(request.body)
        report = retriever().add([Document(str(given["id"]), str(given["text"]))])
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"error": 'send {"id": "…", "text": "…"}'}, status=400)
    except HybridSearchError as error:
        return answered(error)
    return JsonResponse({"added": report.added})


urlpatterns = [path("search", search), path("notes", notes)]
application = get_asgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
