"""Time runs out for members, for what they have to hand over, and for offsets (P30, P31).

The node's clock is turned by hand; what a turn sets in motion is waited for, never slept for.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.broker import members
from api.node.assemble import HOUSEKEEPING_MS
from api.rpc import consume
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from cluster.controller.topics import DeleteTopic
from model.ids import GroupId, MonotonicMs, WallMs
from model.principal import ANONYMOUS
from tests.group_client import (
    Member,
    commit,
    cursor,
    described,
    joined,
    offsets,
    seconds,
)
from tests.grpc_node import GrpcNode, plain, refusal
from tests.turned_node import NOON, Turned, turned_node
from tidelog.v1 import common_pb2, config_service_pb2, group_service_pb2, topic_service_pb2

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
Group = group_service_pb2.ConsumerGroup


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Turned]:
    async with turned_node(tmp_path) as node:
        yield node


async def shared(node: Turned, **join: Any) -> tuple[Member, Member]:
    """Return two members with a partition each."""
    await node.served.create("orders", 2)
    first = await joined(node.served, "billing", "orders", **join)
    await first.holding(0, 1)
    second = await joined(node.served, "billing", "orders", **join)
    await first.until("revoke")
    await first.hand_over()
    await second.until("assigned")
    return first, second


async def beat(member: Member) -> None:
    """Be heard: what is said before an answered commit has been heard."""
    await member.say(heartbeat={})
    await member.commit()


async def test_who_is_silent_is_removed_and_the_others_go_on(node: Turned) -> None:
    first, second = await shared(node)
    await node.turn(4_000)
    await beat(second)
    await node.turn(3_999)
    await beat(second)
    assert len((await described(node.served, "billing")).members) == 2
    await node.turn(1)
    refused = await first.refused()
    assert refused.reason == "UNKNOWN_MEMBER"
    assert "silent" in refused.text
    await second.holding(0, 1)


async def test_a_session_timeout_of_its_own(node: Turned) -> None:
    await node.served.create("orders")
    member = await joined(node.served, "billing", "orders", session_timeout=seconds(1.5))
    assert member.told[0].joined.session_timeout == seconds(1.5)
    await node.turn(1_500)
    assert (await member.refused()).reason == "UNKNOWN_MEMBER"


async def test_a_broken_stream_is_waited_for_and_then_no_more(node: Turned) -> None:
    first, second = await shared(node)
    await first.cut()
    await node.turn(1_999)
    assert len((await described(node.served, "billing")).members) == 2
    await node.turn(1)
    await second.holding(0, 1)
    again = first.resumed()
    await again.say(join=again.join)
    assert (await again.refused()).reason == "UNKNOWN_MEMBER"


async def test_who_comes_back_in_time_stays(node: Turned) -> None:
    first, second = await shared(node, resume_timeout=seconds(5))
    await first.cut()
    await node.turn(4_999)
    again = await first.resumed().begin()
    await node.turn(2_000)
    await beat(again)
    await beat(second)
    assert len((await described(node.served, "billing")).members) == 2
    assert len(second.assigned) == 1


async def test_what_is_not_handed_over_in_time_is_taken(node: Turned) -> None:
    await node.served.create("orders", 2)
    slow = await joined(
        node.served, "billing", "orders", rebalance_timeout=seconds(3), session_timeout=seconds(60)
    )
    await slow.holding(0, 1)
    other = await joined(node.served, "billing", "orders", session_timeout=seconds(60))
    revoke = await slow.until("revoke")
    assert revoke.time_left == seconds(3)
    ((_, number),) = slow.asked
    await node.turn(2_999)
    (row,) = await slow.commit(cursor("orders", number, 0))
    assert not row.HasField("error")
    told = slow.membership
    await node.turn(1)
    await other.holding(number)
    await slow.until("joined")  # the epoch rose: who was not told cannot resume
    (late,) = await slow.commit(cursor("orders", number, 0))
    assert late.error.reason == "STALE_MEMBER_EPOCH"
    await slow.hand_over()  # too late, and harmless
    (kept,) = slow.assigned.values()
    (row,) = await slow.commit(kept)
    assert not row.HasField("error")
    await slow.cut()
    stale = Member(node.served, "billing", member=told)
    await stale.say(join=stale.join)
    assert (await stale.refused()).reason == "STALE_MEMBER_EPOCH"
    assert len((await slow.resumed().begin()).asked) == 0


async def test_time_left_is_told_when_it_is_asked_again(node: Turned) -> None:
    await node.served.create("orders", 2)
    slow = await joined(node.served, "billing", "orders", rebalance_timeout=seconds(5))
    await slow.holding(0, 1)
    await joined(node.served, "billing", "orders")
    await slow.until("revoke")
    await node.turn(1_000)
    await slow.cut()
    again = await slow.resumed().begin()
    assert (await again.until("revoke")).time_left == seconds(4)


async def test_a_node_that_stood_still_waits_for_its_members(node: Turned) -> None:
    """Its timers come late; so would what its members have said meanwhile."""
    first, second = await shared(node)
    table = node.served.node.broker.members
    late = 8_000 + members.LATE_MS + 1
    calls = list(node.clock._timers)
    node.clock._timers.clear()  # as if the process had been stopped
    node.clock.advance(late)
    node.clock._timers.extend(calls)
    await node.turn(0)
    await beat(first)
    await beat(second)
    await node.turn(members.LATE_MS)
    assert len((await described(node.served, "billing")).members) == 2
    assert len(table._sessions) == 2
    await node.turn(8_000)
    assert (await first.refused()).reason == "UNKNOWN_MEMBER"


async def test_after_a_restart_members_have_their_time_again(tmp_path: Path) -> None:
    clock, disk = SimClock(wall=NOON, monotonic=MonotonicMs(1_000)), SimDisk()
    async with turned_node(tmp_path, clock, disk) as node:
        await node.served.create("orders", 2)
        await node.served.produce("orders", plain(b"a", b"b"))
        member = await joined(
            node.served, "billing", "orders", metadata=(("tidelog-client-id", "me"),)
        )
        await member.values(2)
        await member.commit(cursor("orders", 0, 1))
        await joined(node.served, "other", "orders")
        claim, cursors = member.membership, list(member.assigned.values())
    assert claim is not None
    assert claim.member_id.startswith("me-")
    clock.advance(3_600_000)
    disk.kill()
    async with turned_node(tmp_path, clock, disk) as node:
        assert (await offsets(node.served, "billing"))["orders", 0].committed.offset == 1
        await node.turn(7_999)
        again = await Member(
            node.served, "billing", member=claim, cursors=cursors, resume_timeout=seconds(9)
        ).begin()
        assert again.membership == claim
        await node.served.produce("orders", plain(b"c"))
        assert await again.values(1) == [b"c"]
        await node.turn(1)
        request = group_service_pb2.ListConsumerGroupsRequest()
        while True:
            found = (await node.served.groups.ListConsumerGroups(request)).groups
            states = {group.name: group.state for group in found}
            if states["other"] == Group.STATE_EMPTY:
                break
        assert states["billing"] == Group.STATE_STABLE


async def gone(node: Turned, group: str) -> None:
    """Wait until a group is not there any more."""
    request = group_service_pb2.ListConsumerGroupsRequest(name_prefix=group)
    while (await node.served.groups.ListConsumerGroups(request)).groups:
        pass


async def test_offsets_stay_while_somebody_is_there_and_for_their_retention(node: Turned) -> None:
    await node.served.create("orders")
    member = await joined(node.served, "alive", "orders", session_timeout=seconds(3_600))
    await member.commit(cursor("orders", 0, 0))
    await commit(node.served, "old", cursor("orders", 0, 0))
    await retention(node, "kept", 30 * DAY_MS)
    await commit(node.served, "kept", cursor("orders", 0, 0))
    for _ in range(8 * 24 * 2):  # the member is heard every half hour
        await node.turn(DAY_MS // 48)
        await beat(member)
    await gone(node, "old")
    request = group_service_pb2.GetConsumerGroupRequest(name="old")
    assert (await refusal(node.served.groups.GetConsumerGroup(request))).reason == "UNKNOWN_GROUP"
    assert (await described(node.served, "kept")).state == Group.STATE_EMPTY
    assert (await offsets(node.served, "alive"))["orders", 0].committed.offset == 0


async def retention(node: Turned, group: str, ms: int) -> None:
    """Let the offsets of a group be kept for so long."""
    resource = config_service_pb2.ConfigResource(
        type=config_service_pb2.ConfigResource.TYPE_GROUP, name=group
    )
    await node.served.configs.UpdateConfig(
        config_service_pb2.UpdateConfigRequest(
            resource=resource, set={"offsets.retention.ms": str(ms)}
        )
    )


async def test_offsets_younger_than_their_retention_stay(node: Turned) -> None:
    await node.served.create("orders")
    await retention(node, "billing", HOUR_MS)
    await retention(node, "other", HOUR_MS)
    await commit(node.served, "billing", cursor("orders", 0, 0))
    await node.turn(HOUR_MS - HOUSEKEEPING_MS)
    await commit(node.served, "other", cursor("orders", 0, 0))
    assert (await offsets(node.served, "billing"))["orders", 0].committed.offset == 0
    await node.turn(2 * HOUSEKEEPING_MS)
    await gone(node, "billing")
    assert (await offsets(node.served, "other"))["orders", 0].committed.offset == 0


async def test_a_topic_that_went_while_the_node_was_down(tmp_path: Path) -> None:
    """Metadata and groups are two logs: the first may have been written alone."""
    clock, disk = SimClock(wall=NOON, monotonic=MonotonicMs(1_000)), SimDisk()
    async with turned_node(tmp_path, clock, disk) as node:
        await node.served.create("orders")
        await commit(node.served, "billing", cursor("orders", 0, 0))
        broker = node.served.node.broker
        broker.group_upkeep.stop()
        (topic,) = [one for one in broker.image.topics.values() if one.name == "orders"]
        await broker.topics.delete(ANONYMOUS, [DeleteTopic(name=topic.name)])
    disk.kill()
    async with turned_node(tmp_path, clock, disk) as node:
        await node.turn(HOUSEKEEPING_MS)
        state = node.served.node.broker.groups_state
        while any(
            topic.topic_id in ids
            for ids in await state.read_each(lambda machine: machine.topic_ids())
        ):
            await node.served.turn()


async def test_lag_in_time_is_the_age_of_what_was_not_read(node: Turned) -> None:
    served = node.served
    await served.create("orders", 2)
    await served.produce("orders", plain(b"a", b"b"))
    await node.turn(5_000)
    await served.produce("orders", plain(b"c"))
    await commit(served, "billing", cursor("orders", 0, 0), cursor("orders", 1, 0))
    await node.turn(2_000)
    rows = await offsets(served, "billing")
    assert (rows["orders", 0].lag, rows["orders", 0].lag_time) == (3, seconds(7))
    assert (rows["orders", 1].lag, rows["orders", 1].lag_time) == (0, seconds(0))
    assert rows["orders", 0].log_start_offset == 0
    assert rows["orders", 0].high_watermark == 3
    await commit(served, "billing", cursor("orders", 0, 2))
    assert (await offsets(served, "billing"))["orders", 0].lag_time == seconds(2)
    trimmed = common_pb2.Seek(offset=3)
    await served.topics.TrimTopic(
        topic_service_pb2.TrimTopicRequest(name="orders", partitions=[0], before=trimmed)
    )
    row = (await offsets(served, "billing"))["orders", 0]
    assert (row.truncated, row.lag, row.committed.offset) == (True, 0, 2)


async def test_a_node_that_stops_keeps_its_members(node: Turned) -> None:
    await node.served.create("orders")
    member = await joined(node.served, "billing", "orders", session_timeout=seconds(1))
    silent = await joined(node.served, "billing", "orders", session_timeout=seconds(1))
    await node.served.door.drain()
    assert (await member.refused()).reason == "SHUTTING_DOWN"
    assert (await silent.refused()).reason == "SHUTTING_DOWN"
    node.clock.advance(60_000)
    broker = node.served.node.broker
    for _ in range(50):
        await asyncio.sleep(0)  # whatever was set in motion has begun; what it wrote is seen
        view = await broker.groups.get(ANONYMOUS, GroupId("billing"))
        assert len(view.members) == 2


async def test_a_clock_in_doubt_expires_nothing(node: Turned) -> None:
    await node.served.create("orders")
    await retention(node, "billing", HOUR_MS)
    await commit(node.served, "billing", cursor("orders", 0, 0))
    node.clock.set_wall(WallMs(NOON + 100 * DAY_MS))
    await node.turn(2 * HOUR_MS)
    await commit(node.served, "after", cursor("orders", 0, 0))
    node.clock.set_wall(WallMs(NOON + 2 * HOUR_MS))
    assert (await offsets(node.served, "billing"))["orders", 0].committed.offset == 0
    await node.turn(2 * HOUSEKEEPING_MS)
    await gone(node, "billing")


async def stuck(served: GrpcNode) -> None:
    """Wait until the node has sent all that the channel takes."""
    sent, before = served.node.broker.context, -1
    while sent.served_bytes != before:
        before = sent.served_bytes
        for _ in range(100):
            await served.turn()
    assert 0 < before < 24_000_000


async def test_who_reads_nothing_is_let_go(node: Turned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consume, "LAST_WORD_S", 0.05)
    await node.served.create("orders")
    for _ in range(24):
        await node.served.produce("orders", plain(b"x" * 1_000_000))
    member = await joined(node.served, "billing", "orders")
    await stuck(node.served)
    running = node.served.door.counters
    await node.turn(8_000)
    while running.running:
        await node.served.turn()
    assert running.bugs == 0
    assert (await member.refused()).reason == "UNKNOWN_MEMBER"


async def test_an_empty_topic_is_caught_up_with_at_once(node: Turned) -> None:
    """The clock stands still: nothing here waits for a sign of life."""
    await node.served.create("orders", 2)
    member = await joined(node.served, "billing", "orders")
    assert len((await member.until("caught_up")).cursors) == 2
    await node.served.produce("orders", plain(b"a"))
    assert await member.values(1) == [b"a"]
