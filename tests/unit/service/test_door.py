"""Processes that take connections from one socket take as many each, and none of them keeps a client waiting."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from hybrid_search.service.door import Door, Shares, bound

CLIENTS = 20


class Kept(asyncio.Protocol):
    """A connection that stays open, of one of the doors."""

    def __init__(self, kept: set[Kept]) -> None:
        self._kept = kept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._kept.add(self)


def doors(folder: Path, listening: socket.socket, number: int) -> list[tuple[Door, set[Kept]]]:
    """So many doors, each as in a process of its own: with a copy of the socket, and memory that it maps itself."""
    Shares.create(folder / "shares", 2)
    made = []
    for own in range(number):
        kept: set[Kept] = set()
        copy = socket.socket(fileno=os.dup(listening.fileno()))
        made.append((Door(copy, Shares(folder / "shares", own), kept.__len__, partial(Kept, kept)), kept))
    return made


async def visited(made: list[tuple[Door, set[Kept]]], listening: socket.socket) -> list[int]:
    """Let all clients connect at once; return how many each door has taken."""
    for door, _ in made:
        door.open()
    with ExitStack() as clients:
        for _ in range(CLIENTS):
            clients.enter_context(socket.create_connection(listening.getsockname(), timeout=10))
        async with asyncio.timeout(10):
            while sum(len(kept) for _, kept in made) < CLIENTS:
                await asyncio.sleep(0.005)
        numbers = [len(kept) for _, kept in made]
        for door, kept in made:
            door.close()
            for one in kept:
                one.transport.close()
        await asyncio.sleep(0)
    return numbers


def test_clients_that_come_at_once_are_shared_out_evenly(tmp_path: Path) -> None:
    with bound("127.0.0.1", 0) as listening:
        assert asyncio.run(visited(doors(tmp_path, listening, 2), listening)) == [CLIENTS / 2, CLIENTS / 2]


def test_who_has_fewer_but_takes_none_keeps_nobody_out(tmp_path: Path) -> None:
    with bound("127.0.0.1", 0) as listening:
        made = doors(tmp_path, listening, 1)
        hung = Shares(tmp_path / "shares", 1)
        hung.tell(0)
        assert asyncio.run(visited(made, listening)) == [CLIENTS]


def test_one_has_most_only_among_those_who_still_tell(tmp_path: Path) -> None:
    Shares.create(tmp_path / "shares", 3)
    own, other = Shares(tmp_path / "shares", 0), Shares(tmp_path / "shares", 2)
    assert not own.has_most(5), "nobody else has told anything"
    other.tell(4)
    assert [own.has_most(number) for number in (3, 4, 5)] == [False, False, True]
    other.leave()
    assert not own.has_most(5)
