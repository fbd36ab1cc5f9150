"""Connections of a simulated network: two ends, and what is on its way between them."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, unique
from functools import partial
from typing import Any, Final, Protocol

from api.sim.loop import Lane
from cluster.shell.peer_network import Failed

KERNEL_BYTES: Final = 256 << 10
"""Of one direction, what kernels and the wire hold before the writer's own buffer fills."""

NOBODY: Final = asyncio.BufferedProtocol()
"""Of an end that no process has taken yet."""


@unique
class Mark(Enum):
    """What arrives behind the bytes."""

    MADE = "made"
    """The connection stands: for whoever dialled."""
    FIN = "fin"
    RST = "rst"


class Place(Protocol):
    """Where an end stands."""

    @property
    def machine(self) -> int:
        """Which machine."""
        ...

    @property
    def lane(self) -> Lane:
        """Of the process."""
        ...


class Wires(Protocol):
    """What carries for ends."""

    def send(self, pipe: "Pipe", what: "bytes | Mark") -> None:
        """Put something on its way."""
        ...

    def plan(self, pipe: "Pipe") -> None:
        """See to it that what is first in a pipe arrives."""
        ...

    def soon(self, call: Callable[[], object]) -> None:
        """Call in the next pass of the process that runs now."""
        ...


class Pipe:
    """One direction of one connection."""

    __slots__ = ("bytes_waiting", "end", "last_us", "planned", "segments", "to")

    def __init__(self, end: "End", to: "End") -> None:
        """Carry from one end to the other."""
        self.end, self.to = end, to
        self.segments: deque[tuple[int, bytes | Mark]] = deque()
        """When each arrives, and what it is."""
        self.bytes_waiting = 0
        self.last_us = 0
        self.planned = False
        """Somebody will look at what is first."""

    def keep(self, count: int) -> None:
        """Lose all but the first segments."""
        while len(self.segments) > count:
            self.segments.pop()
        self.bytes_waiting = sum(len(what) for _, what in self.segments if isinstance(what, bytes))


class End(asyncio.Transport):
    """One end of a connection, as asyncio's transports behave."""

    def __init__(self, wires: Wires, place: Place, peer: int) -> None:
        """Stand where a process is; `protocol` comes when it takes the connection."""
        super().__init__({"peername": (f"10.0.0.{peer}", 40_000)})
        self.place = place
        self._wires = wires
        self.protocol = NOBODY
        self.attempt: Attempt | None = None
        """Of whoever dialled, until it knows that the connection stands."""
        self.out: Pipe
        self.gone = False
        """The process knows nothing of it any more."""
        self.reading = True
        self._closing = False
        self.is_paused = False
        """The process was told to write no more."""
        self._high = 0

    def write(self, data: Any) -> None:
        """Send."""
        if self._closing or self.gone or not len(data):
            return
        self._wires.send(self.out, bytes(data))
        if not self.is_paused and self.get_write_buffer_size() > self._high:
            self.is_paused = True
            self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        """Send all of these."""
        self.write(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pause the writer above so many bytes."""
        del low
        self._high = high or 0

    def get_write_buffer_size(self) -> int:
        """Return what the kernel has not taken."""
        return max(0, self.out.bytes_waiting - KERNEL_BYTES)

    def pause_reading(self) -> None:
        """Let what comes wait."""
        self.reading = False

    def resume_reading(self) -> None:
        """Take what waits."""
        self.reading = True
        self._wires.plan(self.out.to.out)

    def is_closing(self) -> bool:
        """Tell whether it was hung up on here."""
        return self._closing

    def close(self) -> None:
        """Hang up behind what was written."""
        self._hang_up(Mark.FIN)

    def abort(self) -> None:
        """Hang up at once."""
        self._hang_up(Mark.RST)

    def take(self, what: bytes | Mark) -> bytes | None:
        """Hand over what has arrived; return what the process has no room for."""
        match what:
            case Mark.MADE:
                self._made()
            case Mark.FIN:
                self.close()
            case Mark.RST:
                self.lose(ConnectionResetError())
            case bytes():
                return self._take_bytes(what)
        return None

    def lose(self, error: Exception | None) -> None:
        """The process hears that the connection is no more."""
        if self.gone:
            return
        self.gone = self._closing = True
        if self.attempt is not None:
            self.attempt.end(ConnectionResetError())
        else:
            self.protocol.connection_lost(error)

    def relieve(self) -> None:
        """Go on writing if most of it has left."""
        if self.is_paused and not self.gone and self.get_write_buffer_size() <= self._high // 4:
            self.is_paused = False
            self.protocol.resume_writing()

    def _hang_up(self, mark: Mark) -> None:
        if not self._closing and not self.gone:
            self._closing = True
            self._wires.send(self.out, mark)
            self._wires.soon(partial(self.lose, None))

    def _made(self) -> None:
        attempt, self.attempt = self.attempt, None
        if attempt is None or attempt.given_up:
            self.abort()
        else:
            self.protocol = attempt.protocol
            self.protocol.connection_made(self)

    def _take_bytes(self, data: bytes) -> bytes | None:
        while data:
            if not self.reading or self._closing:
                return data
            room = memoryview(self.protocol.get_buffer(-1))
            part, data = data[: len(room)], data[len(room) :]
            room[: len(part)] = part
            self.protocol.buffer_updated(len(part))
        return None


class Attempt:
    """Somebody dials."""

    __slots__ = ("failed", "given_up", "place", "protocol")

    def __init__(self, place: Place, protocol: asyncio.BufferedProtocol, failed: Failed) -> None:
        """Speak by `protocol` once the connection stands; else tell `failed`, once."""
        self.place, self.protocol, self.failed = place, protocol, failed
        self.given_up = False

    def give_up(self) -> None:
        """Nobody wants it any more."""
        self.given_up = True

    def end(self, error: OSError) -> None:
        """It came to nothing."""
        if not self.given_up:
            self.given_up = True
            self.failed(error)
