"""A member of a group over gRPC, as plain as can be: what it says and what it is told."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from grpc import aio

from tests.grpc_node import GrpcNode, Refused, plain, refused
from tidelog.v1 import common_pb2, group_service_pb2

# Constructors take dictionaries for messages; their stubs do not say so.
Request: Any = group_service_pb2.ConsumeRequest
Seek: Any = common_pb2.Seek
EVERYTHING = common_pb2.Credit(records=1_000_000, bytes=1 << 30)


def seconds(amount: float) -> Duration:
    return Duration(seconds=int(amount), nanos=int(amount % 1 * 1e9))


def place(topic: str, partition: int = 0) -> common_pb2.TopicPartition:
    return common_pb2.TopicPartition(topic=topic, partition=partition)


def cursor(topic: str, partition: int, offset: int, **more: Any) -> common_pb2.Cursor:
    return common_pb2.Cursor(topic=topic, partition=partition, offset=offset, **more)


class Member:
    """One stream; everything that it was told is kept."""

    def __init__(self, served: GrpcNode, group: str, *topics: str, **join: Any) -> None:
        """Join; `member` and `cursors` among the fields resume."""
        self.served = served
        self.group = group
        self.call = served.groups.Consume(metadata=join.pop("metadata", None))
        join.setdefault("credit", EVERYTHING)
        self.join = Request.Join(group=group, topics=topics, **join)
        self.told: list[group_service_pb2.ConsumeResponse] = []
        self.membership: common_pb2.Membership | None = None
        self.assigned: dict[tuple[str, int], common_pb2.Cursor] = {}
        self.asked: list[tuple[str, int]] = []

    async def begin(self) -> "Member":
        """Say Join and hear Joined."""
        await self.call.write(Request(join=self.join))
        await self.until("joined")
        return self

    async def say(self, **action: Any) -> None:
        await self.call.write(Request(**action))

    async def next(self) -> group_service_pb2.ConsumeResponse:
        """Return the next message."""
        message: group_service_pb2.ConsumeResponse = await self.call.read()
        assert isinstance(message, group_service_pb2.ConsumeResponse), "the stream ended"
        self.told.append(message)
        match message.WhichOneof("event"):
            case "joined":
                self.membership = message.joined.member
            case "assigned":
                for one in message.assigned.cursors:
                    self.assigned[one.topic, one.partition] = one
            case "revoke":
                for part in message.revoke.partitions:
                    self.assigned.pop((part.topic, part.partition), None)
                    self.asked.append((part.topic, part.partition))
            case "records":
                for step in message.records.partitions:
                    self.assigned[step.next.topic, step.next.partition] = step.next
            case _:
                pass  # kept in `told`
        return message

    async def until(self, kind: str) -> Any:
        """Return the next message of a kind."""
        while True:
            message = await self.next()
            if message.WhichOneof("event") == kind:
                return getattr(message, kind)

    async def holding(self, *numbers: int, topic: str = "orders") -> None:
        """Hear until it has just these partitions of a topic."""
        while {at for name, at in self.assigned if name == topic} != set(numbers):
            await self.next()

    async def values(self, count: int) -> list[bytes]:
        """Hear until so many records have come; return their values."""
        found: list[bytes] = []
        while len(found) < count:
            found += [one.value for one in records(await self.next())]
        return found

    async def commit(
        self, *cursors: common_pb2.Cursor, correlation: int = 7
    ) -> list[common_pb2.PartitionResult]:
        """Commit and hear the answer."""
        await self.say(commit=Request.Commit(correlation_id=correlation, cursors=cursors))
        answer = await self.until("committed")
        assert answer.correlation_id == correlation
        return list(answer.results)

    async def hand_over(self) -> None:
        """Give back everything that it was asked for."""
        partitions = [place(*one) for one in self.asked]
        self.asked = []
        await self.say(revoked=Request.Revoked(partitions=partitions))

    async def leave(self) -> None:
        """Say Leave; hear the rest, which ends with OK."""
        await self.say(leave=Request.Leave())
        while (message := await self.call.read()) is not aio.EOF:
            self.told.append(message)
        assert (await self.call.code()).value[0] == 0

    async def refused(self) -> Refused:
        """Hear the stream end with an error."""
        try:
            while await self.call.read() is not aio.EOF:
                pass
        except aio.AioRpcError as error:
            return refused(error)
        raise AssertionError("the stream ended in order")

    async def cut(self) -> None:
        """Break the stream, and wait until the node has noticed."""
        self.call.cancel()
        session = (self.group, self.membership.member_id if self.membership else "")
        table: Any = self.served.node.broker.members
        while session in table._sessions:
            await self.served.turn()

    def resumed(self, **more: Any) -> "Member":
        """Return another stream of the same member, which goes on where this one is."""
        cursors = list(self.assigned.values())
        return Member(
            self.served, self.group, member=self.membership, **({"cursors": cursors} | more)
        )


def records(message: group_service_pb2.ConsumeResponse) -> list[common_pb2.Record]:
    return [
        one
        for part in message.records.partitions
        for batch in part.batches
        for one in batch.records
    ]


async def joined(served: GrpcNode, group: str, *topics: str, **join: Any) -> Member:
    """Return a member that has heard Joined."""
    return await Member(served, group, *topics, **join).begin()


async def commit(
    served: GrpcNode, group: str, *cursors: common_pb2.Cursor, **more: Any
) -> Sequence[common_pb2.PartitionResult]:
    """Commit beside any stream."""
    request: Any = group_service_pb2.CommitOffsetsRequest
    answer = await served.groups.CommitOffsets(request(group=group, cursors=cursors, **more))
    return list(answer.results)


async def offsets(served: GrpcNode, group: str) -> dict[tuple[str, int], Any]:
    """Return the lag table."""
    request = group_service_pb2.ListGroupOffsetsRequest(group=group)
    answer = await served.groups.ListGroupOffsets(request)
    return {(row.partition.topic, row.partition.partition): row for row in answer.offsets}


async def described(served: GrpcNode, group: str) -> group_service_pb2.ConsumerGroup:
    request = group_service_pb2.GetConsumerGroupRequest(name=group)
    found: group_service_pb2.ConsumerGroup = (await served.groups.GetConsumerGroup(request)).group
    return found


async def filled(served: GrpcNode, partitions: int = 2, records: int = 6) -> None:
    """Create `orders`; event times of each partition are 1 s, 2 s and so on."""
    await served.create("orders", partitions)
    for number in range(partitions):
        for count in range(records):
            batch = plain(b"%d-%d" % (number, count), partition=number, time=1_000 * (count + 1))
            await served.produce("orders", batch)
