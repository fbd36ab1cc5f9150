"""A member of a group is served by any node, whoever coordinates it and leads its partitions."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest

from api.broker.consume_actions import COMMITS_UNANSWERED_MAX
from api.broker.consume_session import STEP_BYTES, ConsumeSession
from cluster.shell.hosted_partition import HostedPartition
from cluster.state_partition.layout import CONSUMER_OFFSETS, partition_of
from model.errors import ErrorCode
from model.ids import Offset
from tests.cluster_members import Member, Request, called, hang_up, ready
from tests.cluster_nodes import Life, Nodes
from tidelog.v1 import common_pb2, group_service_pb2, log_service_pb2

TOPIC: Final = "orders"
PARTITIONS: Final = 6
EVERY: Final = tuple(range(PARTITIONS))


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        await made.create(1, TOPIC, partitions=PARTITIONS)
        for number in EVERY:
            await made.leader(TOPIC, number)
        commit = group_service_pb2.CommitOffsetsRequest(group="first")
        commit.cursors.add(topic=TOPIC, partition=0, offset=0)
        await ready(made, made.lives[1], "ConsumerGroupService/CommitOffsets", commit)
        for number in range(8):
            await made.leader(CONSUMER_OFFSETS, number)
        yield made
        await hang_up(made)
    finally:
        await made.close()


def coordinated_by(nodes: Nodes, number: int) -> str:
    """Return a group that a node coordinates."""
    return next(
        name
        for name in (f"g{at}" for at in range(1_000))
        if nodes.row(CONSUMER_OFFSETS, partition_of(name)).leader == number
    )


async def produce(nodes: Nodes, values: Sequence[bytes], *, at: int = 1) -> None:
    """Append one record to each partition in turn."""
    request = log_service_pb2.ProduceRequest()
    for number, value in enumerate(values):
        batch = request.batches.add(topic=TOPIC, partition=number % PARTITIONS)
        batch.records.add(value=value)
    answer = await ready(nodes, nodes.lives[at], "LogService/Produce", request)
    assert not any(row.HasField("error") for row in answer.results), answer


async def offsets(nodes: Nodes, life: Life, group: str) -> dict[int, int]:
    """Return what a group has committed, as a node says."""
    request = group_service_pb2.ListGroupOffsetsRequest(group=group)
    answer = await ready(nodes, life, "ConsumerGroupService/ListGroupOffsets", request)
    return {
        row.partition.partition: row.committed.offset
        for row in answer.offsets
        if row.HasField("committed")
    }


def words(count: int, mark: str = "") -> list[bytes]:
    return [f"{mark}{number}".encode() for number in range(count)]


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_member_at_any_node_reads_and_commits_whoever_coordinates(
    nodes: Nodes, at: int
) -> None:
    sent = words(2 * PARTITIONS)
    await produce(nodes, sent)
    for coordinator in (1, 2, 3):
        group = coordinated_by(nodes, coordinator)
        member = Member(nodes, nodes.lives[at], group, TOPIC)
        await member.holding(*EVERY)
        await member.has(len(sent))
        assert sorted(member.values) == sorted(sent)
        assert await member.commit() == []
        await member.leave()
        for life in nodes.lives.values():
            assert await offsets(nodes, life, group) == dict.fromkeys(EVERY, 2)


async def test_members_at_all_nodes_share_the_partitions_of_one_group(nodes: Nodes) -> None:
    group = coordinated_by(nodes, 2)
    members = [Member(nodes, life, group, TOPIC) for life in nodes.lives.values()]
    await nodes.until(lambda: all(len(one.owns) == 2 for one in members))
    assert set().union(*(one.owns for one in members)) == set(EVERY)
    sent = words(5 * PARTITIONS)
    await produce(nodes, sent, at=3)
    await nodes.until(lambda: sum(len(one.values) for one in members) >= len(sent))
    assert sorted(value for one in members for value in one.values) == sorted(sent)
    await members[0].leave()
    await nodes.until(lambda: all(len(one.owns) == 3 for one in members[1:]))


async def test_what_is_brought_keeps_its_order_and_its_credit(nodes: Nodes) -> None:
    """Credits are counted where the group is coordinated; at zero nothing comes."""
    group = coordinated_by(nodes, 2)
    sent = words(10 * PARTITIONS)
    await produce(nodes, sent)
    credit = common_pb2.Credit(records=7, bytes=1 << 20)
    member = Member(nodes, nodes.lives[1], group, TOPIC, credit=credit)
    await member.has(7)
    await nodes.pass_by(3_000)
    assert len(member.values) == 7
    for count in range(8, len(sent) + 1):
        member.say(credit=common_pb2.Credit(records=1, bytes=1 << 10))
        await member.has(count)
        assert len(member.values) == count
    for number in EVERY:
        mine = [value for value in member.values if int(value) % PARTITIONS == number]
        assert mine == sorted(mine, key=int)


async def test_a_member_that_reads_nothing_is_held_by_one_message_in_each_node(
    nodes: Nodes,
) -> None:
    """P58: neither the node that it is connected to nor the other one runs ahead of it."""
    group = coordinated_by(nodes, 2)
    record = bytes(100_000)
    for _ in range(12):
        await produce(nodes, [record] * PARTITIONS)
    served = sum(life.context.served_bytes for life in nodes.lives.values())
    member = Member(nodes, nodes.lives[1], group, TOPIC)
    await member.holding(*EVERY)
    member.reads.clear()
    before = len(member.values)
    await nodes.pass_by(30_000)
    assert len(member.values) == before
    assert not member.task.done()
    read = sum(life.context.served_bytes for life in nodes.lives.values()) - served
    assert read - before * len(record) <= 3 * STEP_BYTES
    assert nodes.lives[1].context.answers.taken_bytes <= 2 * STEP_BYTES
    member.reads.set()
    await member.has(12 * PARTITIONS)


async def test_commits_that_wait_for_room_are_neither_lost_nor_made_twice(nodes: Nodes) -> None:
    """A client that reads no answers is heard no further; what it has said waits where it is."""
    group = coordinated_by(nodes, 2)
    await produce(nodes, words(PARTITIONS))
    member = Member(nodes, nodes.lives[1], group, TOPIC)
    await member.has(PARTITIONS)
    member.reads.clear()
    count = 2 * COMMITS_UNANSWERED_MAX
    for number in range(count):
        cursors = [common_pb2.Cursor(topic=TOPIC, partition=0, offset=number % 2)]
        member.say(commit=Request.Commit(correlation_id=number, cursors=cursors))
    await nodes.pass_by(4_000)
    assert not member.task.done()
    member.reads.set()
    await nodes.until(lambda: len(member.committed) == count)
    assert [one.correlation_id for one in member.committed] == list(range(count))
    assert not any(row.HasField("error") for one in member.committed for row in one.results)
    assert await offsets(nodes, nodes.lives[3], group) == {0: 1}


async def test_who_joins_while_nobody_coordinates_waits_a_moment(nodes: Nodes) -> None:
    """Nobody is refused for the second that a fail-over takes."""
    group = coordinated_by(nodes, 2)
    await nodes.kill(2)
    for life in nodes.lives.values():
        member = Member(nodes, life, group, TOPIC)
        await nodes.until(lambda: bool(member.on_stream) or member.task.done())  # noqa: B023
        assert not member.task.done(), member.task.exception()
    took_over = nodes.row(CONSUMER_OFFSETS, partition_of(group)).leader
    assert took_over is not None
    await nodes.kill(took_over)
    (left,) = nodes.lives.values()
    began = nodes.net.clock.monotonic_ms()
    member = Member(nodes, left, group, TOPIC)
    assert (await member.ended()).code.retryable
    assert nodes.net.clock.monotonic_ms() - began <= 5_000


async def test_who_leaves_hears_everything_that_it_was_told_before(nodes: Nodes) -> None:
    """Also if it goes on saying that it lives, to a stream that is over there."""
    group = coordinated_by(nodes, 2)
    await produce(nodes, words(PARTITIONS))
    member = Member(nodes, nodes.lives[1], group, TOPIC)
    await member.has(PARTITIONS)
    member.reads.clear()
    cursors = [common_pb2.Cursor(topic=TOPIC, partition=0, offset=1)]
    for number in range(3):
        member.say(commit=Request.Commit(correlation_id=number, cursors=cursors))
    member.say(leave=Request.Leave())
    for _ in range(5):
        member.say(heartbeat=Request.Heartbeat())
    await nodes.pass_by(3_500)
    member.reads.set()
    await nodes.until(member.task.done)
    member.task.result()
    assert [one.correlation_id for one in member.committed] == [0, 1, 2]


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no follower of the topic hear what is committed."""
    advanced = HostedPartition.advanced

    def late(self: HostedPartition, mark: Offset) -> None:
        if self.leads or self.topic.name != TOPIC:
            advanced(self, mark)

    monkeypatch.setattr(HostedPartition, "advanced", late)


