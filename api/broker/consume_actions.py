"""What one member says over its stream, carried out; what comes of it is for the stream to tell.

Actions are begun in the order in which they came, and those that the group's coordinator decides
are decided in that order: each is asked before the first await.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from api.broker.consume_assignment import Assignment
from api.broker.consume_events import (
    Action,
    Alive,
    Committed,
    CommitTo,
    Event,
    GoTo,
    Grant,
    HandOver,
    LeaveGroup,
    Pause,
)
from api.broker.consume_places import Held
from api.broker.consume_starts import Starts
from api.broker.context import BrokerContext
from api.broker.coordinator_moved import MOVED
from api.broker.every_partition import EveryPartition
from api.broker.group_commits import GroupCommits, NamedCursor
from api.broker.group_state import GroupState
from api.broker.members import Members
from api.broker.read_on import ReadOn
from api.broker.resolve import Resolve, reads_from
from api.broker.subscribe import Bounds
from consumer_groups.native.credits import Credits
from consumer_groups.records import Owned
from consumer_groups.requests import ByStream, Leave, Revoked
from consumer_groups.views import MemberView
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, MonotonicMs
from model.limits import REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX
from model.principal import Principal

COMMITS_UNANSWERED_MAX: Final = REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX.value
ENDS_STREAM: Final = MOVED | {
    ErrorCode.UNKNOWN_MEMBER,
    ErrorCode.STALE_MEMBER_EPOCH,
    ErrorCode.FENCED_INSTANCE,
}
"""A commit that is refused so ends the stream: the membership is lost, or goes on elsewhere, where
the commit is made again. Other refusals stand in the rows of its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDoors:
    """What every session of a node works with."""

    node: BrokerContext
    partitions: EveryPartition
    state: GroupState
    members: Members
    commits: GroupCommits
    starts: Starts
    resolve: Resolve
    read_on: ReadOn
    turn: Callable[[], Awaitable[None]]
    """Returns once everything else that is ready has had its turn."""
    remind: Callable[[MonotonicMs, Callable[[], None]], Callable[[], None]]
    """Calls at a time on the node's clock, when a stream owes a sign of life; returns its end."""


class Said:
    """The actions of one stream. Loop only."""

    def __init__(
        self,
        doors: SessionDoors,
        principal: Principal,
        *,
        group: GroupId,
        member: MemberView,
        assignment: Assignment,
        credit: Credits,
    ) -> None:
        """Act for a member over the stream that it has by now."""
        self._doors = doors
        self._principal = principal
        self._group = group
        self._by = ByStream(member.member_id, member.stream)
        self._assignment = assignment
        self._places = assignment.places
        self._credit = credit
        self._answers: list[Committed] = []
        self._moved: list[Held] = []
        self.room = asyncio.Semaphore(COMMITS_UNANSWERED_MAX)
        """For commits whose answers its client has not read."""
        self.leaving = False
        """It has said that it goes: it is sent nothing more but answers."""
        self.left = False

    @property
    def answers(self) -> int:
        """How many answers are there to be told."""
        return len(self._answers)

    def take_answers(self) -> list[Event]:
        """Return the answers that have come since, in the order of the commits."""
        answers: list[Event] = [*self._answers]
        self._answers = []
        return answers

    def take_moved(self) -> list[Held]:
        """Return the partitions that go on elsewhere since, as asked; those given back left out."""
        moved = [held for held in self._moved if self._places.has(held) and not held.stands_still]
        self._moved = []
        return moved

    async def carry_out(self, action: Action) -> None:
        """Carry out one action.

        Raises:
            RequestError: refused; StorageFailed: the disk refused a read.
        """
        match action:
            case CommitTo():
                await self._commit(action)
            case Grant(records, size_bytes):
                self._credit.grant(records=records, size_bytes=size_bytes)
            case HandOver():
                await self._hand_over(action)
            case Pause(partitions, paused):
                for held in self._places.named(partitions):
                    held.paused = paused
            case GoTo():
                await self._go_to(action)
            case LeaveGroup():
                await self._leave()
            case Alive():
                pass  # it was heard

    async def _commit(self, commit: CommitTo) -> None:
        results: list[RequestError | None]
        try:
            results = await self._doors.commits(
                self._group,
                self._by,
                commit.cursors,
                meant=self._meant,
                claimed=self._assignment.claimed,
            )
        except RequestError as refusal:
            if refusal.code in ENDS_STREAM:
                raise
            results = [refusal] * len(commit.cursors)
        self._answers.append(Committed(commit.correlation_id, commit.cursors, results))

    def _meant(self, cursor: NamedCursor) -> Owned | None:
        return self._assignment.meant((cursor.topic, cursor.number))

    async def _hand_over(self, given: HandOver) -> None:
        holds = self._assignment.handed_over(given.partitions)
        request = Revoked(
            group=self._group,
            member_id=self._by.member_id,
            stream=self._by.stream,
            holds=holds,
        )
        if holds:
            await self._doors.state.call(self._group, lambda machine, _: machine.revoked(request))

    async def _go_to(self, asked: GoTo) -> None:
        """Send partitions elsewhere; until the places are found, they deliver nothing."""
        going = [
            replace(held, bounds=replace(held.bounds), fresh=True, stands_still=True)
            for held in self._places.named(asked.partitions)
        ]
        for held in going:
            self._places.take(held)
        for held in going:
            found = await self._place(held, asked)
            if self._places.has(held):  # else it was given back, or sent elsewhere since
                held.bounds = found
                held.stands_still = False
                self._moved.append(held)

    async def _place(self, held: Held, asked: GoTo) -> Bounds:
        partition = held.bounds.partition
        if asked.to is None:
            return await self._doors.starts.of_group(self._principal, self._group, partition)
        found = await self._doors.resolve(self._principal, partition, asked.to)
        return Bounds(partition, reads_from(asked.to, found))

    async def _leave(self) -> None:
        self.leaving = True
        leave = Leave(group=self._group, member_id=self._by.member_id, stream=self._by.stream)
        await self._doors.members.leave(leave)
        self.left = True
