"""Subscribe over partitions that several nodes lead: one read at each leader, told as one.

Each leader reads its own; what they say is passed on as it comes, since only the order within a
partition means something. What is said of all is said once: where everything begins, and when all
of it is caught up. When a leadership moves, or a topic grows, the reads are made anew from where
the client stands: it does not notice.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple, TypeAlias

from api.broker.answer_room import AnswerRoom
from api.broker.broker import Broker
from api.broker.forward import Forwarding, passing
from api.broker.place import AtTime
from api.rpc.answers import storage_error
from api.rpc.call import Call
from api.rpc.convert import timestamp
from api.rpc.mailbox import Mailbox
from api.rpc.places import place_of, range_message, range_of
from api.rpc.pulled import Pulling
from api.rpc.selection import check_items
from cluster.controller.image import MetadataImage
from cluster.controller.unknown_topic import unknown_name
from cluster.shell.controller_doors import pause
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import NodeId, TopicName
from tidelog.v1 import common_pb2, log_service_pb2

SUBSCRIBE: Final = "LogService/Subscribe"
AGAIN_MS: Final = 100
"""Until leaders are looked for again."""
LOOK_MS: Final = 1_000
"""How often it is looked whether a topic has grown, while nothing comes."""
AGAIN_MAX: Final = 300
"""In a row, without a message in between: about half a minute."""
PASSING: Final = frozenset(
    {
        ErrorCode.NOT_LEADER,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.UNKNOWN_EPOCH,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.NODE_UNREACHABLE,
        ErrorCode.UPSTREAM_LOST,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.SHUTTING_DOWN,
    }
)
"""Of another node: its reading has done nothing, and can be begun again elsewhere."""

_Request: TypeAlias = log_service_pb2.SubscribeRequest
_Response: TypeAlias = log_service_pb2.SubscribeResponse
Send: TypeAlias = Callable[[_Response], Awaitable[None]]
Local: TypeAlias = Callable[[_Request, Send, Call], Awaitable[None]]


class Place(NamedTuple):
    """A partition, by its topic's name."""

    topic: str
    number: int


def places_of(image: MetadataImage, request: _Request) -> Mapping[Place, NodeId | None]:
    """Return what a request names, each with its leader; what does not exist now is left out."""
    found: dict[Place, NodeId | None] = {}
    named = [(one.topic, one.partition) for one in request.partitions]
    for topic in request.topics:
        known = image.topics.get(TopicName(topic))
        named += [(topic, row.number) for row in known.partitions] if known is not None else []
    for topic, number in named:
        known = image.topics.get(TopicName(topic))
        if known is not None and 0 <= number < len(known.partitions):
            found[Place(topic, number)] = known.partitions[number].leader
    return found


class _Ended(NamedTuple):
    """A part of the read is at its end; with an error if it could not go on."""

    part: int
    error: RequestError | None


_Said: TypeAlias = Mailbox[tuple[int, _Response] | _Ended]


class _Part(NamedTuple):
    node: NodeId | None
    """None: this one."""
    places: Sequence[Place]


