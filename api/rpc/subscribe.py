"""Subscribe: what to read, made absolute; then every step as one or more messages."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias

from api.broker.answer_room import AnswerRoom
from api.broker.broker import Broker
from api.broker.forward import passing
from api.broker.place import Latest, Place
from api.broker.reach import check_committed
from api.broker.subscribe import (
    Bounds,
    Event,
    Opened,
    Subscription,
    check_step_bytes,
)
from api.rpc.call import Call
from api.rpc.convert import (
    check_consistency,
    check_isolation,
    not_built,
    refuse,
    wants_records,
)
from api.rpc.fetch import epoch_of
from api.rpc.guard import Guard
from api.rpc.places import place_of, range_message, range_of
from api.rpc.selection import check_items, select_all, select_every
from api.rpc.sending import Sending
from api.rpc.subscribe_elsewhere import SpreadSubscribe, is_elsewhere
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.ids import Offset
from model.record import ClockKind
from tidelog.v1 import common_pb2, log_service_pb2

Send: TypeAlias = Callable[[log_service_pb2.SubscribeResponse], Awaitable[None]]
_Request: TypeAlias = log_service_pb2.SubscribeRequest
_Response: TypeAlias = log_service_pb2.SubscribeResponse
NOT_THERE: Final = frozenset({ErrorCode.UNKNOWN_TOPIC, ErrorCode.UNKNOWN_PARTITION})


class SubscribeCall:
    """The call. Loop only."""

    def __init__(self, broker: Broker, guard: Guard) -> None:
        """Read through a node's use cases."""
        self._broker = broker
        self._guard = guard

    async def __call__(self, request: _Request, send: Send, call: Call) -> None:
        """Send events until the read has ended.

        Raises:
            RequestError: what was asked for is wrong or not built; what is not there, or cannot be
                read; OVERLOADED, SHUTTING_DOWN.
        """
        _check(request)
        if self._broker.context.forwarding is not None:
            await self._guard.interruptible(self._know(request))
        if is_elsewhere(self._broker, request, call):
            spread = SpreadSubscribe(self._broker, request, call, local=self._run)
            await self._guard.interruptible(spread.run(send))
        else:
            try:
                await self._guard.interruptible(self._run(request, send, call))
            except RequestError as refusal:
                if not call.goes_on or self._broker.context.forwarding is None:
                    raise
                raise passing(refusal) from refusal

    async def _know(self, request: _Request) -> None:
        """See to it that this node knows all that is named: another one may have just made it.

        Raises:
            RequestError: it is not there; NO_QUORUM, nobody can tell.
        """
        try:
            select_every(self._broker, request.topics, request.partitions)
        except RequestError as refusal:
            if refusal.code not in NOT_THERE:
                raise
            await self._broker.context.quorum.read_barrier()
            select_every(self._broker, request.topics, request.partitions)

    async def _run(self, request: _Request, send: Send, call: Call) -> None:
        decode = _check(request)
        wanted = await _Opening(self._broker, request, call).subscription()
        telling = _Telling(self._broker, send, wanted, decode=decode)
        shares = self._broker.context.shares
        room = AnswerRoom(shares.clients if call.brought_by is None else shares.relayed)
        try:
            async with aclosing(self._broker.subscribe(call.principal, wanted, room)) as events:
                async for event in events:
                    await telling.tell(event)
        finally:
            room.clear()


