"""One stream of a member at `tests.group_peer`: what it hears and tells, where it breaks."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from consumer_groups.native.credits import Credits
from consumer_groups.records import GroupEpoch, MemberId, Owned
from consumer_groups.requests import ByStream, Commit, Cursor, Join, Leave, Resume, Revoked
from consumer_groups.views import MemberView
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, LeaderEpoch, Offset, TopicName
from model.record import BatchHeader
from model.result import Result
from tests.log_peer import any_of, row_error
from tests.log_peer_service import step_of
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import group_service_pb2 as wire

if TYPE_CHECKING:
    from tests.group_peer import GroupPeer

NOW = AppendTimeMs(1_767_225_600_000)


class Cut(Exception):  # noqa: N818 - says what happens
    """The stream breaks here."""


class Session:
    """One stream of one member."""

    def __init__(self, groups: "GroupPeer", join: wire.ConsumeRequest.Join) -> None:
        self.groups = groups
        self.group = GroupId(join.group)
        self.encoding = join.encoding
        self.number = groups.stream()
        self.credits = Credits(records=join.credit.records, size_bytes=join.credit.bytes)
        self.cut = groups.faults.cut_after.pop(0) if groups.faults.cut_after else None
        self.broken = False
        self.over = False
        self.refused: RequestError | None = None
        self.told_epoch = -1
        self.places: dict[Owned, common.Cursor] = {}
        self.asked_back: set[Owned] = set()
        self.paused: set[tuple[str, int]] = set()
        self.answers: deque[wire.ConsumeResponse] = deque()
        self.told_caught_up = False
        self.named = {(one.topic, one.partition): one.offset for one in join.cursors}
        self.named_epoch = join.member.member_epoch if join.HasField("member") else -1
        if join.HasField("member"):
            self.member_id = MemberId(join.member.member_id)
            resume = Resume(
                group=self.group, member_id=self.member_id, stream=self.number,
                member_epoch=GroupEpoch(join.member.member_epoch),
            )  # fmt: skip
            groups.done(groups.machine.resume(resume))
            return
        self.member_id = MemberId(f"member-{self.number}")
        request = Join(
            group=self.group, new_member_id=self.member_id, stream=self.number,
            topics=tuple(TopicName(one) for one in join.topics),
            instance_id=join.instance_id or None,
        )  # fmt: skip
        groups.done(groups.machine.join(request, now=NOW, topics=groups))

    async def hear(self, requests: AsyncIterator[wire.ConsumeRequest]) -> None:
        async for request in requests:
            try:
                await self._hear(request)
            except RequestError as refused:
                self.refused = refused
            self.groups.done(Result((), None))

    async def _hear(self, request: wire.ConsumeRequest) -> None:
        groups = self.groups
        match request.WhichOneof("action"):
            case "credit":
                self.credits.grant(records=request.credit.records, size_bytes=request.credit.bytes)
            case "heartbeat":
                groups.heartbeats += 1
            case "commit":
                await self._commit(request.commit)
            case "revoked":
                rows = [(one.topic, one.partition) for one in request.revoked.partitions]
                groups.handed_over += rows
                revoked = Revoked(
                    group=self.group, member_id=self.member_id, stream=self.number,
                    holds=tuple(
                        hold for hold in self.asked_back if groups.key(hold.partition) in rows
                    ),
                )  # fmt: skip
                groups.done(groups.machine.revoked(revoked))
            case "pause":
                keys = {(one.topic, one.partition) for one in request.pause.partitions}
                self.paused = self.paused | keys if request.pause.paused else self.paused - keys
            case "leave":
                leave = Leave(group=self.group, member_id=self.member_id, stream=self.number)
                groups.left.append(self.member_id)
                self.over = True
                groups.done(groups.machine.leave(leave, now=NOW, topics=groups))
            case other:
                raise RequestError(ErrorCode.NOT_IMPLEMENTED, f"the peer knows no {other}")

    async def _commit(self, commit: wire.ConsumeRequest.Commit) -> None:
        groups = self.groups
        if groups.faults.hold_commits is not None:
            await groups.faults.hold_commits.wait()
        committed = wire.ConsumeResponse.Committed(correlation_id=commit.correlation_id)
        if groups.faults.refuse_commits:
            error = groups.faults.refuse_commits.popleft()
            for one in commit.cursors:
                at = common.TopicPartition(topic=one.topic, partition=one.partition)
                committed.results.add(partition=at, error=row_error(error))
        else:
            committed.results.extend(self._commit_rows(commit.cursors))
        if groups.faults.lose_commits:
            groups.faults.lose_commits -= 1
            self.broken = True
            return
        self.answers.append(wire.ConsumeResponse(committed=committed))

    def _commit_rows(self, cursors: Iterable[common.Cursor]) -> list[common.PartitionResult]:
        request = Commit(
            group=self.group,
            actor=ByStream(self.member_id, self.number),
            cursors=tuple(
                Cursor(
                    partition=self.groups.partition(one.topic, one.partition),
                    offset=Offset(one.offset),
                    leader_epoch=LeaderEpoch(one.leader_epoch),
                )
                for one in cursors
            ),
        )
        rows = self.groups.done(self.groups.machine.commit(request, now=NOW, topics=self.groups))
        results = []
        for row in rows:
            topic, number = self.groups.key(row.partition)
            at = common.TopicPartition(topic=topic, partition=number)
            error = None if row.error is None else row_error(row.error)
            results.append(common.PartitionResult(partition=at, error=error))
        return results

    async def events(self) -> AsyncIterator[wire.ConsumeResponse]:
        while True:
            changed = self.groups.changed
            if self.over:
                return
            if self.refused is not None:
                raise self.refused
            if self.broken:
                raise Cut
            view = self.groups.machine.check_stream(self.group, self.member_id, self.number)
            for event in self._told(view):
                yield event
            while self.answers:
                yield self.answers.popleft()
            # From before the look: what comes while this is being told is not slept through.
            events = [changed, *self._logs(view)]
            records = self._records(view)
            if records is None:
                if not self.told_caught_up and self.credits.may_send():
                    self.told_caught_up = True
                    yield wire.ConsumeResponse(caught_up=common.CaughtUp())
                await any_of(events)
                continue
            if self.cut == 0:
                raise Cut
            self.cut = None if self.cut is None else self.cut - 1
            self.told_caught_up = False
            yield records

    def _logs(self, view: MemberView) -> list[asyncio.Event]:
        """Return what is set once the log of a partition that the member has goes on."""
        logs = [self.groups.key(one.partition) for one in view.owned]
        return [self.groups.peer.partition(*at).changed for at in logs]

    def _told(self, view: MemberView) -> list[wire.ConsumeResponse]:
        """Return what the member must know before anything else."""
        told: list[wire.ConsumeResponse] = []
        if view.epoch != self.told_epoch:
            self.told_epoch = view.epoch
            member = common.Membership(member_id=view.member_id, member_epoch=view.epoch)
            timeout = Duration(seconds=view.session_timeout_ms // 1000)
            joined = wire.ConsumeResponse.Joined(member=member, session_timeout=timeout)
            told.append(wire.ConsumeResponse(joined=joined))
        back = [one for one in view.revoking if one not in self.asked_back]
        if back:
            self.asked_back.update(back)
            partitions = []
            for one in back:
                self.places.pop(one, None)
                topic, number = self.groups.key(one.partition)
                partitions.append(common.TopicPartition(topic=topic, partition=number))
            time_left = Duration(seconds=view.rebalance_timeout_ms // 1000)
            revoke = wire.ConsumeResponse.Revoke(partitions=partitions, time_left=time_left)
            told.append(wire.ConsumeResponse(revoke=revoke))
        self.places = {one: place for one, place in self.places.items() if one in view.owned}
        new = [one for one in view.owned if one not in self.places]
        for one in new:
            topic, number = self.groups.key(one.partition)
            offset = self.groups.committed(self.group, topic, number) or 0
            if one.since_epoch <= self.named_epoch:
                offset = self.named.get((topic, number), offset)
            self.places[one] = common.Cursor(topic=topic, partition=number, offset=offset)
        if new:
            cursors = [self.places[one] for one in new]
            told.append(
                wire.ConsumeResponse(assigned=wire.ConsumeResponse.Assigned(cursors=cursors))
            )
        return told

    def _records(self, view: MemberView) -> wire.ConsumeResponse | None:
        if not self.credits.may_send():
            return None
        for one in view.owned:
            at = self.groups.key(one.partition)
            partition = self.groups.peer.partition(*at)
            place = self.places[one]
            if place.offset < partition.log_start:
                gap = common.Gap(
                    partition=common.TopicPartition(topic=at[0], partition=at[1]),
                    expected_offset=place.offset, next_offset=partition.log_start,
                )  # fmt: skip
                place.offset = partition.log_start
                return wire.ConsumeResponse(gap=gap)
            if at in self.paused or place.offset >= partition.end:
                continue
            step = step_of(partition, place, self.encoding, stop=None)
            place.CopyFrom(step.next)
            batch = step.batches[0]
            count = len(batch.records)
            if batch.encoded:
                count = BatchHeader(memoryview(batch.encoded)).record_count
            self.credits.spend(records=count, size_bytes=batch.ByteSize())
            self.groups.sent_records += count
            return wire.ConsumeResponse(records=common.Records(partitions=[step]))
        return None
