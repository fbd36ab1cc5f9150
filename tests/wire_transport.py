"""A transport without a socket: what a connection wrote, and whether it would read.

It keeps to asyncio's contract for buffered protocols, so that every arrival can be cut anywhere,
and a peer that does not read is one that never calls `drained`.
"""

import asyncio
from collections.abc import Callable
from typing import Any


class RecordingTransport(asyncio.Transport):
    """Feeds a protocol by hand."""

    def __init__(self, protocol: asyncio.BufferedProtocol, *, reads_answers: bool = True) -> None:
        super().__init__({"peername": ("192.0.2.7", 40_000)})
        self.protocol = protocol
        self.writes: list[bytes] = []
        self.reading = True
        self.closing = False
        self.aborted = False
        self._reads_answers = reads_answers
        self._unwritten = 0
        self._high = 0
        self._paused = False
        protocol.connection_made(self)

    def feed(self, data: bytes, *, at_once: int = 1 << 16) -> int:
        """Deliver as much as the connection reads; return how much that was."""
        sent = 0
        while sent < len(data) and self.reading and not self.closing:
            room = memoryview(self.protocol.get_buffer(-1))
            assert len(room) > 0, "asyncio refuses an empty buffer"
            part = data[sent : sent + min(len(room), at_once)]
            room[: len(part)] = part
            self.protocol.buffer_updated(len(part))
            sent += len(part)
        return sent

    def drained(self) -> None:
        """The peer has read everything."""
        self._unwritten = 0
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()

    def takes(self, size: int) -> None:
        """The peer has read some of it; most is still there."""
        self._unwritten -= size

    def lose(self) -> None:
        """The connection ends."""
        self.closing = True
        self.protocol.connection_lost(None)

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))
        if not self._reads_answers:
            self._unwritten += len(data)
            if self._unwritten > self._high and not self._paused:
                self._paused = True
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 0

    def get_write_buffer_size(self) -> int:
        return self._unwritten

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True


class ManualTick:
    """A tick that ends when the test says so. Give `call_soon` to `cluster.shell.tick.Tick`."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.due.append(call)

    def end(self) -> None:
        """Run what was asked for, and what that asks for, until nothing is left."""
        while self.due:
            calls, self.due = self.due, []
            for call in calls:
                call()
