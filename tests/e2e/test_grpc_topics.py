"""Topics, their settings, places in them and the map of the cluster, over gRPC."""

from typing import Any

import pytest

from tests.grpc_node import GrpcNode, plain, refusal
from tests.grpc_reading import Seek, at
from tidelog.v1 import (
    cluster_service_pb2,
    common_pb2,
    config_service_pb2,
    log_service_pb2,
    topic_service_pb2,
)

Topic = topic_service_pb2.Topic
Resource = config_service_pb2.ConfigResource
Entry = config_service_pb2.ConfigEntry
ListTopics: Any = topic_service_pb2.ListTopicsRequest


def of_topic(name: str) -> Resource:
    return Resource(type=Resource.TYPE_TOPIC, name=name)


async def get(served: GrpcNode, name: str) -> Topic:
    answer = await served.topics.GetTopic(topic_service_pb2.GetTopicRequest(name=name))
    topic: Topic = answer.topic
    return topic


async def test_the_life_of_a_topic(served: GrpcNode) -> None:
    request = topic_service_pb2.CreateTopicRequest(
        topic=Topic(name="orders", partition_count=2, config={"retention.ms": "1000"}),
        validate_only=True,
    )
    dry = (await served.topics.CreateTopic(request)).topic
    assert (dry.partition_count, dry.topic_id) == (2, "")
    assert (
        await refusal(served.topics.GetTopic(topic_service_pb2.GetTopicRequest(name="orders")))
    ).reason == "UNKNOWN_TOPIC"
    request.validate_only = False
    made = (await served.topics.CreateTopic(request)).topic
    assert len(made.topic_id) == 36
    assert (made.kind, made.replication_factor, dict(made.config)) == (
        Topic.KIND_LOG,
        1,
        {"retention.ms": "1000"},
    )
    await served.produce("orders", plain(b"a", b"b", partition=1))
    seen = await get(served, "orders")
    assert [one.high_watermark for one in seen.partitions] == [0, 2]
    assert seen.partitions[1].size_bytes > 61
    assert seen.partitions[0].leader_id == 0
    assert seen.partitions[0].HasField("leader_id")
    grow = topic_service_pb2.AddPartitionsRequest(name="orders", partition_count=5)
    grow.validate_only = True
    assert (await served.topics.AddPartitions(grow)).topic.partition_count == 5
    assert len((await get(served, "orders")).partitions) == 2
    grow.validate_only = False
    await served.topics.AddPartitions(grow)
    assert len((await get(served, "orders")).partitions) == 5
    await served.produce("orders", plain(b"x", partition=4))
    drop = topic_service_pb2.DeleteTopicRequest(name="orders", validate_only=True)
    await served.topics.DeleteTopic(drop)
    assert (await get(served, "orders")).topic_id == made.topic_id
    drop = topic_service_pb2.DeleteTopicRequest(name="orders", topic_id="0" * 31 + "1")
    assert (await refusal(served.topics.DeleteTopic(drop))).reason == "UNKNOWN_TOPIC"
    await served.topics.DeleteTopic(
        topic_service_pb2.DeleteTopicRequest(name="orders", topic_id=made.topic_id)
    )
    (gone,) = await served.produce("orders", plain(b"a"))
    assert gone.error.reason == "UNKNOWN_TOPIC"


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        (None, "INVALID_REQUEST"),
        (Topic(name="no/slash"), "INVALID_TOPIC_NAME"),
        (Topic(name="taken"), "TOPIC_ALREADY_EXISTS"),
        (Topic(name="a", partition_count=-1), "INVALID_PARTITION_COUNT"),
        (Topic(name="a", partition_count=1_001), "INVALID_PARTITION_COUNT"),
        (Topic(name="a", replication_factor=2), "INVALID_REPLICATION_FACTOR"),
        (Topic(name="a", config={"retention.msx": "1"}), "INVALID_CONFIG"),
        (Topic(name="a", config={"retention.ms": "7d"}), "INVALID_CONFIG"),
        (Topic(name="a", config={"cleanup.policy": "compact"}), "NOT_IMPLEMENTED"),
        (Topic(name="a", kind=Topic.KIND_EVENTSTORE), "NOT_IMPLEMENTED"),
        (Topic(name="a", kind=Topic.KIND_TABLE), "NOT_IMPLEMENTED"),
        (Topic(name="a", kind=9), "INVALID_REQUEST"),  # type: ignore[arg-type]
        (Topic(name="__mine"), "POLICY_VIOLATION"),
    ],
)  # fmt: skip
async def test_topics_that_are_refused(served: GrpcNode, topic: Topic | None, reason: str) -> None:
    await served.create("taken")
    request = topic_service_pb2.CreateTopicRequest(topic=topic)
    assert (await refusal(served.topics.CreateTopic(request))).reason == reason


