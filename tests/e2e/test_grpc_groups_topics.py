"""Topics that grow, go and come again under the groups that consume them (P30)."""

from typing import Any

from tests.group_client import Seek, commit, cursor, filled, joined, offsets
from tests.grpc_node import GrpcNode, plain, refusal
from tidelog.v1 import (
    common_pb2,
    group_service_pb2,
    log_service_pb2,
    topic_service_pb2,
)

Ask: Any = group_service_pb2.SeekOffsetsRequest
Group = group_service_pb2.ConsumerGroup
START, END = Seek(edge=common_pb2.EDGE_EARLIEST), Seek(edge=common_pb2.EDGE_LATEST)
Change = tuple[int | None, int | None, int, int, bool]


async def test_a_topic_that_grows_is_shared_anew(served: GrpcNode) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders", start=END)
    await member.holding(0)
    await served.topics.AddPartitions(
        topic_service_pb2.AddPartitionsRequest(name="orders", partition_count=3)
    )
    await served.produce("orders", plain(b"in the new one", partition=2))
    assert await member.values(1) == [b"in the new one"]
    await member.holding(0, 1, 2)


async def test_what_came_while_nobody_was_there_is_not_skipped(served: GrpcNode) -> None:
    """The group has begun with the topic: a start is for who has not."""
    await filled(served, 1)
    await commit(served, "billing", cursor("orders", 0, 6))
    await served.topics.AddPartitions(
        topic_service_pb2.AddPartitionsRequest(name="orders", partition_count=2)
    )
    await served.produce("orders", plain(b"in the new one", partition=1))
    member = await joined(served, "billing", "orders", start=END)
    assert await member.values(1) == [b"in the new one"]


async def test_a_topic_that_goes_takes_its_offsets_along(served: GrpcNode) -> None:
    await filled(served)
    await served.create("payments")
    member = await joined(served, "billing", "orders", "payments")
    await member.values(12)
    await member.commit(cursor("orders", 0, 5))
    await delete(served, "orders")
    revoke = await member.until("revoke")
    assert {one.topic for one in revoke.partitions} == {"orders"}
    assert revoke.time_left.ToMilliseconds() == 0
    await member.hand_over()  # nothing to give back, and no error
    assert list(member.assigned) == [("payments", 0)]
    (row,) = await member.commit(cursor("orders", 0, 5))
    assert row.error.reason == "UNKNOWN_TOPIC"
    assert list(await offsets(served, "billing")) == [("payments", 0)]
    await served.produce("payments", plain(b"on"))
    assert await member.values(1) == [b"on"]


async def test_a_topic_that_comes_again_begins_at_its_beginning(served: GrpcNode) -> None:
    await filled(served)
    member = await joined(served, "billing", "orders", start=END)
    await member.commit(cursor("orders", 0, 5), cursor("orders", 1, 5))
    await delete(served, "orders")
    await member.until("revoke")
    await filled(served, 2, 2)
    assert sorted(await member.values(4)) == [b"0-0", b"0-1", b"1-0", b"1-1"]
    (row,) = await member.commit(cursor("orders", 0, 2))  # it may not know yet: of the former
    assert row.error.reason == "UNKNOWN_TOPIC"
    await member.hand_over()  # the former topic's: the new one stays
    (row,) = await member.commit(cursor("orders", 0, 1))
    assert not row.HasField("error")
    await member.leave()
    assert (await offsets(served, "billing"))["orders", 0].committed.offset == 1


async def test_offsets_of_a_topic_that_came_again_are_not_inherited(served: GrpcNode) -> None:
    await filled(served)
    await commit(served, "billing", cursor("orders", 0, 5))
    await delete(served, "orders")
    await filled(served, 2, 2)
    assert ("orders", 0) not in await offsets(served, "billing")
    member = await joined(served, "billing", "orders")
    assert sorted(await member.values(4)) == [b"0-0", b"0-1", b"1-0", b"1-1"]


async def delete(served: GrpcNode, topic: str) -> None:
    await served.topics.DeleteTopic(topic_service_pb2.DeleteTopicRequest(name=topic))


async def test_the_coordinators_topic_is_their_own(served: GrpcNode) -> None:
    await filled(served)
    await commit(served, "billing", cursor("orders", 0, 1))
    listed: Any = topic_service_pb2.ListTopicsRequest
    names = [one.name for one in (await served.topics.ListTopics(listed())).topics]
    assert names == ["orders"]
    answer = await served.topics.ListTopics(listed(include_internal=True))
    assert [one.name for one in answer.topics] == ["__consumer_offsets", "orders"]
    (row,) = await served.produce("__consumer_offsets", plain(b"mine"))
    assert row.error.reason == "POLICY_VIOLATION"
    gone = served.topics.DeleteTopic(
        topic_service_pb2.DeleteTopicRequest(name="__consumer_offsets")
    )
    assert (await refusal(gone)).reason == "POLICY_VIOLATION"
    read = log_service_pb2.FetchRequest(
        cursors=[cursor("__consumer_offsets", number, 0) for number in range(8)]
    )
    found = (await served.logs.Fetch(read)).results
    assert sum(one.records.high_watermark for one in found) == 2  # the group, and its offset
