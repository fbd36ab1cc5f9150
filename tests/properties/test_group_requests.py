"""Whatever a group is asked for, what is written of it can be read again.

Doors bound names and numbers by their types and lengths alone (249 characters, 32 and 64 bits);
within that everything is tried here, above all what no client of good will says.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from consumer_groups.records import GroupEpoch, LeaveReason, MemberId, Owned, StreamNumber
from consumer_groups.requests import (
    Begin,
    ByEpoch,
    ByStream,
    Commit,
    Cursor,
    DeleteOffsets,
    FromOutside,
    Join,
    Leave,
    Move,
    Resume,
    Revoked,
    Seek,
)
from consumer_groups.settings import AssignorName, GroupSettings
from model.errors import RequestError
from model.ids import AppendTimeMs, GroupId, LeaderEpoch, Offset, PartitionId, TopicId, TopicName
from model.limits import NAME_CHARACTERS_MAX
from tests.group_bench import GroupBench

NAMES = ("orders", "bills")
LONG = "\U0001f3bc" * NAME_CHARACTERS_MAX.value
"""Of four bytes each: the longest that a door lets through."""
LONG_MEMBER = MemberId(f"{LONG}-0123456789abcdef")

names = st.sampled_from(["g", "bücher", LONG])
members = st.sampled_from([MemberId("a"), MemberId("b"), LONG_MEMBER])
streams = st.sampled_from([0, 1, (1 << 63) - 1]).map(StreamNumber)
epochs = (st.integers(0, 8) | st.sampled_from([-(1 << 31), -2, -1, (1 << 31) - 1])).map(GroupEpoch)
leader_epochs = st.none() | epochs.map(LeaderEpoch)
numbers = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-2, 9)
timeouts = st.none() | st.integers(-1, 1 << 40) | st.sampled_from([0, 1_000, 8_000, 60_000])
partitions = st.builds(
    PartitionId,
    st.sampled_from([bytes([made]) * 16 for made in (1, 2, 9)]).map(TopicId),
    st.integers(0, 3) | st.sampled_from([-(1 << 31), -1, (1 << 31) - 1]),
)
actors = (
    st.builds(ByStream, members, streams)
    | st.builds(ByEpoch, members, epochs)
    | st.builds(FromOutside, st.sampled_from(["", "anna", LONG]))
)
texts = st.sampled_from(["", "app", LONG])
joins = st.builds(
    Join,
    group=names.map(GroupId),
    new_member_id=members,
    stream=streams,
    topics=st.lists(st.sampled_from(NAMES).map(TopicName), max_size=3).map(tuple),
    instance_id=st.none() | names,
    client_id=texts,
    host=texts,
    session_timeout_ms=timeouts,
    rebalance_timeout_ms=timeouts,
    resume_timeout_ms=timeouts,
    assignor=st.none() | st.sampled_from([*(one.value for one in AssignorName), "newer"]),
)
cursors = st.builds(
    Cursor,
    partition=partitions,
    offset=numbers.map(Offset),
    leader_epoch=leader_epochs,
    metadata=st.sampled_from([0, 4, 2_048, 2_049, 35_000]).map("ü".__mul__),
    since_epoch=st.none() | epochs,
)
moves = st.builds(
    Move,
    partition=partitions,
    after=numbers.map(Offset),
    log_start=st.integers(0, 9).map(Offset),
    leader_epoch=leader_epochs,
)
holds = st.lists(st.builds(Owned, partitions, epochs), max_size=4).map(tuple)
several = st.lists(partitions, max_size=4).map(tuple)


class Asked(RuleBasedStateMachine):
    """Groups that are asked for anything; the bench reads every record that it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = GroupBench(GroupSettings(members_max=3))
        self.machine, self.topics = self.bench.machine, self.bench.topics
        for name in NAMES:
            self.topics.create(name, 3)
        self.joined: set[MemberId] = set()

    @rule(request=joins)
    def join(self, request: Join) -> None:
        if request.new_member_id in self.joined:  # who asks draws a new one
            return
        try:
            decided = self.machine.join(request, now=self.bench.now, topics=self.topics)
        except RequestError:
            return
        self.bench.take(decided)
        self.joined.add(request.new_member_id)

    @rule(group=names, member_id=members, epoch=epochs, stream=streams)
    def resume(
        self, *, group: str, member_id: MemberId, epoch: GroupEpoch, stream: StreamNumber
    ) -> None:
        request = Resume(
            group=GroupId(group), member_id=member_id, member_epoch=epoch, stream=stream
        )
        try:
            decided = self.machine.resume(request)
        except RequestError:
            return
        self.bench.take(decided)

    @rule(group=names, member_id=members, stream=streams, reason=st.sampled_from(LeaveReason))
    def leave(
        self, *, group: str, member_id: MemberId, stream: StreamNumber, reason: LeaveReason
    ) -> None:
        request = Leave(group=GroupId(group), member_id=member_id, stream=stream, reason=reason)
        self.bench.take(self.machine.leave(request, now=self.bench.now, topics=self.topics))

    @rule(group=names, actor=actors, rows=st.lists(cursors, max_size=3).map(tuple))
    def commit(
        self, group: str, actor: ByStream | ByEpoch | FromOutside, rows: tuple[Cursor, ...]
    ) -> None:
        request = Commit(group=GroupId(group), actor=actor, cursors=rows)
        try:
            decided = self.machine.commit(request, now=self.bench.now, topics=self.topics)
        except RequestError:
            return
        for cursor, row in zip(rows, decided.response, strict=True):
            bad = cursor.offset < 0 or (cursor.leader_epoch is not None and cursor.leader_epoch < 0)
            assert row.error is not None or not bad
        self.bench.take(decided)

    @rule(group=names, member_id=members, stream=streams, rows=st.lists(cursors, max_size=3))
    def begin(
        self, *, group: str, member_id: MemberId, stream: StreamNumber, rows: list[Cursor]
    ) -> None:
        request = Begin(
            group=GroupId(group),
            by=ByStream(member_id, stream),
            topic=TopicId(bytes([1]) * 16),
            cursors=tuple(rows),
            alike=frozenset(),
        )
        try:
            decided = self.machine.begin(request, now=self.bench.now, topics=self.topics)
        except RequestError:
            return
        self.bench.take(decided)

    @rule(group=names, rows=st.lists(moves, max_size=3).map(tuple), force=st.booleans())
    def seek(self, group: str, rows: tuple[Move, ...], *, force: bool) -> None:
        request = Seek(group=GroupId(group), principal=LONG, moves=rows, force=force)
        try:
            decided = self.machine.seek(request, now=self.bench.now, topics=self.topics)
        except RequestError:
            return
        self.bench.take(decided)

    @rule(group=names, member_id=members, stream=streams, rows=holds)
    def revoked(
        self, *, group: str, member_id: MemberId, stream: StreamNumber, rows: tuple[Owned, ...]
    ) -> None:
        request = Revoked(group=GroupId(group), member_id=member_id, stream=stream, holds=rows)
        try:
            decided = self.machine.revoked(request)
        except RequestError:
            return
        self.bench.take(decided)

    @rule(group=names, member_id=members, rows=holds)
    def overdue(self, group: str, member_id: MemberId, rows: tuple[Owned, ...]) -> None:
        self.bench.take(self.machine.revoke_overdue(GroupId(group), member_id, rows))

    @rule(group=names, rows=several)
    def delete_offsets(self, group: str, rows: tuple[PartitionId, ...]) -> None:
        request = DeleteOffsets(group=GroupId(group), partitions=rows)
        try:
            decided = self.machine.delete_offsets(request, topics=self.topics)
        except RequestError:
            return
        self.bench.take(decided)

    @rule(passes=st.sampled_from([0, 1, 1 << 40]))
    def time(self, passes: int) -> None:
        self.bench.now = AppendTimeMs(min(self.bench.now + passes, 1 << 62))
        self.bench.take(self.machine.expire(now=self.bench.now))


