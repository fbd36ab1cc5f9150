"""Send a group to another place, at rest or while it runs: where each partition goes, then all.

Places are looked up while the group goes on. What it does meanwhile changes none of them; but where
all its partitions are meant, one that it begins in is to go along, and all are looked up again.

Invariant:
    SEEK_IS_OF_NOW    a shift is counted from where the group stands when it is decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

from api.broker.context import BrokerContext
from api.broker.every_partition import EveryPartition
from api.broker.group_commits import NamedCursor
from api.broker.group_standing import GroupStanding, Standing, commits_of
from api.broker.group_state import GroupState
from api.broker.group_topics import ImageTopics
from api.broker.members import Members
from api.broker.place import AtTime, Latest, Place
from api.broker.reach import check_committed
from api.broker.readable import Readable
from api.broker.resolve import Resolve, Resolved, held_within
from api.broker.seek_refusals import (
    moves_on,
    nothing_committed,
    nothing_committed_at_all,
    sent_elsewhere,
)
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupEpoch, GroupRecord
from consumer_groups.requests import Move, Seek
from consumer_groups.views import SeekPlan, SeekRow
from model.errors import RequestError
from model.ids import AppendTimeMs, GroupId, LeaderEpoch, Offset, PartitionId
from model.names import check_topic_name
from model.principal import Principal
from model.result import Result

TRIES_MAX: Final = 5
"""Of looking places up, for a group that begins in further partitions meanwhile."""


class ToPlace(NamedTuple):
    """To the same place in every partition."""

    place: Place


class ToGroup(NamedTuple):
    """To where another group is."""

    group: GroupId


class ShiftBy(NamedTuple):
    """So many offsets on, or back, from where the group is; held within the log."""

    offsets: int


class ToCursors(NamedTuple):
    """To a place for each partition."""

    cursors: Sequence[NamedCursor]


Target: TypeAlias = ToPlace | ToGroup | ShiftBy | ToCursors


@dataclass(frozen=True, slots=True, kw_only=True)
class SeekGroup:
    """What is asked for."""

    group: GroupId
    target: Target
    partitions: Sequence[Readable] | None = None
    """None: every partition with a commit, of this group or of the one to go to."""
    of_topics: frozenset[PartitionId] = frozenset()
    """Of these, what was named by its topic alone: where the target says nothing it stays."""
    force: bool = False
    validate_only: bool = False


class Change(NamedTuple):
    """One partition's move; `error` where it cannot be done, in a plan only; neither: it stays."""

    partition: Readable
    row: SeekRow | None
    error: RequestError | None = None


class Sought(NamedTuple):
    """The plan, or what was done."""

    changes: Sequence[Change]
    group_epoch: GroupEpoch
    member_count: int
    """Live members that are fenced by it."""


