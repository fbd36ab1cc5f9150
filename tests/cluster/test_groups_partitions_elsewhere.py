"""Members are given partitions of which their coordinator has no replica, or one that is behind."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from cluster.controller.topics import DeleteTopic
from cluster.peer.table import Family
from cluster.state_partition.layout import CONSUMER_OFFSETS, partition_of
from model.errors import RequestError
from model.ids import TopicId
from model.principal import ANONYMOUS
from tests.cluster_members import Member, Request, called, hang_up, ready
from tests.cluster_nodes import Nodes
from tidelog.v1 import common_pb2, group_service_pb2, log_service_pb2, topic_service_pb2

TOPIC: Final = "orders"
PARTITIONS: Final = 6
EVERY: Final = tuple(range(PARTITIONS))
SERVICE: Final = "ConsumerGroupService"
LATEST: Final = common_pb2.Seek(edge=common_pb2.EDGE_LATEST)
EARLIEST: Final = common_pb2.Seek(edge=common_pb2.EDGE_EARLIEST)


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    """Three nodes; each partition of the topic has one replica, at one of them."""
    made = Nodes(3)
    try:
        await made.start()
        await made.create(1, TOPIC, partitions=PARTITIONS, replicas=1)
        for number in EVERY:
            await made.leader(TOPIC, number)
        await commit(made, "first", {0: 0})
        for number in range(8):
            await made.leader(CONSUMER_OFFSETS, number)
        yield made
        await hang_up(made)
    finally:
        await made.close()


def coordinated_by(nodes: Nodes, number: int) -> str:
    """Return a group that a node coordinates."""
    names = (f"g{at}" for at in range(1_000))
    rows = {at: nodes.row(CONSUMER_OFFSETS, at).leader for at in range(8)}
    return next(name for name in names if rows[partition_of(name)] == number)


async def commit(nodes: Nodes, group: str, offsets: dict[int, int], *, at: int = 1) -> list[str]:
    """Commit from outside; return the reason for each row, empty where it was taken."""
    request = group_service_pb2.CommitOffsetsRequest(group=group)
    for number, offset in offsets.items():
        request.cursors.add(topic=TOPIC, partition=number, offset=offset)
    answer = await ready(nodes, nodes.lives[at], f"{SERVICE}/CommitOffsets", request)
    return [row.error.reason for row in answer.results]


async def produce(nodes: Nodes, *, mark: str, at: int = 1) -> list[bytes]:
    """Append one record to each partition."""
    request = log_service_pb2.ProduceRequest()
    for number in EVERY:
        batch = request.batches.add(topic=TOPIC, partition=number)
        batch.records.add(value=f"{mark}{number}".encode())
    answer = await ready(nodes, nodes.lives[at], "LogService/Produce", request)
    assert not any(row.HasField("error") for row in answer.results), answer
    return [f"{mark}{number}".encode() for number in EVERY]


async def lag(nodes: Nodes, group: str, *, at: int) -> Any:
    request = group_service_pb2.ListGroupOffsetsRequest(group=group)
    answer = await ready(nodes, nodes.lives[at], f"{SERVICE}/ListGroupOffsets", request)
    assert not any(row.HasField("error") for row in answer.offsets), answer
    return {row.partition.partition: row for row in answer.offsets}


async def test_each_partition_is_at_one_node(nodes: Nodes) -> None:
    """Else these tests show nothing."""
    assert {nodes.row(TOPIC, number).leader for number in EVERY} == {1, 2, 3}
    for number in EVERY:
        hosts = [one.number for life in nodes.lives.values() for one in life.context.partitions]
        assert hosts.count(number) >= 1
    with pytest.raises(RequestError):
        for number in EVERY:
            nodes.lives[1].hosted(TOPIC, number)


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_member_reads_and_commits_what_its_coordinator_has_not(
    nodes: Nodes, at: int
) -> None:
    sent = await produce(nodes, mark="a")
    group = coordinated_by(nodes, 2)
    member = Member(nodes, nodes.lives[at], group, TOPIC)
    await member.holding(*EVERY)
    await member.has(PARTITIONS)
    await nodes.until(lambda: "caught_up" in member.on_stream)
    sent += await produce(nodes, mark="b")  # nobody tells the coordinator: it asks
    await member.has(2 * PARTITIONS)
    assert sorted(member.values) == sorted(sent)
    assert await member.commit() == []
    rows = await lag(nodes, group, at=at)
    assert {number: row.committed.offset for number, row in rows.items()} == dict.fromkeys(EVERY, 2)
    assert {row.lag for row in rows.values()} == {0}


async def test_a_member_begins_at_the_end_of_partitions_elsewhere(nodes: Nodes) -> None:
    await produce(nodes, mark="before")
    group = coordinated_by(nodes, 2)
    member = Member(nodes, nodes.lives[1], group, TOPIC, start=LATEST)
    await member.holding(*EVERY)
    await nodes.until(lambda: "caught_up" in member.on_stream)
    sent = await produce(nodes, mark="after")
    await member.has(PARTITIONS)
    assert sorted(member.values) == sorted(sent)
    assert set(await lag(nodes, group, at=1)) == set(EVERY)


async def test_a_member_begins_where_the_log_elsewhere_begins_without_a_gap(nodes: Nodes) -> None:
    await produce(nodes, mark="trimmed")
    trim = topic_service_pb2.TrimTopicRequest(name=TOPIC, before=LATEST)
    await called(nodes, nodes.lives[1], "TopicService/TrimTopic", trim)
    sent = await produce(nodes, mark="kept")
    member = Member(nodes, nodes.lives[1], coordinated_by(nodes, 2), TOPIC)
    await member.has(PARTITIONS)
    assert sorted(member.values) == sorted(sent)
    assert "gap" not in member.on_stream


async def test_a_member_is_repositioned_in_partitions_elsewhere(nodes: Nodes) -> None:
    sent = await produce(nodes, mark="a")
    member = Member(nodes, nodes.lives[1], coordinated_by(nodes, 2), TOPIC)
    await member.has(PARTITIONS)
    member.say(reposition=Request.Reposition(seek=EARLIEST))
    await member.has(2 * PARTITIONS)
    assert sorted(member.values) == sorted(sent * 2)


async def test_a_member_resumes_in_partitions_elsewhere(nodes: Nodes) -> None:
    await produce(nodes, mark="a")
    member = Member(nodes, nodes.lives[1], coordinated_by(nodes, 2), TOPIC)
    await member.has(PARTITIONS)
    await member.resume(nodes.lives[3])
    sent = await produce(nodes, mark="b")
    await member.has(2 * PARTITIONS)
    assert sorted(member.values[PARTITIONS:]) == sorted(sent)
    assert await member.commit() == []


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_lag_is_told_by_leaders_and_by_them_alone(nodes: Nodes, at: int) -> None:
    group = coordinated_by(nodes, 2)
    await produce(nodes, mark="a")
    assert await commit(nodes, group, dict.fromkeys(EVERY, 1), at=at) == [""] * PARTITIONS
    await nodes.pass_by(1_000)
    await produce(nodes, mark="b")
    await nodes.pass_by(5_000)
    await produce(nodes, mark="c")
    rows = await lag(nodes, group, at=at)
    assert [(row.log_start_offset, row.high_watermark, row.lag) for row in rows.values()] == [
        (0, 3, 2)
    ] * PARTITIONS
    assert all(4_900 <= row.lag_time.ToMilliseconds() <= 6_500 for row in rows.values()), rows
    victim = nodes.row(TOPIC, 0).leader
    assert victim is not None
    if victim in {at, 2}:
        return
    await nodes.kill(victim)
    request = group_service_pb2.ListGroupOffsetsRequest(group=group)
    answer = await ready(nodes, nodes.lives[at], f"{SERVICE}/ListGroupOffsets", request)
    row = next(one for one in answer.offsets if one.partition.partition == 0)
    assert row.committed.offset == 1
    assert row.error.retryable and row.error.outcome == common_pb2.OUTCOME_NOT_DONE
    assert not row.HasField("lag") and not row.HasField("high_watermark")


async def test_a_commit_beyond_the_end_elsewhere_is_refused_and_one_at_it_is_taken(
    nodes: Nodes,
) -> None:
    await produce(nodes, mark="a")
    group = coordinated_by(nodes, 2)
    assert await commit(nodes, group, dict.fromkeys(EVERY, 1)) == [""] * PARTITIONS
    beyond = ["OFFSET_OUT_OF_RANGE"] * PARTITIONS
    assert await commit(nodes, group, dict.fromkeys(EVERY, 2)) == beyond


async def test_what_is_gone_elsewhere_is_said_of_a_group_that_is_sent_to_a_time(
    nodes: Nodes,
) -> None:
    """Also of what was later than the first record that is left: it was to come again too."""
    request = log_service_pb2.ProduceRequest()
    for number in EVERY:
        batch = request.batches.add(topic=TOPIC, partition=number)
        for seconds in (5, 5, 2, 6):
            batch.records.add(value=b"", timestamp_ms=1_000 * seconds)
    answer = await ready(nodes, nodes.lives[1], "LogService/Produce", request)
    assert not any(row.HasField("error") for row in answer.results), answer
    cut = topic_service_pb2.TrimTopicRequest(name=TOPIC, before=common_pb2.Seek(offset=2))
    await called(nodes, nodes.lives[1], "TopicService/TrimTopic", cut)
    seek = group_service_pb2.SeekOffsetsRequest(topics=[TOPIC], validate_only=True)
    seek.group = coordinated_by(nodes, 2)
    for seconds, after, missed in ((1, 2, True), (6, 3, False)):
        seek.seek.time.FromSeconds(seconds)
        plan = await called(nodes, nodes.lives[1], f"{SERVICE}/SeekOffsets", seek)
        told = [(one.after, one.truncated) for one in plan.changes]
        assert told == [(after, missed)] * PARTITIONS


@pytest.mark.parametrize("at", [1, 3])
async def test_a_group_is_moved_in_partitions_elsewhere(nodes: Nodes, at: int) -> None:
    for mark in "abc":
        await produce(nodes, mark=mark)
    group, name = coordinated_by(nodes, 2), f"{SERVICE}/SeekOffsets"
    places = [{"topic": TOPIC, "partition": number, "offset": 2} for number in EVERY]
    asked: list[tuple[dict[str, Any], int]] = [
        ({"topics": [TOPIC], "seek": LATEST}, 3),
        ({"shift_by": -2}, 1),
        ({"shift_by": 100}, 3),
        ({"seek": EARLIEST}, 0),
        ({"cursors": {"cursors": places}}, 2),
    ]
    for coordinator in (1, 3):
        other = coordinated_by(nodes, coordinator)
        await commit(nodes, other, {0: 1})
        asked.append(({"other_group": other, "partitions": [{"topic": TOPIC, "partition": 0}]}, 1))
        asked.append(({"other_group": other}, 1))
    for fields, after in asked:
        request = group_service_pb2.SeekOffsetsRequest(group=group, **fields)
        answer = await ready(nodes, nodes.lives[at], name, request)
        moved = 1 if "other_group" in fields else PARTITIONS
        assert [row.after for row in answer.changes] == [after] * moved, fields


async def test_offsets_in_partitions_elsewhere_are_deleted(nodes: Nodes) -> None:
    group = coordinated_by(nodes, 2)
    await commit(nodes, group, dict.fromkeys(EVERY, 0))
    request = group_service_pb2.DeleteOffsetsRequest(group=group)
    for number in EVERY:
        request.partitions.add(topic=TOPIC, partition=number)
    answer = await ready(nodes, nodes.lives[3], f"{SERVICE}/DeleteOffsets", request)
    assert not any(row.HasField("error") for row in answer.results)


async def test_nobody_asks_for_news_that_nobody_waits_for(nodes: Nodes) -> None:
    group = coordinated_by(nodes, 2)
    before = len(nodes.lives[2].spawned)
    member = Member(nodes, nodes.lives[2], group, TOPIC)
    await nodes.until(lambda: "caught_up" in member.on_stream)
    await nodes.pass_by(1_000)
    assert len(nodes.lives[2].spawned) == before + 1
    await member.leave()
    await nodes.pass_by(1_000)
    assert len(nodes.lives[2].spawned) == before


async def test_commits_of_a_deleted_topic_go_at_every_coordinator(nodes: Nodes) -> None:
    """Also where one dies before it has heard of it: who takes over looks."""
    groups = [coordinated_by(nodes, number) for number in (1, 2, 3)]
    for group in groups:
        await commit(nodes, group, {0: 0})
        await nodes.in_sync(CONSUMER_OFFSETS, number=partition_of(group))
    asked = nodes.lives[1].context.controller
    victim = next(at for at in (2, 3) if asked is not None and at != asked())
    member: Any = nodes.lives[victim].node
    member._membership._peers.links._handlers[Family.RAFT] = lambda *_: None  # it hears nothing
    broker = nodes.lives[1].node.broker
    (gone,) = await nodes.done(broker.delete_topics(ANONYMOUS, [DeleteTopic(name=TOPIC)]))
    assert not isinstance(gone, RequestError)
    others = [life for at, life in nodes.lives.items() if at != victim]
    await nodes.until(lambda: all(TOPIC not in life.image.topics for life in others))
    await nodes.pass_by(200)  # they have looked at the groups that they coordinate
    assert nodes.row(CONSUMER_OFFSETS, partition_of(groups[victim - 1])).leader == victim
    await nodes.kill(victim)
    for number in range(8):
        await nodes.leader(CONSUMER_OFFSETS, number)
    began = nodes.net.clock.monotonic_ms()
    while any([await remembered(nodes, group, gone.topic_id) for group in groups]):
        await nodes.pass_by(100)
    assert nodes.net.clock.monotonic_ms() - began < 5_000


async def remembered(nodes: Nodes, group: str, topic: TopicId) -> bool:
    """Tell whether the coordinator of a group still has offsets of a topic."""
    number = partition_of(group)
    for life in nodes.lives.values():
        state = life.node.broker.groups_state
        if state.leads(number):
            known = await nodes.done(state.read_in(number, lambda machine: machine.topic_ids()))
            return topic in known
    return True
