"""Members of groups at nodes of `tests.cluster_nodes`: what they say, and what they are told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final
from weakref import WeakKeyDictionary

from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.handlers import Bidirectional, Unary
from api.rpc.server import handlers_of
from model.errors import ErrorCode, RequestError
from model.ids import MonotonicMs
from model.principal import ANONYMOUS
from tests.cluster_nodes import Life, Nodes
from tidelog.v1 import common_pb2, group_service_pb2

# Constructors take dictionaries for messages; their stubs do not say so.
Request: Any = group_service_pb2.ConsumeRequest
EVERYTHING: Final = common_pb2.Credit(records=1_000_000, bytes=1 << 30)
BEAT_MS: Final = 1_000
RETRIED_MS_MAX: Final = 60_000
"""Of the nodes' time: what a client is told to try again has an end by then."""


def handler_of(life: Life, name: str) -> Any:
    """Return what serves a call at a node."""
    guard = Guard(life.node.broker, rand=life.context.rand, note=life.context.note)
    return handlers_of(life.node.broker, guard)[name]


async def called(  # noqa: PLR0917 - as a client names them
    nodes: Nodes, life: Life, name: str, request: Any, **facts: Any
) -> Any:
    """Return a node's answer to a client."""
    handler = handler_of(life, name)
    assert isinstance(handler, Unary)
    return await nodes.done(handler.serve(request, Call(name, ANONYMOUS, 10_000, **facts)))


async def ready(  # noqa: PLR0917 - as above
    nodes: Nodes, life: Life, name: str, request: Any
) -> Any:
    """Return an answer, asked again for as long as that is what a client is told to do.

    Raises:
        AssertionError: it is refused in another way, or has been for `RETRIED_MS_MAX`.
    """
    again = Again(nodes, name)
    while True:
        try:
            return await called(nodes, life, name, request)
        except RequestError as refusal:
            await again.after(refusal, wait_ms=50)


class Again:
    """How often a client tries something: as long as it is told to, but not for ever."""

    def __init__(self, nodes: Nodes, what: str) -> None:
        """Begin now."""
        self._nodes, self._what = nodes, what
        self._tries = 0
        self._ends_at = nodes.net.clock.monotonic_ms() + RETRIED_MS_MAX

    async def after(self, refusal: RequestError, *, wait_ms: int) -> None:
        """Wait before another try.

        Raises:
            AssertionError: there is to be none.
        """
        self._tries += 1
        assert refusal.code.retryable, f"{self._what}: {refusal}"
        late = self._nodes.net.clock.monotonic_ms() >= self._ends_at
        assert not late, (
            f"{self._what} is still refused after {RETRIED_MS_MAX} ms and {self._tries} tries: "
            f"{refusal.code.name}: {refusal}"
        )
        await self._nodes.pass_by(wait_ms)


_connected: Final[WeakKeyDictionary[Nodes, list["Member"]]] = WeakKeyDictionary()


async def hang_up(nodes: Nodes) -> None:
    """Break every stream that is open, and let the nodes hear of it."""
    members = _connected.pop(nodes, [])
    for member in members:
        member.task.cancel()
    await nodes.until(lambda: all(one.task.done() for one in members))