class _Shifted(NamedTuple):
    """What was decided."""

    plan: SeekPlan
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class GroupSeek:
    """The use case; one for each node. Loop only."""

    node: BrokerContext
    every: EveryPartition
    state: GroupState
    members: Members
    resolve: Resolve
    standing: GroupStanding

    async def __call__(self, principal: Principal, asked: SeekGroup) -> Sought:
        """Move a group in all partitions or in none; with `validate_only` only tell the plan.

        Raises:
            RequestError: GROUP_NOT_EMPTY, UNKNOWN_GROUP, OFFSET_OUT_OF_RANGE, INVALID_REQUEST and
                whatever makes one partition's move impossible, unless it is a plan;
                OVERLOADED, the group has offsets in other partitions each time.
        """
        self.state.check_led(asked.group)  # else all that is looked up here is so in vain
        if isinstance(asked.target, ShiftBy):
            return await self._shifted(principal, asked, asked.target.offsets)
        for _ in range(TRIES_MAX):
            sought = await self._tried(principal, asked)
            if sought is not None:
                return sought
        raise moves_on(asked.group, TRIES_MAX)

    async def _tried(self, principal: Principal, asked: SeekGroup) -> Sought | None:
        """Find the places and move; None: the group has begun in other partitions meanwhile."""
        standing = await self._standing(principal, asked)
        partitions = asked.partitions
        every: frozenset[PartitionId] | None = None
        if partitions is None:
            partitions = self._named_by(asked.target, standing)
            if isinstance(asked.target, ToPlace):
                every = frozenset(partition.id for partition in partitions)
        moves: list[Move] = []
        errors: dict[PartitionId, RequestError] = {}
        found = await self._moves(principal, partitions, asked, standing=standing)
        for partition, move in zip(partitions, found, strict=True):
            if move is None:
                continue
            if isinstance(move, Move):
                moves.append(move)
            elif asked.validate_only:
                errors[partition.id] = move
            else:
                raise move
        if not moves and errors:
            return await self._only_errors(asked, partitions, errors)
        request = _request(principal, asked, moves, every=every)
        plan = await self.state.call(
            asked.group,
            lambda machine, now: machine.seek(
                request, now=now, topics=ImageTopics(self.node.quorum.image)
            ),
        )
        if plan is None:
            return None
        rows = {row.partition: row for row in plan.rows}
        changes = [Change(one, rows.get(one.id), errors.get(one.id)) for one in partitions]
        return self._sought(asked, plan, changes)

    async def _shifted(self, principal: Principal, asked: SeekGroup, by: int) -> Sought:
        """Move from where the group stands: worked out with the decision, nothing in between.

        How far a log goes that another node leads is asked before; a partition in which the group
        has begun meanwhile is asked about, and all is decided again.
        """
        logs: dict[PartitionId, Resolved] = {}

        def decide(
            machine: GroupMachine, now: AppendTimeMs
        ) -> Result[GroupRecord, _Shifted | Sequence[Readable]]:
            partitions, standing = asked.partitions, _stands(machine, asked)
            if partitions is None:
                partitions = self._named_by(asked.target, standing)
            unknown = [one for one in partitions if not one.serves and one.id not in logs]
            if unknown:
                return Result((), unknown)
            moves = [_shift(one, standing, by, log=logs.get(one.id, one)) for one in partitions]
            request = _request(principal, asked, moves)
            decided = machine.seek(request, now=now, topics=ImageTopics(self.node.quorum.image))
            plan = decided.response
            assert plan is not None, "SEEK_IS_OF_NOW"
            changes = [Change(one, row) for one, row in zip(partitions, plan.rows, strict=True)]
            return Result(decided.records, _Shifted(plan, changes))

        for _ in range(TRIES_MAX):
            found = await self.state.call(asked.group, decide)
            if isinstance(found, _Shifted):
                return self._sought(asked, *found)
            said = await self.resolve.each(principal, found, Latest())
            for partition, log in zip(found, said, strict=True):
                if isinstance(log, RequestError):
                    raise log
                logs[partition.id] = log
        raise moves_on(asked.group, TRIES_MAX)

    def _sought(self, asked: SeekGroup, plan: SeekPlan, changes: Sequence[Change]) -> Sought:
        """Return what was done, and tell the members that are fenced by it."""
        if not asked.validate_only:
            self.members.fenced(asked.group, plan.fenced, sent_elsewhere(asked.group))
        return Sought(changes, plan.group_epoch, len(plan.fenced))

    async def _only_errors(
        self,
        asked: SeekGroup,
        partitions: Sequence[Readable],
        errors: Mapping[PartitionId, RequestError],
    ) -> Sought:
        """Return a plan in which nothing can be moved."""
        group = asked.group
        found = await self.state.read(
            group,
            lambda machine: None if machine.revision(group) is None else machine.group(group),
        )
        changes = [Change(one, None, errors.get(one.id)) for one in partitions]
        if found is None:
            return Sought(changes, GroupEpoch(0), 0)
        return Sought(changes, found.summary.epoch, found.summary.member_count)

    async def _standing(self, principal: Principal, asked: SeekGroup) -> Standing:
        """Return the commits that the target is measured by, or that name the partitions."""
        match asked.target:
            case ToGroup(other):
                return await self.standing(principal, other)
            case ToCursors(cursors):
                return {
                    self._named(one).id: (
                        one.offset,
                        one.leader_epoch,
                    )
                    for one in cursors
                }
            case _ if asked.partitions is None:
                group = asked.group
                return await self.state.read(group, lambda machine: commits_of(machine, group))
            case _:
                return {}

    def _named_by(self, target: Target, standing: Standing) -> list[Readable]:
        """Return the partitions of a request that names none.

        Raises:
            RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION.
        """
        if isinstance(target, ToCursors):
            return [self._named(one) for one in target.cursors]
        found: list[Readable] = []
        for partition in standing:
            if partition.topic in self.node.quorum.image.topics_by_id:  # else it was just deleted
                found.append(self.every.get_by_id(*partition))
        return sorted(found, key=lambda one: (one.topic.name, one.number))

    def _named(self, cursor: NamedCursor) -> Readable:
        return self.every.get(check_topic_name(cursor.topic), cursor.number)

    async def _moves(
        self,
        principal: Principal,
        partitions: Sequence[Readable],
        asked: SeekGroup,
        *,
        standing: Standing,
    ) -> list[Move | RequestError | None]:
        """Return where each partition goes, or why it cannot: OFFSET_OUT_OF_RANGE and its like.

        None: it stays as it is. OFFSET_NOT_AVAILABLE: its leader cannot tell whether what lies
        there is committed.

        Raises:
            RequestError: INVALID_REQUEST, all would stay.
        """
        target = asked.target
        if isinstance(target, ToPlace):
            found = await self.resolve.each(principal, partitions, _onward(target.place))
            return [
                one if isinstance(one, RequestError) else _at(partition, one)
                for partition, one in zip(partitions, found, strict=True)
            ]
        known = [one for one in partitions if one.id in standing]
        logs = await self.resolve.each(principal, known, Latest())
        told = {one.id: log for one, log in zip(known, logs, strict=True)}
        group = target.group if isinstance(target, ToGroup) else asked.group
        moves: list[Move | RequestError | None] = []
        for one in partitions:
            log = told.get(one.id)
            if log is not None:
                moves.append(_stand(one, standing, log))
            elif one.id in asked.of_topics:
                moves.append(None)
            else:
                moves.append(nothing_committed(group, one))
        if partitions and not any(moves):
            raise nothing_committed_at_all(group, partitions)
        return moves