@pytest.mark.usefixtures("behind")
async def test_what_was_read_may_be_committed_though_the_replica_here_is_behind(
    nodes: Nodes,
) -> None:
    """A follower hears later than a reader what is committed, and may be catching up for long."""
    group = coordinated_by(nodes, 2)
    await produce(nodes, words(PARTITIONS))
    led = [number for number in EVERY if nodes.row(TOPIC, number).leader == 2]
    assert len(led) < PARTITIONS
    member = Member(nodes, nodes.lives[1], group, TOPIC)
    await member.has(PARTITIONS)
    assert await member.commit() == []
    await produce(nodes, words(PARTITIONS, "more "))
    await member.has(2 * PARTITIONS)
    await member.resume(nodes.lives[3])
    assert await member.commit() == []
    await member.leave()
    commit = group_service_pb2.CommitOffsetsRequest(group=group)
    for number in EVERY:
        commit.cursors.add(topic=TOPIC, partition=number, offset=2)
    name = "ConsumerGroupService/CommitOffsets"
    answer = await ready(nodes, nodes.lives[1], name, commit)
    assert not any(row.HasField("error") for row in answer.results)
    for one in commit.cursors:
        one.offset = 3
    answer = await ready(nodes, nodes.lives[1], name, commit)
    assert {row.error.reason for row in answer.results} == {"OFFSET_OUT_OF_RANGE"}
    rows = await lag_of(nodes, group)
    assert [(row.high_watermark, row.lag) for row in rows] == [(2, 0)] * PARTITIONS


