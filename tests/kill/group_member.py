"""A member of a group that commits without end; a killed node is resumed, or joined anew."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.group_stream import BROKEN, LEFT, GroupStream, StreamEnded, cost_of
from tests.kill.group_ledger import GroupLedger, Seat
from tests.kill.ledger import Ledger
from tests.kill.payload import Place, identity
from tidelog.v1 import common_pb2, group_service_pb2

PAUSE_S: Final = 0.02
UNANSWERED_MAX: Final = 3
"""Commits of one member on the way."""
GONE: Final = frozenset({"UNKNOWN_MEMBER", "STALE_MEMBER_EPOCH"})
"""The membership is over: join anew."""
AWAY: Final = frozenset({BROKEN, "COORDINATOR_LOADING", "SHUTTING_DOWN", "UNAVAILABLE"})
"""The node is not there just now: resume."""
Action: Any = group_service_pb2.ConsumeRequest


@dataclass(slots=True)
class Member:
    """One consumer. Belongs to the load's loop."""

    target: str
    group: str
    topics: Sequence[str]
    book: GroupLedger
    records: Ledger
    """What everybody was shown of the topics."""
    sending: bool = False
    ended: bool = False
    stands: dict[Place, int] = field(default_factory=dict)
    unanswered: dict[int, dict[Seat, int]] = field(default_factory=dict)
    """By correlation: the numbers in it."""
    ends: dict[Place, int] = field(default_factory=dict)
    """High watermarks that it was shown."""
    _commits: int = 0
    _membership: common_pb2.Membership | None = None
    _giving: list[common_pb2.TopicPartition] = field(default_factory=list)
    _committed: dict[Place, int] = field(default_factory=dict)
    _acked: dict[Place, int] = field(default_factory=dict)
    _resumes: bool = False

    async def run(self) -> None:
        """Open one stream after the other, until it has left."""
        over = False
        while not over:
            stream = self._open()
            try:
                await stream.begin()
                async with asyncio.TaskGroup() as tasks:
                    beating = tasks.create_task(self._beat(stream))
                    try:
                        while True:
                            await self._hear(stream, await stream.next())
                    finally:
                        beating.cancel()
            except* StreamEnded as ends:
                over = self._over(ends)
            finally:
                await stream.close()
            await asyncio.sleep(PAUSE_S)

    def _open(self) -> GroupStream:
        join: dict[str, Any] = {"topics": self.topics}
        self._resumes = self._membership is not None
        if self._membership is not None:
            cursors = [self._cursor(place, offset) for place, offset in self.stands.items()]
            join |= {"member": self._membership, "cursors": cursors}
        else:
            self.book.joined += 1
        return GroupStream(self.target, self.group, client_id=self.group, **join)

    def _over(self, ends: BaseExceptionGroup[StreamEnded]) -> bool:
        """Note how a stream ended; return whether it was the last one."""
        reasons = {one.reason for one in ends.exceptions if isinstance(one, StreamEnded)}
        self.book.in_flight += sum(map(len, self.unanswered.values()))
        self.unanswered, self._committed, self._acked, self._giving = {}, {}, {}, []
        if reasons & GONE:
            self._membership, self.stands = None, {}
        elif LEFT in reasons and self.ended:
            return True
        elif not reasons <= AWAY:
            self.book.problem(f"a stream of {self.group} ended: {ends.exceptions[0]}")
            return True
        return False

    async def _beat(self, stream: GroupStream) -> None:
        """Say something all the time: a commit of what is new, or a sign of life."""
        beats = 0
        while True:
            beats += 1
            if self.ended and not self.unanswered:
                await stream.say(leave=Action.Leave())
                return
            await self._hand_over(stream)
            await self._commit(stream)
            if beats % 50 == 0:
                await stream.say(heartbeat=Action.Heartbeat())
            await asyncio.sleep(PAUSE_S)

    async def _commit(self, stream: GroupStream) -> None:
        news = {
            place: offset
            for place, offset in self.stands.items()
            if self._committed.get(place) != offset
        }
        if not news or not self.sending or len(self.unanswered) >= UNANSWERED_MAX:
            return
        self._commits += 1
        numbers = {}
        cursors = []
        for place, offset in news.items():
            seat = Seat(self.group, place)
            number = numbers[seat] = self.book.send(seat, offset)
            cursors.append(self._cursor(place, offset, metadata=str(number)))
            self._committed[place] = offset
        self.unanswered[self._commits] = numbers
        await stream.commit(self._commits, cursors)

    async def _hand_over(self, stream: GroupStream) -> None:
        """Give back what was asked for, once all of it is committed and answered."""
        places = [Place(one.topic, one.partition) for one in self._giving]
        settled = all(self._acked.get(at) == self.stands.get(at) for at in places)
        if not places or not settled:
            return
        given, self._giving = self._giving, []
        for place in places:
            self.stands.pop(place, None)
            self._committed.pop(place, None)
            self._acked.pop(place, None)
        await stream.say(revoked=Action.Revoked(partitions=given))

    async def _hear(self, stream: GroupStream, message: Any) -> None:
        match message.WhichOneof("event"):
            case "joined":
                self._membership = message.joined.member
                self.book.resumed += self._resumes
                self._resumes = False
            case "assigned":
                self._begin(message.assigned.cursors)
            case "revoke":
                self._giving += message.revoke.partitions
            case "records":
                self._take(message.records)
                await stream.taken(*cost_of(message.records))
            case "committed":
                self._answered(message.committed)
            case "gap" | "diverged" | None:
                self.book.problem(f"{self.group} was told {message}")
            case _:
                pass

    def _begin(self, cursors: Sequence[common_pb2.Cursor]) -> None:
        for one in cursors:
            place = Place(one.topic, one.partition)
            stood = self.stands.get(place)
            if stood is None:
                self.book.begin(Seat(self.group, place), one.offset)
                self._committed[place] = self._acked[place] = one.offset
            elif stood != one.offset:
                self.book.problem(
                    f"{self.group} goes on in {place} at {one.offset}, it stood at {stood}"
                )
            self.stands[place] = one.offset

    def _take(self, records: common_pb2.Records) -> None:
        for step in records.partitions:
            place = Place(step.next.topic, step.next.partition)
            self.ends[place] = step.high_watermark
            for batch in step.batches:
                for record in batch.records:
                    due = self.stands.get(place)
                    if record.offset != due:
                        text = f"{self.group} stood at {due} in {place}, got {record.offset}"
                        self.book.problem(text)
                    self.records.see(place, record.offset, identity(record.value))
                    self.stands[place] = record.offset + 1
                self.book.delivered += len(batch.records)

    def _answered(self, committed: Any) -> None:
        numbers = self.unanswered.pop(committed.correlation_id)
        for row in committed.results:
            seat = Seat(self.group, Place(row.partition.topic, row.partition.partition))
            if not row.HasField("error"):
                self.book.ack(seat, numbers[seat], by_member=True)
                self._acked[seat.place] = self.book.records[seat].sent[numbers[seat]]
            elif row.error.reason not in GONE:  # those: it was handed over or taken meanwhile
                self.book.problem(f"{seat}: {row.error.reason} {row.error.message}")

    def _cursor(self, place: Place, offset: int, *, metadata: str = "") -> common_pb2.Cursor:
        return common_pb2.Cursor(
            topic=place.topic, partition=place.partition, offset=offset, metadata=metadata
        )