def _stands(machine: GroupMachine, asked: SeekGroup) -> Standing:
    """Return where a group stands; one that is not there stands nowhere, where it is told."""
    if asked.partitions is not None and machine.revision(asked.group) is None:
        return {}
    return commits_of(machine, asked.group)


def _shift(partition: Readable, standing: Standing, by: int, *, log: Readable | Resolved) -> Move:
    """Return the move by so many offsets, held within the log."""
    start, end = log.log_start, log.high_watermark
    stands, _ = standing.get(partition.id, (start, None))
    wanted = stands + by
    after = Offset(min(max(wanted, start), end))
    return _to(partition, after, log, truncated=wanted < start and start > 0)


def _onward(place: Place) -> Place:
    """Return a place as a group is sent to it: everything from there on is to come."""
    return replace(place, onward=True) if isinstance(place, AtTime) else place


def _at(partition: Readable, found: Resolved) -> Move | RequestError:
    """Return the move to a place; a time that no record has reached means the end."""
    after = found.high_watermark if found.offset is None else found.offset
    try:
        check_committed(partition, after, mark=found.high_watermark)
    except RequestError as above:
        return above
    return _to(partition, after, found, truncated=found.truncated)


def _stand(
    partition: Readable, standing: Standing, log: Resolved | RequestError
) -> Move | RequestError:
    """Return the move to where a partition stands in what the target is measured by."""
    if isinstance(log, RequestError):
        return log
    wanted, epoch = standing[partition.id]
    try:
        after = held_within(partition, wanted, start=log.log_start, mark=log.high_watermark)
        check_committed(partition, after, mark=log.high_watermark)
    except RequestError as beyond:
        return beyond
    same = after == wanted
    return _to(partition, after, log, truncated=not same, leader_epoch=epoch if same else None)


def _request(
    principal: Principal,
    asked: SeekGroup,
    moves: Sequence[Move],
    *,
    every: frozenset[PartitionId] | None = None,
) -> Seek:
    return Seek(
        group=asked.group,
        principal=principal.name,
        moves=tuple(moves),
        every=every,
        force=asked.force,
        validate_only=asked.validate_only,
    )


def _to(
    partition: Readable,
    after: Offset,
    log: Readable | Resolved,
    *,
    truncated: bool,
    leader_epoch: LeaderEpoch | None = None,
) -> Move:
    return Move(
        partition=partition.id,
        after=after,
        log_start=log.log_start,
        truncated=truncated,
        leader_epoch=leader_epoch,
    )