@pytest.mark.usefixtures("behind")
async def test_a_coordinator_that_takes_over_believes_a_member_what_it_has_read(
    nodes: Nodes,
) -> None:
    """Else the commit that its member makes again would be refused as beyond the end."""
    group = coordinated_by(nodes, 2)
    await produce(nodes, words(PARTITIONS))
    member = Member(nodes, nodes.lives[1], group, TOPIC)
    await member.has(PARTITIONS)
    await nodes.kill(2)
    await member.ended()
    member.join["credit"] = common_pb2.Credit()  # it reads nothing of the next one
    await member.resume(nodes.lives[1])
    assert await member.commit() == []


async def lag_of(nodes: Nodes, group: str) -> Any:
    request = group_service_pb2.ListGroupOffsetsRequest(group=group)
    name = "ConsumerGroupService/ListGroupOffsets"
    return (await ready(nodes, nodes.lives[1], name, request)).offsets


@pytest.mark.parametrize("at", [1, 3])
async def test_a_killed_coordinator_costs_no_commit_and_no_rebalance(nodes: Nodes, at: int) -> None:
    """P20: its members resume with id and epoch, through whichever node they are connected to."""
    group = coordinated_by(nodes, 2)
    members = [Member(nodes, nodes.lives[number], group, TOPIC) for number in (1, 3)]
    await nodes.until(lambda: all(len(one.owns) == 3 for one in members))
    await produce(nodes, words(2 * PARTITIONS))
    await nodes.until(lambda: all(len(one.values) == 6 for one in members))
    for one in members:
        assert await one.commit() == []
    held = [(one.owns, one.membership) for one in members]
    died = nodes.net.clock.monotonic_ms()
    await nodes.kill(2)
    for one in members:
        assert (await one.ended()).code is ErrorCode.COORDINATOR_NOT_AVAILABLE
    for one in members:
        await one.resume(nodes.lives[at])
    assert nodes.net.clock.monotonic_ms() - died < 3_000
    await produce(nodes, words(2 * PARTITIONS, "later "), at=at)
    await nodes.until(lambda: all(len(one.values) == 12 for one in members))
    assert [(one.owns, one.membership) for one in members] == held
    assert all("revoke" not in one.on_stream for one in members)
    for life in nodes.lives.values():
        assert await offsets(nodes, life, group) == dict.fromkeys(EVERY, 2)
    for one in members:
        assert await one.commit() == []
    assert await offsets(nodes, nodes.lives[at], group) == dict.fromkeys(EVERY, 4)


