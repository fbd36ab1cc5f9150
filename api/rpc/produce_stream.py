"""ProduceStream: requests are taken as they come, and answered as their acks come.

Memory is bounded: no more than a fixed number of requests and of their batches is under way,
answers that the client does not read among them; they count against the node's budget. While the
node is congested each request is waited with for a while, and what then does not fit is answered
with OVERLOADED.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

from api.broker import answer_room
from api.broker.memory import MemoryBudget
from api.rpc.answer_order import AnswerOrder
from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.produce import Producing, rows_bytes
from api.rpc.produce_elsewhere import Offered
from model.errors import RequestError
from model.limits import CALL_ITEMS_MAX, REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX
from tidelog.v1 import log_service_pb2

IN_FLIGHT_MAX: Final = REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX.value
ROWS_IN_FLIGHT_MAX: Final = CALL_ITEMS_MAX.value
"""Nothing is taken beside more batches than the largest request may have."""

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
        self._rows: dict[int, int] = {}
        """Batches of each request that was taken and whose answer was not sent."""
        self._sent = asyncio.Event()
        self._taken = 0
        self._finished = 0
        self._all_finished = asyncio.Event()

    async def run(self, requests: Requests, call: Call) -> None:
        """Serve until the client ends the stream and every request is answered.

        Raises:
            RequestError: SHUTTING_DOWN, once what was taken is answered.
        """
        try:
            async with asyncio.TaskGroup() as group:
                answering = group.create_task(self._answer())
                stopped = await self._take_all(requests, call)
                await self._settled()
                self._ready.put_nowait(None)
                await answering
        finally:
            for slot in list(self._rows):  # the client has gone without them
                self._let_go(slot)
        if stopped is not None:
            raise stopped

    async def _take_all(self, requests: Requests, call: Call) -> RequestError | None:
        """Take requests until the client ends the stream; return what ended it otherwise."""
        try:
            while (request := await self._guard.interruptible(self._next(requests))) is not None:
                await self._take(request, call)
        except RequestError as refusal:
            return refusal
        return None

    async def _next(self, requests: Requests) -> log_service_pb2.ProduceStreamRequest | None:
        """Return the next request once there is room for it; None when the client has ended."""
        await self._room.acquire()
        while sum(self._rows.values()) > ROWS_IN_FLIGHT_MAX:
            self._sent.clear()
            await self._sent.wait()
        if self._memory.congested:
            await self._relief()
        return await anext(requests, None)

    async def _relief(self) -> None:
        """Wait a while for memory; who comes without is refused as any other request would be."""
        try:
            async with asyncio.timeout(answer_room.WAIT_S_MAX):
                while self._memory.congested:
                    await self._memory.relief()
        except TimeoutError:
            pass  # whether this one still fits is seen when it is here

    async def _take(self, request: log_service_pb2.ProduceStreamRequest, call: Call) -> None:
        """Offer one request; in order, since its batches get their places now. Not broken off."""
        slot = self._taken
        self._taken += 1
        self._rows[slot] = len(request.produce.batches)
        self._memory.take(rows_bytes(self._rows[slot]))
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
            self._let_go(slot)
            self._room.release()
            self._sent.set()

    def _let_go(self, slot: int) -> None:
        """Give back what the rows of an answer took."""
        self._memory.give_back(rows_bytes(self._rows.pop(slot)))
