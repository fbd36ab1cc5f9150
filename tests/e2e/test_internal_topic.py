"""The topic of the coordinators: no client writes, changes or deletes it, by neither door."""

from pathlib import Path
from typing import Any

from cluster.state_partition.layout import CONSUMER_OFFSETS, PARTITIONS
from tests.group_state import commit, committed
from tests.grpc_node import GrpcNode, plain, refusal
from tests.grpc_reading import END, Fetch
from tests.kafka_node import kafka_node
from tests.unit.api.kafka.test_handlers import batch, metadata, produce
from tests.unit.api.kafka.test_handlers_topics import creation
from tidelog.v1 import common_pb2, config_service_pb2, topic_service_pb2

CREATE_TOPICS, DELETE_TOPICS = 19, 20
ListTopics: Any = topic_service_pb2.ListTopicsRequest


async def test_over_grpc(served: GrpcNode) -> None:
    await served.create("orders")
    state = served.node.broker.groups_state
    await commit(state, "a", 5)
    listed = (await served.topics.ListTopics(ListTopics())).topics
    assert [topic.name for topic in listed] == ["orders"]
    listed = (await served.topics.ListTopics(ListTopics(include_internal=True))).topics
    found = {topic.name: topic for topic in listed}
    assert sorted(found) == [CONSUMER_OFFSETS, "orders"]
    assert (found[CONSUMER_OFFSETS].internal, found["orders"].internal) == (True, False)
    assert found[CONSUMER_OFFSETS].partition_count == PARTITIONS

    for row in await served.produce(CONSUMER_OFFSETS, plain(b"x"), plain(b"y", partition=1)):
        assert row.error.reason == "POLICY_VIOLATION"
    (row, *_) = (
        await served.topics.TrimTopic(
            topic_service_pb2.TrimTopicRequest(name=CONSUMER_OFFSETS, before=END)
        )
    ).trimmed
    assert row.error.reason == "POLICY_VIOLATION"
    resource = config_service_pb2.ConfigResource(
        type=config_service_pb2.ConfigResource.TYPE_TOPIC, name=CONSUMER_OFFSETS
    )
    for call in (
        served.topics.DeleteTopic(topic_service_pb2.DeleteTopicRequest(name=CONSUMER_OFFSETS)),
        served.topics.AddPartitions(
            topic_service_pb2.AddPartitionsRequest(name=CONSUMER_OFFSETS, partition_count=9)
        ),
        served.topics.CreateTopic(
            topic_service_pb2.CreateTopicRequest(
                topic=topic_service_pb2.Topic(name="__share_state", partition_count=8)
            )
        ),
        served.configs.UpdateConfig(
            config_service_pb2.UpdateConfigRequest(resource=resource, unset=["retention.ms"])
        ),
    ):
        assert (await refusal(call)).reason == "POLICY_VIOLATION"
    shown = await served.configs.GetConfig(config_service_pb2.GetConfigRequest(resource=resource))
    assert {entry.name: entry.value for entry in shown.entries}["retention.ms"] == "-1"

    here = common_pb2.TopicPartition(topic=CONSUMER_OFFSETS, partition=0)
    cursor = common_pb2.Cursor(topic=here.topic, partition=here.partition, offset=0)
    (fetched,) = (await served.logs.Fetch(Fetch(cursors=[cursor]))).results
    assert len(fetched.records.batches) == 1
    assert await committed(state, "a") == 5


async def test_over_kafka(tmp_path: Path) -> None:
    async with kafka_node(tmp_path) as serving:
        state = serving.node.broker.groups_state
        client = await serving.client()
        absent = (await metadata(client, 12, [CONSUMER_OFFSETS]))["topics"]
        assert [topic["error_code"] for topic in absent] != [0]
        await commit(state, "a", 5)
        (topic,) = (await metadata(client, 12, None))["topics"]
        assert (topic["name"], topic["is_internal"]) == (CONSUMER_OFFSETS, True)
        part = await produce(client, 9, batch(b"x"), name=CONSUMER_OFFSETS, number=0)
        assert part["error_code"] == 44
        names = {"topic_names": [CONSUMER_OFFSETS], "timeout": 1_000}
        answer = await client.ask(DELETE_TOPICS, 5, **names)
        assert [row["error_code"] for row in answer["responses"]] == [44]
        topics = [creation("__share_state")]
        answer = await client.ask(CREATE_TOPICS, 7, topics=topics, timeout=1, validate_only=False)
        assert [row["error_code"] for row in answer["topics"]] == [44]
        assert await committed(state, "a") == 5