class Member:
    """One client: its newest stream, and everything that it was told over all of them."""

    def __init__(self, nodes: Nodes, life: Life, group: str, *topics: str, **join: Any) -> None:
        """Open a stream at a node; `until` lets it go on."""
        join.setdefault("credit", EVERYTHING)
        join.setdefault("encoding", common_pb2.ENCODING_RECORDS)
        self.nodes, self.group, self.topics, self.join = nodes, group, topics, join
        self.told: list[group_service_pb2.ConsumeResponse] = []
        self.membership: common_pb2.Membership | None = None
        self.stands: dict[int, common_pb2.Cursor] = {}
        """By number of partition; all tests have one topic."""
        self.values: list[bytes] = []
        self.committed: list[group_service_pb2.ConsumeResponse.Committed] = []
        self.beats = True
        self.reads = asyncio.Event()
        """Cleared: it takes nothing of what it is sent."""
        self.reads.set()
        _connected.setdefault(nodes, []).append(self)
        self._open(life, Request.Join(group=group, topics=topics, **join))

    def _open(self, life: Life, join: Any) -> None:
        handler = handler_of(life, "ConsumerGroupService/Consume")
        assert isinstance(handler, Bidirectional)
        self.life, self.on_stream = life, list[str]()
        """Where it is connected, and the kinds of what came over this stream."""
        self._says: asyncio.Queue[Any] = asyncio.Queue()
        self.say(join=join)
        call = Call("ConsumerGroupService/Consume", ANONYMOUS, None)
        requests = self._requests(self._says)
        self.task = asyncio.ensure_future(handler.serve(requests, self._take, call))
        self._beat(self.task)

    def _beat(self, task: "asyncio.Task[Any]") -> None:
        """Say that it lives, now and then, as clients do."""
        clock = self.nodes.net.clock

        def due() -> None:
            if not task.done() and task is self.task:
                if self.beats:
                    self.say(heartbeat=Request.Heartbeat())
                self._beat(task)

        clock.call_at(MonotonicMs(clock.monotonic_ms() + BEAT_MS), due)

    @staticmethod
    async def _requests(says: "asyncio.Queue[Any]") -> AsyncIterator[Any]:
        while (said := await says.get()) is not None:
            yield said

    def say(self, **action: Any) -> None:
        """Say something over the stream."""
        self._says.put_nowait(Request(**action))

    def say_nothing_more(self) -> None:
        """End the requests without Leave."""
        self._says.put_nowait(None)

    async def _take(self, message: group_service_pb2.ConsumeResponse) -> None:
        await self.reads.wait()
        message = group_service_pb2.ConsumeResponse.FromString(message.SerializeToString())
        kind = str(message.WhichOneof("event"))
        self.told.append(message)
        self.on_stream.append(kind)
        match kind:
            case "joined":
                self.membership = message.joined.member
            case "assigned":
                self.stands.update((one.partition, one) for one in message.assigned.cursors)
            case "revoke":
                for one in message.revoke.partitions:
                    self.stands.pop(one.partition, None)
                self.say(revoked=Request.Revoked(partitions=message.revoke.partitions))
            case "committed":
                self.committed.append(message.committed)
            case "records":
                for step in message.records.partitions:
                    self.stands[step.next.partition] = step.next
                    self.values += [one.value for batch in step.batches for one in batch.records]
            case _:
                pass  # kept in `told`

    @property
    def owns(self) -> set[int]:
        """Numbers of the partitions that it has."""
        return set(self.stands)

    async def holding(self, *numbers: int) -> None:
        """Wait until it has just these partitions."""
        await self.nodes.until(lambda: self._goes_on() and self.owns == set(numbers))

    async def has(self, values: int) -> None:
        """Wait until so many records have come."""
        await self.nodes.until(lambda: self._goes_on() and len(self.values) >= values)

    async def commit(self) -> list[str]:
        """Commit where it stands; return the reasons of rows that were refused."""
        number, before = len(self.committed), len(self.committed)
        cursors = list(self.stands.values())
        self.say(commit=Request.Commit(correlation_id=number, cursors=cursors))
        await self.nodes.until(lambda: self._goes_on() and len(self.committed) > before)
        assert self.committed[-1].correlation_id == number
        return [row.error.reason for row in self.committed[-1].results if row.HasField("error")]

    async def ended(self) -> RequestError:
        """Wait for the end of the stream; return what it ended with."""
        await self.nodes.until(self.task.done)
        error = self.task.exception()
        assert isinstance(error, RequestError), error
        return error

    async def resume(self, life: Life) -> None:
        """Come back at a node, again and again while that is what a client is told to do."""
        assert self.membership is not None
        self.task.cancel()
        again = Again(self.nodes, f"to resume in {self.group}")
        while True:
            join = Request.Join(group=self.group, topics=self.topics, **self.join)
            join.member.CopyFrom(self.membership)
            join.cursors.extend(self.stands.values())
            self._open(life, join)
            await self.nodes.until(lambda: self.task.done() or bool(self.on_stream))
            if not self.task.done():
                return
            refusal = await self.ended()
            assert refusal.code is not ErrorCode.NOT_COORDINATOR
            await again.after(refusal, wait_ms=100)

    async def leave(self) -> None:
        """Give everything back."""
        self.say(leave=Request.Leave())
        await self.nodes.until(self.task.done)
        self.task.result()

    def _goes_on(self) -> bool:
        if self.task.done():
            self.task.result()
            raise AssertionError("the stream has ended")
        return True
