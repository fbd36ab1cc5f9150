"""What a reader is told as it moves on, in the messages of its call: Subscribe's, and Consume's."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Generic, TypeAlias, TypeVar

from api.broker.broker import Broker
from api.broker.read_on import Diverged, Gap, Step
from api.broker.readable import Readable
from api.broker.subscribe import Bounds, CaughtUp, FellBehind
from api.rpc.convert import timestamp
from api.rpc.fetch import diverged_message, epoch_of, gap_message
from api.rpc.step_messages import Filling, Part, cursor, record_parts, stored_parts
from model.record import TimeRange
from tidelog.v1 import common_pb2, group_service_pb2, log_service_pb2

ResponseT = TypeVar(
    "ResponseT", log_service_pb2.SubscribeResponse, group_service_pb2.ConsumeResponse
)
"""Both have the same events, beside some of their own."""

Told: TypeAlias = Sequence[Step] | CaughtUp | FellBehind | Gap | Diverged


class Sending(Generic[ResponseT]):
    """Turns what one reader is told into messages; awaits the client's reading. Loop only."""

    def __init__(
        self,
        broker: Broker,
        send: Callable[[ResponseT], Awaitable[None]],
        response: type[ResponseT],
        *,
        decode: bool,
        max_bytes: int,
        times: TimeRange | None = None,
    ) -> None:
        """`decode`: records go out one by one, and only those within the range of event times."""
        self._broker = broker
        self._send: Callable[[ResponseT], Awaitable[None]] = send
        self._response: type[ResponseT] = response
        self._decode = decode
        self._max_bytes = max_bytes
        self._times = times
        self._places: dict[Readable, common_pb2.Cursor] = {}
        self._message: ResponseT = response()
        self._filling = Filling(self._next_part)

    def stands(self, place: Bounds) -> common_pb2.Cursor:
        """Return where a reader stands in a partition, and go on from there."""
        start = cursor(place.partition, place.start, place.last_epoch)
        self._places[place.partition] = start
        return start

    def forget(self, partition: Readable) -> None:
        """Go on in a partition no more."""
        self._places.pop(partition, None)

    async def tell(self, event: Told) -> None:
        """Send one event, in as many messages as it needs.

        Raises:
            RequestError: records that cannot be decoded; what came before them was sent.
        """
        response = self._response
        match event:
            case CaughtUp():
                now = timestamp(self._broker.context.clock.wall_ms())
                cursors = [self._places[one.partition] for one in event.reached]
                await self._send(response(caught_up=common_pb2.CaughtUp(cursors=cursors, time=now)))
            case FellBehind():
                await self._send(response(fell_behind=common_pb2.FellBehind()))
            case Gap():
                self._places[event.partition] = cursor(event.partition, event.next_offset, None)
                await self._send(response(gap=gap_message(event)))
            case Diverged():
                await self._send(response(diverged=diverged_message(event)))
            case _:
                await self._tell_steps(event)

    async def _tell_steps(self, steps: Sequence[Step]) -> None:
        """Send steps, several in a message while they fit."""
        for step in steps:
            async with aclosing(self._parts(step)) as parts:
                async for part in parts:
                    self._places[step.partition] = _copy(part.message.next)
                    if not part.is_last or self._filling.size_bytes >= self._max_bytes:
                        await self._flush()
                    if part.error is not None:
                        await self._flush()
                        raise part.error
        await self._flush()

    def _next_part(self) -> common_pb2.PartitionRecords:
        return self._message.records.partitions.add()

    async def _flush(self) -> None:
        """Send what was gathered."""
        message = self._message
        if message.records.partitions:
            self._message = self._response()
            self._filling.sent()
            await self._send(message)

    async def _parts(self, step: Step) -> AsyncGenerator[Part, None]:
        """Write a step into messages, part by part."""
        last_epoch = epoch_of(self._places[step.partition])
        if self._decode:
            parts = record_parts(
                step,
                last_epoch,
                self._filling,
                times=self._times,
                turns=self._broker.turns(),
                max_bytes=self._max_bytes,
            )
            async with aclosing(parts):
                async for part in parts:
                    yield part
        else:
            for part in stored_parts(step, last_epoch, self._filling, max_bytes=self._max_bytes):
                yield part


def _copy(place: common_pb2.Cursor) -> common_pb2.Cursor:
    """Return a cursor of its own: one within a message would keep all of that in memory."""
    own = common_pb2.Cursor()
    own.CopyFrom(place)
    return own