async def test_a_member_whose_node_is_killed_resumes_at_another(nodes: Nodes) -> None:
    group = coordinated_by(nodes, 2)
    member, other = (Member(nodes, nodes.lives[number], group, TOPIC) for number in (1, 2))
    await nodes.until(lambda: len(member.owns) == len(other.owns) == 3)
    held, before, heard = member.owns, member.membership, len(other.on_stream)
    await nodes.kill(1)
    await member.resume(nodes.lives[3])
    await produce(nodes, words(PARTITIONS), at=3)
    await member.has(3)
    assert (member.owns, member.membership) == (held, before)
    assert "revoke" not in other.on_stream[heard:]


async def test_a_member_that_went_with_its_node_is_missed_at_once(nodes: Nodes) -> None:
    """Its stream broke: the resume timeout runs, not the time that a silent reader is given."""
    group = coordinated_by(nodes, 2)
    member, other = (Member(nodes, nodes.lives[number], group, TOPIC) for number in (1, 2))
    await nodes.until(lambda: len(member.owns) == len(other.owns) == 3)
    died = nodes.net.clock.monotonic_ms()
    await nodes.kill(1)
    member.task.cancel()
    await other.holding(*EVERY)
    assert nodes.net.clock.monotonic_ms() - died < 4_000


async def test_who_takes_groups_over_misses_members_that_do_not_come_back(nodes: Nodes) -> None:
    group = coordinated_by(nodes, 2)
    members = [Member(nodes, nodes.lives[number], group, TOPIC) for number in (1, 3)]
    await nodes.until(lambda: all(len(one.owns) == 3 for one in members))
    await nodes.kill(2)
    for one in members:
        await one.ended()
    await nodes.leader(CONSUMER_OFFSETS, partition_of(group))
    await nodes.pass_by(10_000)
    request = group_service_pb2.GetConsumerGroupRequest(name=group)
    name = "ConsumerGroupService/GetConsumerGroup"
    answer = await called(nodes, nodes.lives[1], name, request)
    assert not answer.group.members


async def test_a_coordinator_that_hands_over_ends_its_streams_and_they_go_on(
    nodes: Nodes,
) -> None:
    """Else it would go on delivering partitions that its successor gives to somebody else."""
    group = coordinated_by(nodes, 2)
    members = [Member(nodes, nodes.lives[number], group, TOPIC) for number in (1, 2)]
    await nodes.until(lambda: all(len(one.owns) == 3 for one in members))
    held = [(one.owns, one.membership) for one in members]
    await nodes.done(nodes.lives[2].node.leave())
    for one in members:
        assert (await one.ended()).code is ErrorCode.COORDINATOR_NOT_AVAILABLE
    for one in members:
        await one.resume(nodes.lives[3])
    assert [(one.owns, one.membership) for one in members] == held


async def test_nobody_hears_where_else_to_ask(nodes: Nodes) -> None:
    """A client that asked any node never hears NOT_COORDINATOR, whatever it says over a stream."""
    group = coordinated_by(nodes, 2)
    member = Member(nodes, nodes.lives[1], group, TOPIC)
    await member.holding(*EVERY)
    member.say(join=Request.Join(group=group, topics=[TOPIC]))
    assert (await member.ended()).code is ErrorCode.INVALID_REQUEST
    await member.resume(nodes.lives[1])
    member.say_nothing_more()
    assert (await member.ended()).code is ErrorCode.INVALID_REQUEST


async def test_a_bug_in_a_stream_that_is_brought_is_its_clients_alone(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = coordinated_by(nodes, 2)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ConsumeSession, "sent", broken)
    await produce(nodes, words(1))
    member = Member(nodes, nodes.lives[1], group, TOPIC)
    assert (await member.ended()).code is ErrorCode.INTERNAL
    assert [event for event, _ in nodes.lives[2].lines].count("request_failed") == 1
    nodes.check()


async def test_a_stream_that_has_ended_leaves_nothing_at_other_nodes(nodes: Nodes) -> None:
    group = coordinated_by(nodes, 2)
    before = {number: len(life.spawned) for number, life in nodes.lives.items()}
    for _ in range(3):
        member = Member(nodes, nodes.lives[1], group, TOPIC)
        await member.holding(*EVERY)
        await member.leave()
    member = Member(nodes, nodes.lives[1], group, TOPIC)
    await member.holding(*EVERY)
    member.task.cancel()
    await nodes.pass_by(5_000)
    assert all(len(nodes.lives[number].spawned) <= was + 1 for number, was in before.items())
