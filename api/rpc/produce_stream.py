"""ProduceStream: requests are taken as they come, and answered as their acks come.

Memory is bounded: no more than a fixed number of requests is under way, answers that the client
does not read among them, and nothing is read while the node is congested.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

from api.broker.memory import MemoryBudget
from api.rpc.answer_order import AnswerOrder
from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.produce import Offered, Producing
from model.errors import RequestError
from model.limits import REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX
from tidelog.v1 import log_service_pb2

IN_FLIGHT_MAX: Final = REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX.value

Send: TypeAlias = Callable[[log_service_pb2.ProduceStreamResponse], Awaitable[None]]
Requests: TypeAlias = AsyncIterator[log_service_pb2.ProduceStreamRequest]


class ProduceStream:
    """One stream. Loop only."""

    def __init__(
        self, producing: Producing, guard: Guard, memory: MemoryBudget, *, send: Send
    ) -> None:
        """Append through `producing`, answer through `send`."""
        self._producing = producing
        self._guard = guard
        self._memory = memory
        self._send = send
        self._order = AnswerOrder[int]()
        self._answers: dict[int, log_service_pb2.ProduceStreamResponse] = {}
        self._ready: asyncio.Queue[int | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._taken = 0
        self._finished = 0
        self._all_finished = asyncio.Event()

    async def run(self, requests: Requests, call: Call) -> None:
        """Serve until the client ends the stream and every request is answered.

        Raises:
            RequestError: SHUTTING_DOWN, once what was taken is answered.
        """
        stopped: RequestError | None = None
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._answer())
            try:
                while (
                    request := await self._guard.interruptible(self._next(requests))
                ) is not None:
                    await self._take(request, call)
            except RequestError as refusal:
                stopped = refusal
            await self._settled()
            self._ready.put_nowait(None)
            await answering
        if stopped is not None:
            raise stopped

    async def _next(self, requests: Requests) -> log_service_pb2.ProduceStreamRequest | None:
        """Return the next request once there is room for it; None when the client has ended."""
        await self._room.acquire()
        await self._relief()
        return await anext(requests, None)

    async def _take(self, request: log_service_pb2.ProduceStreamRequest, call: Call) -> None:
        """Offer one request; in order, since its batches get their places now. Not broken off."""
        slot = self._taken
        self._taken += 1
        response = log_service_pb2.ProduceStreamResponse(correlation_id=request.correlation_id)
        response.produce.SetInParent()
        self._answers[slot] = response
        try:
            offered = await self._producing.offer(request.produce, response.produce, call)
        except RequestError as refusal:
            response.produce.Clear()
            offered = Offered(request.produce, response.produce)
            offered.refuse(refusal)
        self._order.add(slot, offered.places)
        offered.answer.add_done_callback(partial(self._acked, slot))

    def _acked(self, slot: int, answer: "asyncio.Future[log_service_pb2.ProduceResponse]") -> None:
        """A request has its answer: let go what may leave."""
        del answer  # it stands in the response already
        self._finished += 1
        for ready in self._order.finished(slot):
            self._ready.put_nowait(ready)
        if self._finished == self._taken:
            self._all_finished.set()

    async def _settled(self) -> None:
        """Return once every request that was taken has its answer."""
        while self._finished < self._taken:
            self._all_finished.clear()
            await self._all_finished.wait()

    async def _answer(self) -> None:
        """Write answers, one after the other, as fast as the client reads them."""
        while (slot := await self._ready.get()) is not None:
            await self._send(self._answers.pop(slot))
            self._room.release()

    async def _relief(self) -> None:
        """Read nothing more while the node holds as much as it may."""
        while self._memory.congested:
            relieved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._memory.when_relieved(partial(_settle, relieved))
            await relieved


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