class _Opening:
    """Makes absolute what a request asks for."""

    def __init__(self, broker: Broker, request: _Request, call: Call) -> None:
        self._broker = broker
        self._request = request
        self._call = call
        self._times = range_of(broker, request.range) if request.HasField("range") else None

    async def subscription(self) -> Subscription:
        """Return the bounds of every partition.

        Raises:
            RequestError: INVALID_REQUEST, UNKNOWN_TOPIC, UNKNOWN_PARTITION, OFFSET_OUT_OF_RANGE.
        """
        request = self._request
        chosen = await select_all(self._broker, request.topics, request.partitions)
        endless = self._times is None and not request.HasField("stop")
        start = self._seek("start") or Latest()
        stop = self._seek("stop")
        if request.bounds:
            check_items("bounds", len(request.bounds))
            bounds = self._resumed(chosen, endless=endless)
        elif self._times is not None:
            bounds = [
                await self._broker.subscribe.resolve_range(one, self._times) for one in chosen
            ]
        else:
            bounds = [await self._resolved(one, start, stop) for one in chosen]
        return Subscription(
            bounds=bounds,
            times=self._times,
            max_bytes=check_step_bytes(request.max_bytes),
            follow=tuple(dict.fromkeys(request.topics)) if endless else (),
        )

    def _seek(self, field: str) -> Place | None:
        if not self._request.HasField(field):  # type: ignore[arg-type]  # start or stop
            return None
        seek: common_pb2.Seek = getattr(self._request, field)
        return place_of(self._broker, field, seek)

    async def _resolved(
        self, partition: HostedPartition, start: Place, stop: Place | None
    ) -> Bounds:
        """Return where a place lies; a time that no record has reached means the end.

        Raises:
            RequestError: as `Resolve`; OFFSET_NOT_AVAILABLE, what may never be committed is waited
                for by none who reads up to there.
        """
        resolve, principal = self._broker.resolve, self._call.principal
        end = None
        if stop is not None:
            found = await resolve(principal, partition, stop)
            end = found.high_watermark if found.offset is None else found.offset
            check_committed(partition, end, mark=found.high_watermark)
        found = await resolve(principal, partition, start)
        begin = found.high_watermark if found.offset is None else found.offset
        return Bounds(partition, begin, None if end is None else max(begin, end), found.truncated)

    def _resumed(self, chosen: Sequence[HostedPartition], *, endless: bool) -> list[Bounds]:
        """Return the bounds that the request brings along.

        Partitions that it does not name are new: an endless read takes them from their beginning, a
        bounded one leaves them out.
        """
        by_name = {(str(one.topic.name), one.number): one for one in chosen}
        bounds: list[Bounds] = []
        for one in self._request.bounds:
            key = (one.start.topic, one.start.partition)
            partition = by_name.pop(key, None)
            if partition is None:
                refuse(
                    "bounds", f"{one.start.topic[:249]}/{one.start.partition} is named twice, or "
                    "is no partition of this call"
                )  # fmt: skip
            bounds.append(self._bound(partition, one, endless=endless))
        if endless:
            bounds += [Bounds(one, one.log_start) for one in by_name.values()]
        return bounds

    def _bound(
        self, partition: HostedPartition, given: log_service_pb2.ReadBounds, *, endless: bool
    ) -> Bounds:
        start = given.start.offset
        stop = Offset(given.stop_offset) if given.HasField("stop_offset") else None
        if start < 0 or (stop is not None and stop < start):
            refuse("bounds", f"start {start} and stop {stop}: 0 <= start <= stop")
        may_be_open = self._times is not None and self._times.clock is ClockKind.APPEND
        if stop is None and not endless and not may_be_open:
            refuse("bounds.stop_offset", "a read that ends needs the one that Opened told")
        return Bounds(partition, Offset(start), stop, last_epoch=epoch_of(given.start))


class _Telling:
    """Turns events into messages and sends them; awaits the client's reading."""

    def __init__(self, broker: Broker, send: Send, wanted: Subscription, *, decode: bool) -> None:
        """`decode`: records go out one by one, and only those within the range."""
        times = wanted.times
        self._send = send
        self._sending = Sending(
            broker,
            send,
            _Response,
            decode=decode,
            max_bytes=wanted.max_bytes,
            times=times if times is not None and times.clock is ClockKind.EVENT else None,
        )

    async def tell(self, event: Event) -> None:
        """Send one event, in as many messages as it needs.

        Raises:
            RequestError: records that cannot be decoded; what came before them was sent.
        """
        if isinstance(event, Opened):
            await self._send(_Response(opened=self._opened(event)))
        else:
            await self._sending.tell(event)

    def _opened(self, opened: Opened) -> _Response.Opened:
        message = _Response.Opened()
        for one in opened.bounds:
            start = self._sending.stands(one)
            message.bounds.add(start=start, stop_offset=one.stop, truncated=one.truncated)
        if opened.times is not None:
            message.range.CopyFrom(range_message(opened.times))
        return message


def _check(request: _Request) -> bool:
    """Refuse what contradicts itself or is not built; tell whether records are decoded."""
    check_isolation(request.isolation_level)
    check_consistency(request.consistency)
    if request.HasField("filter"):
        not_built("filter", "set", 4)
    match request.order:
        case _Request.ORDER_UNSPECIFIED | _Request.ORDER_PARTITION:
            pass
        case order if order in _Request.Order.values():
            not_built("order", _Request.Order.Name(order), 4)
        case order:
            refuse("order", f"{order} is no order")
    if request.HasField("range") and (request.HasField("start") or request.HasField("stop")):
        refuse("range", "it stands instead of start and stop")
    return wants_records(request.encoding)
