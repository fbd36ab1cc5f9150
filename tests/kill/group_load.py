"""Groups beside the producers: members that consume and commit, and commits of nobody's.

After a kill the load is paused and what it was told is compared with what the node says; nothing is
committed meanwhile.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, Final

import grpc
from grpc import aio

from tests.group_stream import reason_of
from tests.kill.group_ledger import GroupLedger, Seat
from tests.kill.group_member import AWAY, PAUSE_S, Member
from tests.kill.grpc_loop import start
from tests.kill.ledger import Ledger
from tests.kill.payload import Place
from tidelog.v1 import common_pb2, group_service_pb2, group_service_pb2_grpc

WAIT_S_MAX: Final = 120.0
"""All that must come comes within this, however busy the machine is."""
LOOK_S: Final = 0.005
CALL_S_MAX: Final = 30.0
Commit: Any = group_service_pb2.CommitOffsetsRequest


class GroupsStuck(Exception):  # noqa: N818 - says what happened
    """The groups do not do what they must."""


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """A group to be."""

    name: str
    topics: tuple[str, ...]
    members: int
    """0: its offsets are committed from outside."""


GROUPS: Final = (
    GroupPlan("pair", ("quorum-24",), 2),
    GroupPlan("lone", ("stamped-4", "quorum-1"), 1),
    GroupPlan("async", ("async-24",), 2),
    GroupPlan("outside-1", ("quorum-24",), 0),
    GroupPlan("outside-2", ("quorum-24",), 0),
    GroupPlan("outside-3", ("quorum-1",), 0),
)


@dataclass(slots=True)
class _Outsider:
    """Commits for a group without members, one call after the other."""

    target: str
    group: str
    places: Sequence[Place]
    book: GroupLedger
    members: Sequence[Member]
    """Of them it learns how far the topics reach."""
    sending: bool = False
    ended: bool = False
    unanswered: dict[Seat, int] = field(default_factory=dict)
    _offsets: dict[Place, int] = field(default_factory=dict)

    async def run(self) -> None:
        async with aio.insecure_channel(self.target) as channel:
            groups: Any = group_service_pb2_grpc.ConsumerGroupServiceStub(channel)
            while not self.ended:
                cursors = self._cursors() if self.sending else []
                if not cursors:
                    await asyncio.sleep(PAUSE_S)
                    continue
                try:
                    answer = await groups.CommitOffsets(Commit(group=self.group, cursors=cursors))
                    self._answered(answer.results)
                except aio.AioRpcError as error:
                    self.book.in_flight += len(self.unanswered)
                    if reason_of(error) not in AWAY:
                        self.book.problem(f"{self.group}: {reason_of(error)} {error.details()}")
                        return
                    await channel.channel_ready()  # else what is never sent would be in flight
                finally:
                    self.unanswered = {}

    def _cursors(self) -> list[common_pb2.Cursor]:
        found = []
        for place in self.places:
            end = max((one.ends.get(place, 0) for one in self.members), default=0)
            offset = self._offsets[place] = min(self._offsets.get(place, 0) + 1, end)
            seat = Seat(self.group, place)
            number = self.unanswered[seat] = self.book.send(seat, offset)
            found.append(
                common_pb2.Cursor(
                    topic=place.topic,
                    partition=place.partition,
                    offset=offset,
                    metadata=str(number),
                )
            )
        return found

    def _answered(self, rows: Sequence[Any]) -> None:
        for row in rows:
            seat = Seat(self.group, Place(row.partition.topic, row.partition.partition))
            if row.HasField("error"):
                self.book.problem(f"{seat}: {row.error.reason} {row.error.message}")
            else:
                self.book.ack(seat, self.unanswered[seat], by_member=False)


class GroupLoad:
    """All groups of an era."""

    def __init__(
        self,
        target: str,
        plans: Sequence[GroupPlan],
        *,
        places: dict[str, tuple[Place, ...]],
        records: Ledger,
        era: int,
    ) -> None:
        """Join; nothing is committed before `go`. `places`: partitions of each planned topic."""
        self.book = GroupLedger()
        self._target = target
        self._members: list[Member] = []
        self._outsiders: list[_Outsider] = []
        self._known: list[tuple[str, tuple[Place, ...]]] = []
        for plan in plans:
            group = f"e{era}-{plan.name}"
            theirs = tuple(place for name in plan.topics for place in places.get(name, ()))
            self._known.append((group, theirs))
            topics = sorted({place.topic for place in theirs})
            self._members += [
                Member(target, group, topics, self.book, records) for _ in range(plan.members)
            ]
            if not plan.members:
                outsider = _Outsider(target, group, theirs, self.book, self._members)
                self._outsiders.append(outsider)
        self._running = start(self._all())

    def go(self) -> None:
        """Commit, as fast as answers come."""
        for one in self._everybody():
            one.sending = True

    def pause(self) -> None:
        """Commit nothing more; members go on reading, and resume."""
        for one in self._everybody():
            one.sending = False

    def acked_more(self, count: int) -> None:
        """Wait until so many more rows were acknowledged, from members and from outside.

        Raises:
            GroupsStuck: they do not come.
        """
        if not self._known:
            return
        book = self.book
        inside, outside = book.acked - book.standalone + count, book.standalone + count
        self._until(
            lambda: book.acked - book.standalone >= inside and book.standalone >= outside,
            f"{count} more commits of members and from outside",
        )

    def check(self) -> None:
        """Compare what the node says with what was acknowledged. The load is paused.

        Raises:
            GroupsStuck: a commit stays without an answer; the node does not tell.
        """
        everybody = self._everybody()
        self._until(
            lambda: not any(one.unanswered for one in everybody), "an answer to every commit"
        )
        with grpc.insecure_channel(self._target) as channel:
            groups: Any = group_service_pb2_grpc.ConsumerGroupServiceStub(channel)
            for group, places in self._known:
                self._check(groups, group, places)

    def close(self) -> None:
        """Let the members leave."""
        self.pause()
        for one in self._everybody():
            one.ended = True
        self._running.result(WAIT_S_MAX)

    def _everybody(self) -> "list[Member | _Outsider]":
        return [*self._members, *self._outsiders]

    def _check(self, groups: Any, group: str, places: Sequence[Place]) -> None:
        request = group_service_pb2.ListGroupOffsetsRequest(group=group)
        try:
            answer = groups.ListGroupOffsets(request, timeout=CALL_S_MAX)
        except grpc.RpcError as error:
            if any(self.book.records[Seat(group, place)].acked for place in places):
                raise GroupsStuck(f"{group} cannot be listed: {error}") from error
            return  # it has never come to be
        rows = {(row.partition.topic, row.partition.partition): row for row in answer.offsets}
        for place in places:
            row = rows.get(place)
            there = row is not None and row.HasField("committed")
            offset = row.committed.offset if row is not None and there else None
            metadata = row.committed.metadata if row is not None and there else ""
            self.book.read(Seat(group, place), offset, metadata)

    def _until(self, holds: Any, what: str) -> None:
        until = monotonic() + WAIT_S_MAX
        while not holds():
            if self._running.done():
                raise GroupsStuck(f"the load has ended: {self._running.exception()!r}")
            if self.book.problems:
                raise GroupsStuck(f"a promise is broken already, waiting for {what}")
            if monotonic() > until:
                raise GroupsStuck(f"{what} did not come in {WAIT_S_MAX:.0f} s")
            sleep(LOOK_S)

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for one in self._everybody():
                tasks.create_task(one.run())
