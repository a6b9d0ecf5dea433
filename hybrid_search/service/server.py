"""Runs the application under uvicorn: how it listens, ends and takes up a new index."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from hybrid_search.service.app import application
from hybrid_search.service.core import Service
from hybrid_search.service.door import BACKLOG, Door, Shares

__all__ = ["run"]

_LOG = logging.getLogger(__name__)
_IDLE = 75
"""Seconds that a connection may lie idle; longer than the usual 60 s of a load balancer, which must close first."""


def run(
    service: Service,
    sockets: list[socket.socket],
    *,
    ready: Callable[[], None],
    forward_to: str = "",
    shares: Shares | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs; SIGHUP opens the index and the keys anew.

    :param ready: called when requests are taken.
    :param forward_to: the socket of the process that makes changes, if it is another one.
    :param shares: of the first socket, if other processes take connections from it too.
    """
    allow_many_connections()
    config = uvicorn.Config(
        application(service, forward_to=forward_to),
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="on",
        ws="none",  # its libraries would be imported for nothing
        backlog=BACKLOG,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=max(1, round(service.options.grace)),
    )
    if shares is None:
        _Server(config, service, ready).run(sockets=sockets)
    else:
        _Server(config, service, ready, (sockets[0], shares)).run(sockets=sockets[1:])


class _Server(uvicorn.Server):
    """Uvicorn's server, that asks its clients to go before it closes the door.

    For a short while after the first signal it goes on answering, also new connections, each answer with
    ``Connection: close``: a client that was about to send its next request on an old connection is not cut off.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        ready: Callable[[], None],
        shared: tuple[socket.socket, Shares] | None = None,
    ) -> None:
        super().__init__(config)
        self._service = service
        self._ready = ready
        self._drained_at = 0.0
        self._reloads: set[asyncio.Task[bool]] = set()
        self._door = Door(*shared, lambda: len(self.server_state.connections), self._protocol) if shared else None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal ends at once."""
        if self._service.draining:
            self.should_exit = self.force_exit = True
            return
        self._drained_at = time.monotonic() + self._service.options.drain
        self._service.draining = True
        if self._door is not None:  # what the others may not take any more is not left to them
            self._door.is_courteous = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and heed SIGHUP."""
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP"):
            with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: then nobody sends it to us
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        if self._door is not None and self.started:
            self._door.open()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and finish what runs."""
        if self._door is not None:
            self._door.close()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Check ten times a second whether to end."""
        if self._door is not None:
            self._door.tell()
        if self._service.draining and (not self.server_state.connections or time.monotonic() >= self._drained_at):
            self.should_exit = True
        return await super().on_tick(counter)

    def _protocol(self) -> asyncio.Protocol:
        """Make what uvicorn makes for a connection that it has taken itself."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    def _reload(self) -> None:
        task = asyncio.get_running_loop().create_task(asyncio.to_thread(self._service.reload))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)


def allow_many_connections() -> None:
    """Raise the number of files that the process may have open as far as it is allowed to."""
    try:
        import resource
    except ImportError:  # Windows, where sockets are no files
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < most:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
