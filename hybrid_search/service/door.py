"""The door that clients come through: one socket, of whose connections several processes take as many each.

The kernel gives a connection to whichever process asks first, and the slowest answers are those of a process that has
taken most of them. So each tells the others how many it has, and one that has more than another lets that one go first.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from hybrid_search.errors import UsageError

__all__ = ["BACKLOG", "Door", "Shares", "bound"]

_LOG = logging.getLogger(__name__)
BACKLOG = 2_048
"""Connections that may wait to be taken."""
_COURTESY = 0.025
"""Seconds that a connection waits for a process that has fewer."""
_SILENCE = 1.0
"""Seconds after which a process that tells nothing is taken for hung, or gone."""
_AFTER_AN_ERROR = 1.0
_SLOT = struct.Struct("=dq")


def bound(host: str, port: int) -> socket.socket:
    """Return a socket at an address, which nobody can connect to before the service is ready.

    :raises UsageError: if the address can't be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        reason = error.strerror if isinstance(error, OSError) else "a port is 0 to 65535"
        raise UsageError(f"can't listen on {host}:{port} ({reason}); give another host or port") from error
    return made


class Shares:
    """How many connections each of several processes has, in memory that they share.

    :param file: made by :meth:`create`.
    :param own: this process' number, from 0.
    """

    def __init__(self, file: Path, own: int) -> None:
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), 0)
        self._own = own

    @staticmethod
    def create(file: Path, processes: int) -> None:
        """Write the file for so many processes, none of which has told anything."""
        file.write_bytes(bytes(_SLOT.size * processes))

    def tell(self, connections: int) -> None:
        """Tell the others how many connections this process has; to be done several times a second."""
        _SLOT.pack_into(self._memory, self._own * _SLOT.size, time.monotonic(), connections)

    def leave(self) -> None:
        """Tell the others that this process takes no more."""
        _SLOT.pack_into(self._memory, self._own * _SLOT.size, 0.0, 0)

    def has_most(self, connections: int) -> bool:
        """Return whether, with so many connections, this process has more than another one that is alive."""
        since = time.monotonic() - _SILENCE
        others = (slot for number, slot in enumerate(_SLOT.iter_unpack(self._memory)) if number != self._own)
        return any(told >= since and connections > has for told, has in others)


class Door:
    """Takes connections from a socket that other processes take from too.

    :param connections: returns how many this process has.
    :param protocol: makes what handles a connection.
    """

    def __init__(
        self,
        shared: socket.socket,
        shares: Shares,
        connections: Callable[[], int],
        protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._socket = shared
        self._shares = shares
        self._connections = connections
        self._protocol = protocol
        self._coming: set[asyncio.Task[object]] = set()
        self._waiting: asyncio.TimerHandle | None = None
        self.is_courteous = True

    def open(self) -> None:
        """Begin to take connections, in the running event loop."""
        self._socket.setblocking(False)
        self._socket.listen(BACKLOG)
        self.tell()
        self._watch()

    def close(self) -> None:
        """Take no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        if self._waiting is not None:
            self._waiting.cancel()
        self._shares.leave()
        self._socket.close()

    def tell(self) -> None:
        """Tell the other processes how many connections this one has."""
        self._shares.tell(self._number())

    def _number(self) -> int:
        return self._connections() + len(self._coming)

    def _watch(self) -> None:
        self._waiting = None
        asyncio.get_running_loop().add_reader(self._socket, self._knocked)

    def _knocked(self) -> None:
        if self.is_courteous and self._shares.has_most(self._number()):
            self._pause(_COURTESY, self._take_what_is_left)
        else:
            self._take()

    def _take_what_is_left(self) -> None:
        self._watch()
        self._take()

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        self._waiting = loop.call_later(seconds, then)

    def _take(self) -> None:
        """Take one connection, if none of the others was quicker."""
        try:
            taken, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # such as too many open files: others may close some
            _LOG.error("no connection can be taken: %s", error)
            self._pause(_AFTER_AN_ERROR, self._watch)
            return
        taken.setblocking(False)
        if taken.family != getattr(socket, "AF_UNIX", None):
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.get_running_loop().create_task(self._handed_over(taken))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)
        self.tell()

    async def _handed_over(self, taken: socket.socket) -> object:
        try:
            return await asyncio.get_running_loop().connect_accepted_socket(self._protocol, taken)
        except OSError:  # the client is gone already
            taken.close()
            return None