Asked.TestCase.settings = settings(stateful_step_count=30)
TestAsked = Asked.TestCase


@given(cursor=cursors, move=moves)
def test_a_place_below_zero_is_refused_by_name(cursor: Cursor, move: Move) -> None:
    """Also a leader epoch: below zero stands for none in a record, and is read as nothing else."""
    bench = GroupBench()
    bench.topics.create("orders", 3)
    group, here = GroupId("g"), PartitionId(TopicId(bytes([1]) * 16), 0)
    commit = Commit(
        group=group,
        actor=FromOutside("anna"),
        cursors=(Cursor(partition=here, offset=cursor.offset, leader_epoch=cursor.leader_epoch),),
    )
    (row,) = bench.take(bench.machine.commit(commit, now=bench.now, topics=bench.topics))
    assert row.error is None or row.error.metadata["field"] in wrong(cursor.offset, cursor)
    assert bool(row.error) == bool(wrong(cursor.offset, cursor))
    to = Move(partition=here, after=move.after, log_start=Offset(0), leader_epoch=move.leader_epoch)
    seek = Seek(group=group, principal="anna", moves=(to,))
    try:
        bench.take(bench.machine.seek(seek, now=bench.now, topics=bench.topics))
    except RequestError as refused:
        assert refused.metadata["field"] in wrong(move.after, move)
    else:
        assert not wrong(move.after, move)


def wrong(offset: Offset, told: Cursor | Move) -> set[str]:
    """Return the fields that are below zero."""
    found = {"offset": offset, "leader_epoch": told.leader_epoch}
    return {name for name, number in found.items() if number is not None and number < 0}
