"""A member that never rests: it reads in small steps, and a commit of it is always on its way."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from tests.group_stream import BROKEN, GroupStream, StreamEnded, cost_of
from tests.seek_blind.history import TOPIC, value_of
from tests.seek_blind.round import Round
from tidelog.v1 import common_pb2, group_service_pb2

GROUP: Final = "sought"
CREDIT: Final = common_pb2.Credit(records=16, bytes=1 << 20)
"""Little: a seek meets a group that is in the middle of the log."""
ENDS: Final = frozenset({"STALE_MEMBER_EPOCH", "UNKNOWN_MEMBER", BROKEN})
"""How a seek ends a stream. A write that meets the end keeps gRPC from handing on the reason; then
the late commit, which follows each seek, tells that the membership is over."""
Revoked: Any = group_service_pb2.ConsumeRequest.Revoked


class Member:
    """One consumer; after a seek it joins anew."""

    def __init__(
        self, target: str, name: str, *, latest: Callable[[], Round], seen: Callable[[], None]
    ) -> None:
        """`latest`: the round that runs now; `seen`: called when something has come."""
        self.name = name
        self._target = target
        self._latest = latest
        self._seen = seen
        self.round = latest()
        self.membership = common_pb2.Membership()
        self.stands: dict[int, int] = {}
        self.may_join = asyncio.Event()
        self._commits = 0
        self._answered = 0
        self._under_way: dict[int, int] = {}
        self._giving: list[common_pb2.TopicPartition] = []
        self._leaving = False
        self._stream: GroupStream | None = None

    async def run(self) -> None:
        """Consume until it has left."""
        while not self._leaving:
            await self.may_join.wait()
            self.round = self._latest()
            stream = self._stream = GroupStream(
                self._target, GROUP, client_id=self.name, topics=[TOPIC], credit=CREDIT
            )
            try:
                await stream.begin()
                while True:
                    await self._hear(stream, await stream.next())
                    self._seen()
            except StreamEnded as over:
                self._over(over)
            finally:
                await stream.close()

    async def leave(self) -> None:
        """Leave in order."""
        self._leaving = True
        if self._stream is not None:
            await self._stream.say(leave=group_service_pb2.ConsumeRequest.Leave())

    def cursors(self) -> list[common_pb2.Cursor]:
        """Return where it stands in all that it has."""
        return [
            common_pb2.Cursor(topic=TOPIC, partition=number, offset=offset)
            for number, offset in self.stands.items()
        ]

    def _over(self, over: StreamEnded) -> None:
        account = self.round.account
        self.stands, self._giving = {}, []
        account.commits_cut += bool(self._under_way)
        self._under_way = {}
        if over.reason in ENDS and self.round is not self._latest():
            account.fenced += 1
        elif not self._leaving:
            self.round.problem(f"the stream of {self.name} ended: {over}")
            self._leaving = True
        self._seen()

    async def _hear(self, stream: GroupStream, message: Any) -> None:
        kind = message.WhichOneof("event")
        match kind:
            case "joined":
                self.membership = message.joined.member
            case "assigned":
                for place in message.assigned.cursors:
                    self.round.begins(self.name, place.partition, place.offset)
                    self.stands[place.partition] = place.offset
            case "revoke":
                self._giving += message.revoke.partitions
            case "records":
                self._take(message.records)
                records, size_bytes = cost_of(message.records)
                await stream.taken(records, size_bytes)
            case "committed":
                self._answer(message.committed)
            case "heartbeat":  # it rests only while it has nothing
                await stream.say(heartbeat=group_service_pb2.ConsumeRequest.Heartbeat())
            case "gap" | "diverged" | None:
                self.round.problem(f"{self.name} was told {message}")
            case _:
                pass
        await self._commit(stream)

    async def _commit(self, stream: GroupStream) -> None:
        """Commit unless a commit is on its way; hand over what is asked for behind the last one."""
        if self._under_way:
            return
        if self._giving and self._answered == self._commits and self._settled():
            given, self._giving = self._giving, []
            for partition in given:
                self.stands.pop(partition.partition, None)
            await stream.say(revoked=Revoked(partitions=given))
        if self.stands:
            self._commits += 1
            self._under_way = dict(self.stands)
            for number, offset in self.stands.items():
                self.round.sent[number] = max(self.round.sent[number], offset)
            await stream.commit(self._commits, self.cursors())

    def _settled(self) -> bool:
        """Tell whether all that it is to give back is committed as it stands.

        It may be asked for what it was never given: the node had decided both before it told.
        """
        given = [one.partition for one in self._giving if one.partition in self.stands]
        return all(self.round.committed[number] == self.stands[number] for number in given)

    def _answer(self, committed: Any) -> None:
        self._answered = committed.correlation_id
        for row in committed.results:
            number = row.partition.partition
            if row.HasField("error"):
                self.round.problem(
                    f"{self.name}: the commit of partition {number} was refused: {row.error.reason}"
                )
                continue
            self.round.committed[number] = self._under_way[number]
            self.round.account.commits_acked += 1
        self._under_way = {}

    def _take(self, records: Any) -> None:
        for step in records.partitions:
            number = step.next.partition
            for batch in step.batches:
                offsets = [record.offset for record in batch.records]
                first, end = offsets[0], offsets[-1] + 1
                due = self.stands.get(number, -1)
                self.round.delivered(self.name, number, first=first, end=end, due=due)
                good = [value_of(number, offset) for offset in range(first, end)]
                if [record.value for record in batch.records] != good:
                    self.round.problem(f"{self.name}: {number}@{first} holds other records")
                self.stands[number] = end
