"""One of several processes behind one socket; see :mod:`hybrid_search.service.workers`, which starts it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import msgspec

from hybrid_search.errors import HybridSearchError
from hybrid_search.opening import is_on_server
from hybrid_search.service import service_of
from hybrid_search.service.door import Shares
from hybrid_search.service.logs import log_as_json
from hybrid_search.service.server import run
from hybrid_search.service.workers import Task
from hybrid_search.settings.server import SearchOptions

__all__ = ["main", "serve"]


def main() -> int:
    """Serve what the first line of standard input says, until that closes or SIGTERM comes."""
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    log_as_json()
    sockets = [socket.socket(fileno=task.fd)]
    try:
        if task.writes:
            sockets.append(_by_path(task.writer))
        serve(task, sockets, _ready)
    except HybridSearchError as error:
        sys.stderr.write(f"Error: {error}\n")
        return error.exit_code
    return 0


def serve(task: Task, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """Open the index and serve it on these sockets until a signal ends it.

    :param ready: called when requests are taken.
    :raises HybridSearchError: if it can't be opened.
    """
    shared = is_on_server(task.location)  # its writers need not know of one another
    rerank = None
    if task.rerank:
        from hybrid_search.retrieval.reranking import CrossEncoderReranker

        rerank = CrossEncoderReranker(task.rerank)
    with _connected(task):
        service = service_of(
            task.location,
            model=task.model or None,
            options=task.options,
            search=SearchOptions(in_cluster=True) if task.in_cluster else None,
            rerank=rerank,
            rerank_depth=task.rerank_depth,
            writes=shared or task.writes or not task.writer,
        )
    service.open()
    shares = Shares(Path(task.shares), task.number) if task.shares else None
    run(service, sockets, ready=ready, forward_to="" if shared or task.writes else task.writer, shares=shares)


def _connected(task: Task) -> AbstractContextManager[None]:
    if not is_on_server(task.location):
        return nullcontext()
    from hybrid_search.engines.opensearch.transport import connected

    return connected(task.connection)


def _ready() -> None:
    _watch_parent()
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def _by_path(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)  # of a writer that died
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    return made


def _watch_parent() -> None:
    """End when the process that started this one is gone, however it went."""

    def watch() -> None:
        # Not through sys.stdin, whose lock this thread would hold when the interpreter ends, which then aborts.
        while os.read(sys.stdin.fileno(), 1_024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()


if __name__ == "__main__":
    sys.exit(main())