async def test_pages_of_topics(served: GrpcNode) -> None:
    names = [f"t{number:02}" for number in range(7)] + ["other"]
    for name in names:
        await served.create(name)
    seen: list[str] = []
    request = topic_service_pb2.ListTopicsRequest(page_size=3, name_prefix="t")
    while True:
        answer = await served.topics.ListTopics(request)
        seen += [topic.name for topic in answer.topics]
        assert len(answer.topics) <= 3
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert seen == names[:7]
    for wrong in ({"page_size": -1}, {"page_size": 1_001}):
        found = await refusal(served.topics.ListTopics(ListTopics(**wrong)))
        assert found.info.metadata["field"] == "page_size"
    bad = topic_service_pb2.ListTopicsRequest(page_token="/")
    assert (await refusal(served.topics.ListTopics(bad))).reason == "INVALID_TOPIC_NAME"


async def test_trimming(served: GrpcNode) -> None:
    await served.create("orders", 2)
    for number in range(6):
        await served.produce("orders", plain(b"%d" % number, partition=number % 2))
    request = topic_service_pb2.TrimTopicRequest(
        name="orders", before=Seek(before_latest=1), partitions=[1, 0, 7], validate_only=True
    )
    rows = (await served.topics.TrimTopic(request)).trimmed
    assert [(row.partition, row.before, row.after) for row in rows[:2]] == [(1, 0, 2), (0, 0, 2)]
    assert rows[2].error.reason == "UNKNOWN_PARTITION"
    assert not rows[2].HasField("after")
    assert [one.log_start_offset for one in (await get(served, "orders")).partitions] == [0, 0]
    request.validate_only = False
    await served.topics.TrimTopic(request)
    assert [one.log_start_offset for one in (await get(served, "orders")).partitions] == [2, 2]
    beyond = topic_service_pb2.TrimTopicRequest(name="orders", before=Seek(offset=99))
    for row in (await served.topics.TrimTopic(beyond)).trimmed:
        assert row.error.reason == "OFFSET_OUT_OF_RANGE"
    none = topic_service_pb2.TrimTopicRequest(name="orders")
    assert (await refusal(served.topics.TrimTopic(none))).info.metadata["field"] == "before"


async def test_shrinking_is_refused(served: GrpcNode) -> None:
    await served.create("orders", 3)
    shrink = topic_service_pb2.AddPartitionsRequest(name="orders", partition_count=2)
    assert (await refusal(served.topics.AddPartitions(shrink))).reason == "INVALID_PARTITION_COUNT"


async def test_places(served: GrpcNode) -> None:
    await served.create("orders", 2)
    await served.produce("orders", plain(b"a", b"b", b"c", time=1_000))
    Request = log_service_pb2.ResolveOffsetsRequest  # noqa: N806 - a class
    cases: list[tuple[Any, int | None, int | None]] = [
        (Seek(edge=common_pb2.EDGE_EARLIEST), 0, None),
        (Seek(edge=common_pb2.EDGE_LATEST), 3, None),
        (Seek(time=at(1_001)), 1, 1_001),
        (Seek(time=at(9_000)), None, None),
        (Seek(ago={"seconds": 10**11}), 0, 1_000),
    ]
    for seek, offset, time in cases:
        first, other = (
            await served.logs.ResolveOffsets(Request(topics=["orders"], seek=seek))
        ).resolved
        assert first.WhichOneof("at") == ("end" if offset is None else "offset")
        assert offset is None or first.offset == offset
        assert first.HasField("time") == (time is not None)
        assert time is None or first.time.ToMilliseconds() == time
        assert (first.high_watermark, other.high_watermark) == (3, 0)
    appended = Seek(time=at(0), clock=common_pb2.CLOCK_APPEND)
    named = [common_pb2.TopicPartition(topic="orders"), common_pb2.TopicPartition(topic="none")]
    found, unknown = (
        await served.logs.ResolveOffsets(Request(partitions=named, seek=appended))
    ).resolved
    assert found.offset == 0
    assert found.time.ToMilliseconds() % 10 == 0
    assert unknown.error.reason == "UNKNOWN_TOPIC"
    assert unknown.WhichOneof("at") is None
    beyond = Request(topics=["orders"], seek=Seek(offset=2))
    rows = (await served.logs.ResolveOffsets(beyond)).resolved
    assert (rows[0].offset, rows[1].error.reason) == (2, "OFFSET_OUT_OF_RANGE")
    missing = await refusal(served.logs.ResolveOffsets(Request(topics=["orders"])))
    assert missing.info.metadata["field"] == "seek"


