"""One stream of a member: what it says goes out in order, and it is heard even when it has nothing.

Writing is done by a task of the stream's own. Whoever waits for an answer may be interrupted
without harm: gRPC would end a call whose writer is interrupted.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import grpc.aio

from tidelog.clock import Clock
from tidelog.connection import Node
from tidelog.v1 import group_service_pb2 as wire

if TYPE_CHECKING:
    from grpc.aio import StreamStreamCall

    ConsumeCall = StreamStreamCall[wire.ConsumeRequest, wire.ConsumeResponse]

SILENCE_S: Final = 12.0
"""A node sends something every 5 s; one that is silent for so long is left."""
BEATS: Final = 4
"""Heartbeats in a session timeout; at least three are wanted."""


class ConsumeStream:
    """A call of `Consume`, from its beginning to its end."""

    def __init__(self, call: "ConsumeCall", node: Node, clock: Clock) -> None:
        """Begin; the first message is put by whoever made it."""
        self.node = node
        self._call = call
        self._clock = clock
        self._outgoing: deque[wire.ConsumeRequest] = deque()
        self._wake = asyncio.Event()
        self._tasks = [asyncio.create_task(self._write())]  # noqa: TID251 - `close` ends it
        self.joined = False
        """The node has confirmed the membership on it."""
        self.closed = False
        """It was ended here."""

    def put(self, request: wire.ConsumeRequest) -> None:
        """Say something, behind what was put before."""
        self._outgoing.append(request)
        self._wake.set()

    def beat(self, session_timeout_s: float) -> None:
        """Be heard often enough from now on, whatever the program does meanwhile."""
        beating = asyncio.create_task(self._beat(session_timeout_s / BEATS))  # noqa: TID251 - as above
        self._tasks.append(beating)

    async def read(self) -> wire.ConsumeResponse | None:
        """Return the next message; None at the end of the call.

        Raises:
            TimeoutError: the node is silent.
            grpc.aio.AioRpcError: the call ended with an error.
        """
        async with asyncio.timeout(SILENCE_S):
            message = await self._call.read()
        return message if isinstance(message, wire.ConsumeResponse) else None

    def close(self) -> None:
        """End the call."""
        self.closed = True
        for task in self._tasks:
            task.cancel()
        self._call.cancel()

    async def _write(self) -> None:
        try:
            while True:
                while self._outgoing:
                    await self._call.write(self._outgoing.popleft())
                self._wake.clear()
                await self._wake.wait()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the call is over: whoever reads it is told why

    async def _beat(self, every_s: float) -> None:
        heartbeat = wire.ConsumeRequest(heartbeat=wire.ConsumeRequest.Heartbeat())
        while True:
            await self._clock.beat(every_s)
            if not self._outgoing:  # what waits to be written will be heard
                self.put(heartbeat)