class SpreadSubscribe:
    """One read that several nodes serve. Loop only."""

    def __init__(self, broker: Broker, request: _Request, call: Call, *, local: Local) -> None:
        """`local` serves what is this node's own."""
        assert broker.context.forwarding is not None, "FORWARD_IS_FORWARDED"
        self._forwarding: Forwarding = broker.context.forwarding
        self._broker, self._call, self._local = broker, call, local
        self._request = _absolute(broker, request)
        self._endless = not request.HasField("range") and not request.HasField("stop")
        self._bounds: dict[Place, log_service_pb2.ReadBounds] = {}
        """Where the client stands in each partition that it was told of."""
        self._named = set(places_of(broker.image, self._request))
        """All that is to be read; where a topic grows, it is more."""
        self._finished: set[Place] = set()
        self._live: set[int] = set()
        """Parts that are caught up."""
        self._told_live = False
        self._progress = False
        self._room = AnswerRoom(broker.context.answers)
        """For what has come, until the client has taken it."""

    async def run(self, send: Send) -> None:
        """Tell everything until it has ended.

        Raises:
            RequestError: what cannot be read, or leaders that do not come back.
        """
        tries = 0
        while True:
            self._progress = False
            try:
                if await self._round(send):
                    return
                tries = 0
            except RequestError as refusal:
                tries = 0 if self._progress else tries + 1
                if refusal.code not in PASSING or not self._bounds or tries > AGAIN_MAX:
                    raise passing(refusal) from refusal
                await pause(self._broker.context.clock, AGAIN_MS)
            finally:
                self._room.clear()

    async def _round(self, send: Send) -> bool:
        """Read at the leaders of now; tell whether all has ended, else it is to be made anew."""
        wanted = places_of(self._broker.image, self._request)
        self._check_all_there(wanted)
        parts = self._parts(wanted)
        if not parts:
            return True
        said, gate = _Said(self._broker.context.clock), asyncio.Event()
        self._live.clear()
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._pump(number, part, said=said, gate=gate))
                for number, part in enumerate(parts)
            ]
            ended: bool | RequestError
            try:
                ended = await self._tell(parts, said, send=send, gate=gate)
            except RequestError as refusal:  # the group would make another error of it
                ended = refusal
            finally:
                for task in running:
                    task.cancel()
        if isinstance(ended, RequestError):
            raise ended
        return ended

    def _check_all_there(self, wanted: Mapping[Place, NodeId | None]) -> None:
        """Refuse to go on without what is gone: the end of the rest would say that all was read.

        Raises:
            RequestError: UNKNOWN_TOPIC.
        """
        gone = self._named - self._finished - wanted.keys()
        if gone:
            raise unknown_name(min(gone).topic, self._broker.image.topics)
        self._named |= wanted.keys()

    def _parts(self, wanted: Mapping[Place, NodeId | None]) -> list[_Part]:
        """Return who reads what.

        Raises:
            RequestError: LEADER_NOT_AVAILABLE.
        """
        groups: dict[NodeId | None, list[Place]] = {}
        me = self._broker.node_id
        for place, leader in wanted.items():
            if place in self._finished:
                continue
            if leader is None:
                where = f"{place.topic}/{place.number}"
                raise RequestError(
                    ErrorCode.LEADER_NOT_AVAILABLE,
                    f"{where} has no leader now; ask again",
                    topic=place.topic,
                    partition=str(place.number),
                )
            if leader != me:
                self._call.leaders.note(place.topic, place.number, leader)
            groups.setdefault(None if leader == me else leader, []).append(place)
        return [_Part(node, places) for node, places in groups.items()]

    async def _tell(
        self,
        parts: Sequence[_Part],
        said: _Said,
        *,
        send: Send,
        gate: asyncio.Event,
    ) -> bool:
        """Pass on what the parts say; `gate` is opened once all have said where they begin."""
        left = len(parts)
        opened: dict[int, _Response] = {}
        while left:
            told = await said.take(LOOK_MS)
            if told is None:
                if self._has_grown():
                    return False
                continue
            if isinstance(told, _Ended):
                if told.error is not None:
                    raise told.error
                self._finished.update(parts[told.part].places)
                left -= 1
                continue
            number, message = told
            size_bytes = message.ByteSize()  # before it is changed
            self._progress = True
            if message.HasField("opened"):
                opened[number] = message
                if len(opened) == len(parts):
                    await self._open(opened.values(), send)
                    gate.set()
            else:
                await self._pass_on(number, message, send, parts=len(parts))
            self._room.give_back(size_bytes)
        return not self._endless

    async def _open(self, opened: Iterable[_Response], send: Send) -> None:
        """Say where everything begins that the client was not told of."""
        message = _Response()
        message.opened.SetInParent()
        if self._request.HasField("range"):
            message.opened.range.CopyFrom(self._request.range)
        news = []
        for one in opened:
            for bound in one.opened.bounds:
                place = Place(bound.start.topic, bound.start.partition)
                if place not in self._bounds:
                    news.append(bound)
                    self._bounds[place] = bound
                elif bound.HasField("stop_offset"):
                    self._bounds[place].stop_offset = bound.stop_offset
        first = len(news) == len(self._bounds)
        if not news and not first:
            return
        if not first:
            message.opened.ClearField("range")
        news.sort(key=lambda bound: (bound.start.topic, bound.start.partition))
        message.opened.bounds.extend(news)
        await send(message)

    async def _pass_on(self, number: int, message: _Response, send: Send, *, parts: int) -> None:
        if message.HasField("caught_up"):
            self._live.add(number)
            if len(self._live) == parts and not self._told_live:
                self._told_live = True
                message.caught_up.ClearField("cursors")
                message.caught_up.cursors.extend(one.start for one in self._bounds.values())
                await send(message)
            return
        if message.HasField("fell_behind"):
            self._live.discard(number)
            if self._told_live:
                self._told_live = False
                await send(message)
            return
        await send(message)
        self._note(message)

    def _note(self, message: _Response) -> None:
        """Remember where the client stands now."""
        for part in message.records.partitions:
            self._at(part.next.topic, part.next.partition).start.CopyFrom(part.next)
        if message.HasField("gap"):
            gap = message.gap
            start = self._at(gap.partition.topic, gap.partition.partition).start
            start.offset = gap.next_offset
            start.ClearField("leader_epoch")
        if message.HasField("diverged"):
            where = message.diverged.partition
            self._finished.add(Place(where.topic, where.partition))

    def _at(self, topic: str, number: int) -> log_service_pb2.ReadBounds:
        return self._bounds[Place(topic, number)]

    def _has_grown(self) -> bool:
        if not self._endless:
            return False
        return not places_of(self._broker.image, self._request).keys() <= self._bounds.keys()

    # One part.

    async def _pump(
        self,
        number: int,
        part: _Part,
        *,
        said: _Said,
        gate: asyncio.Event,
    ) -> None:
        request = self._of_part(part)

        async def say(message: _Response) -> None:
            size_bytes = message.ByteSize()
            # Only records are worth a wait: nobody goes on until all parts have opened, and a few
            # bytes that say where a reader stands must not come late for others' records.
            if part.node is not None and message.HasField("records"):
                await self._room.take(size_bytes)
            else:
                self._room.count(size_bytes)
            if not message.HasField("opened"):
                await gate.wait()
            await said.put((number, message))

        error: RequestError | None = None
        try:
            if part.node is None:
                await self._local(request, say, self._call)
            else:
                async with aclosing(self._elsewhere(part.node, request)) as messages:
                    async for message in messages:
                        await say(message)
        except RequestError as refusal:
            error = refusal
        except StorageFailed as failed:  # the group would make another error of it
            error = storage_error(failed)
        await said.put(_Ended(number, error))

    def _elsewhere(self, node: NodeId, request: _Request) -> AsyncGenerator[_Response, None]:
        pulling = Pulling(self._forwarding, node, name=SUBSCRIBE, answer=_Response, call=self._call)
        return pulling.messages(request, self._broker.context.spawn)

    def _of_part(self, part: _Part) -> _Request:
        """Return the request of one part: its partitions by name, from where the client stands."""
        request = _Request()
        request.CopyFrom(self._request)
        for field in ("topics", "partitions", "bounds"):
            request.ClearField(field)
        given = {
            Place(one.start.topic, one.start.partition): one for one in self._request.bounds
        } | self._bounds
        for place in part.places:
            request.partitions.add(topic=place.topic, partition=place.number)
            if place in given:
                request.bounds.add().CopyFrom(given[place])
                request.bounds[-1].truncated = False
        return request


def _absolute(broker: Broker, request: _Request) -> _Request:
    """Return a request whose times before now are times, so that they mean the same everywhere."""
    wanted = _Request()
    wanted.CopyFrom(request)
    if wanted.bounds:
        check_items("bounds", len(wanted.bounds))
    for field in ("start", "stop"):
        if request.HasField(field):
            seek: common_pb2.Seek = getattr(wanted, field)
            place = place_of(broker, field, seek)
            if isinstance(place, AtTime):
                seek.time.CopyFrom(timestamp(place.time_ms))
    if request.HasField("range"):
        wanted.range.CopyFrom(range_message(range_of(broker, request.range)))
    return wanted


def is_elsewhere(broker: Broker, request: _Request, call: Call) -> bool:
    """Tell whether some of what a request names is led by other nodes, or by nobody now."""
    if broker.context.forwarding is None or not call.goes_on:
        return False
    return any(one != broker.node_id for one in places_of(broker.image, request).values())