async def test_settings_of_a_topic(served: GrpcNode) -> None:
    await served.create("orders", retention__ms="5000")
    Get, Update = config_service_pb2.GetConfigRequest, config_service_pb2.UpdateConfigRequest  # noqa: N806 - classes
    every = await served.configs.GetConfig(Get(resource=of_topic("orders")))
    found = {entry.name: entry for entry in every.entries}
    assert found["retention.ms"].value == "5000"
    assert found["retention.ms"].source == Entry.SOURCE_RESOURCE
    assert found["retention.ms"].default_value == "604800000"
    assert found["segment.bytes"].source == Entry.SOURCE_DEFAULT
    assert found["tidelog.kind"].read_only
    change = Update(
        resource=of_topic("orders"),
        set={"segment.ms": "60000"},
        unset=["retention.ms"],
        etag=every.etag,
        validate_only=True,
    )
    dry = await served.configs.UpdateConfig(change)
    assert dry.etag == every.etag
    assert {entry.name: entry.value for entry in dry.entries} == {
        "retention.ms": "604800000",
        "segment.ms": "60000",
    }
    change.validate_only = False
    done = await served.configs.UpdateConfig(change)
    assert done.etag != every.etag
    one = await served.configs.GetConfig(Get(resource=of_topic("orders"), names=["segment.ms"]))
    assert [(entry.name, entry.value) for entry in one.entries] == [("segment.ms", "60000")]
    assert one.etag == done.etag
    again = await refusal(served.configs.UpdateConfig(change))
    assert (again.reason, again.info.metadata["retryable"]) == ("ETAG_MISMATCH", "false")


@pytest.mark.parametrize(
    ("resource", "names", "reason"),
    [
        (of_topic("none"), [], "UNKNOWN_TOPIC"),
        (of_topic("/"), [], "INVALID_TOPIC_NAME"),
        (of_topic("orders"), ["retention.hours"], "INVALID_CONFIG"),
        (Resource(), [], "INVALID_REQUEST"),
        (Resource(type=Resource.TYPE_GROUP), [], "INVALID_REQUEST"),
        (Resource(type=Resource.TYPE_GROUP, name="g"), ["retention.ms"], "INVALID_CONFIG"),
        (Resource(type=Resource.TYPE_CLUSTER), [], "NOT_IMPLEMENTED"),
        (Resource(type=Resource.TYPE_BROKER, name="0"), [], "NOT_IMPLEMENTED"),
    ],
)
async def test_settings_that_are_refused(
    served: GrpcNode, *, resource: Resource, names: list[str], reason: str
) -> None:
    await served.create("orders")
    get_request = config_service_pb2.GetConfigRequest(resource=resource, names=names)
    assert (await refusal(served.configs.GetConfig(get_request))).reason == reason
    update = config_service_pb2.UpdateConfigRequest(
        resource=resource, unset=names or ["segment.ms"]
    )
    assert (await refusal(served.configs.UpdateConfig(update))).reason == reason
    nothing = config_service_pb2.UpdateConfigRequest(resource=of_topic("orders"))
    assert (await refusal(served.configs.UpdateConfig(nothing))).reason == "INVALID_REQUEST"


async def test_the_map(served: GrpcNode) -> None:
    await served.create("orders", 3)
    answer = await served.clusters.GetCluster(cluster_service_pb2.GetClusterRequest())
    seen: Any = answer.cluster
    assert seen.cluster_id == served.node.broker.cluster_id
    (broker,) = seen.brokers
    assert (broker.id, broker.leader_count, broker.replica_count) == (0, 3, 3)
    assert broker.endpoints["grpc"] == served.target
    assert broker.state == cluster_service_pb2.Broker.STATE_RUNNING
    assert seen.health.status == cluster_service_pb2.Health.STATUS_HEALTHY
    assert not seen.health.reasons
    assert seen.HasField("controller_id")
    assert broker.start_time.seconds > 1_700_000_000
    assert broker.disk_total_bytes > 0
    assert (seen.feature_level, seen.max_feature_level) == (1, 1)
    await served.produce("orders", plain(b"v", partition=0))
    again: Any = (await served.clusters.GetCluster(cluster_service_pb2.GetClusterRequest())).cluster
    assert again.brokers[0].disk_used_bytes > broker.disk_used_bytes == 0
