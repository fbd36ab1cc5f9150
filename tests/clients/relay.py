"""A relay between a client and a node that reads along, and cuts a connection at a chosen message.

It knows as much of HTTP/2 (RFC 9113, section 4) as finds gRPC's messages in DATA frames, in both
directions. A cut comes in place of a message: whatever was sent before it has passed, it has not.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

PREFACE_BYTES: Final = 24
"""What a client says before its first frame (RFC 9113, section 3.4)."""
HEAD_BYTES: Final = 9
DATA: Final = 0
PADDED: Final = 8
MESSAGE_HEAD_BYTES: Final = 5
"""Before each message: compressed or not, and its length."""
RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: closing sends RST."""


class Message(NamedTuple):
    """One message of a call, as it passes."""

    to_node: bool
    connection: int
    """Counted from 1."""
    stream: int
    payload: bytes


Hear = Callable[[Message], bool]
"""Told each message before it passes; true: cut the connection instead."""


class _Cut(Exception):  # noqa: N818 - says what happened
    """The listener wants the connection cut here."""


class Streams:
    """Puts the DATA frames of one direction together again."""

    def __init__(self) -> None:
        self._open: dict[int, bytearray] = {}

    def add(self, stream: int, flags: int, body: bytes) -> Iterator[bytes]:
        """Yield each message that a frame completes."""
        if flags & PADDED:
            body = body[1 : len(body) - body[0]]
        held = self._open.setdefault(stream, bytearray())
        held += body
        while len(held) >= MESSAGE_HEAD_BYTES:
            end = MESSAGE_HEAD_BYTES + int.from_bytes(held[1:MESSAGE_HEAD_BYTES])
            if len(held) < end:
                return
            assert held[0] == 0, "a client compresses; the relay cannot read along"
            yield bytes(held[MESSAGE_HEAD_BYTES:end])
            del held[:end]


class Relay:
    """Listens for one client; every connection of it goes on to the node."""

    def __init__(self, node: str, hear: Hear) -> None:
        self._host, _, port = node.rpartition(":")
        self._port = int(port)
        self._hear = hear
        self.connections = 0
        self.cuts = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Listen; yield HOST:PORT."""
        server = await asyncio.start_server(self._serve, self._host, 0)
        async with server:
            host, port = server.sockets[0].getsockname()[:2]
            try:
                yield f"{host}:{port}"
            finally:
                server.close()
                for task in list(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio serves each connection in a task"
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            with suppress(ConnectionError):
                away, back = await asyncio.open_connection(self._host, self._port)
                try:
                    there = self._pump(reader, back, to_node=True, number=number)
                    here = self._pump(away, writer, to_node=False, number=number)
                    await _until_one_ends(there, here)
                except _Cut:
                    self.cuts += 1
                    for one in (writer, back):
                        _reset(one)
                finally:
                    back.transport.abort()
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        to_node: bool,
        number: int,
    ) -> None:
        """Let frames pass, whole ones, until one side ends."""
        streams = Streams()
        if to_node:
            writer.write(await reader.readexactly(PREFACE_BYTES))
        while True:
            head = await reader.readexactly(HEAD_BYTES)
            body = await reader.readexactly(int.from_bytes(head[:3]))
            stream = int.from_bytes(head[5:]) & 0x7FFF_FFFF
            if head[3] == DATA:
                for payload in streams.add(stream, head[4], body):
                    if self._hear(Message(to_node, number, stream, payload)):
                        raise _Cut
            writer.write(head + body)
            await writer.drain()


async def _until_one_ends(*pumps: Coroutine[Any, Any, None]) -> None:
    """Run both directions; when one ends, so does the other."""
    tasks = [asyncio.create_task(pump) for pump in pumps]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close as a crash does: what was not sent yet is not sent."""
    own: socket.socket = writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    writer.transport.abort()
