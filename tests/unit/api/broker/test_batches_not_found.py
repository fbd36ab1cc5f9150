"""A batch that comes before its partition does not put those behind it out of turn (P20).

Clients hear of topics from any node, and may be at the leader before it has heard of them itself.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from api.rpc.call import Call
from api.rpc.produce import Producing
from cluster.controller.topics import CreateTopic
from model.ids import NodeId
from model.principal import ANONYMOUS
from tests.broker_node import batch_of, broker_node
from tests.grpc_node import record
from tests.kafka_node import kafka_node
from tests.unit.api.kafka.test_handlers import produce
from tidelog.v1 import common_pb2, log_service_pb2

PRODUCER = (7, 0)
VERSION = 9
UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE = 3, 5


def numbered(sequence: int) -> bytes:
    return batch_of([b"v"], producer=(*PRODUCER, sequence))


async def test_over_kafka(tmp_path: Path) -> None:
    """The second request is recognised without being parsed, and is remembered as well."""
    async with kafka_node(tmp_path, auto_create=False) as serving:
        client = await serving.client()
        for sequence in (0, 1):
            part = await produce(client, VERSION, numbered(sequence))
            assert part["error_code"] == UNKNOWN_TOPIC
        await serving.node.broker.create_topics(
            ANONYMOUS, [CreateTopic(name="orders", partitions=2)]
        )
        for sequence in (0, 1):
            behind = await produce(client, VERSION, numbered(sequence + 1))
            assert behind["error_code"] == LEADER_NOT_AVAILABLE
            part = await produce(client, VERSION, numbered(sequence))
            assert (part["error_code"], part["base_offset"]) == (0, sequence)


def encoded(sequence: int) -> log_service_pb2.ProduceBatch:
    return log_service_pb2.ProduceBatch(topic="orders", partition=0, encoded=numbered(sequence))


def stamped(sequence: int) -> log_service_pb2.ProduceBatch:
    producer = common_pb2.ProducerId(id=PRODUCER[0], epoch=PRODUCER[1])
    stamp = log_service_pb2.ProducerStamp(producer=producer, base_sequence=sequence)
    return log_service_pb2.ProduceBatch(
        topic="orders", partition=0, records=[record(b"v")], producer=stamp
    )


@pytest.mark.parametrize("batch", [encoded, stamped])
async def test_over_grpc(batch: Callable[[int], log_service_pb2.ProduceBatch]) -> None:
    """As another node brings it, which has applied newer metadata."""
    async with broker_node() as node:
        producing = Producing(node.broker)
        call = Call("LogService/Produce", ANONYMOUS, None, brought_by=NodeId(3))

        async def sent(sequence: int) -> log_service_pb2.ProduceResult:
            request = log_service_pb2.ProduceRequest(batches=[batch(sequence)])
            offered = await producing.offer(request, log_service_pb2.ProduceResponse(), call)
            node.broker.produce.accept()
            (row,) = (await offered.answer).results
            return row

        assert (await sent(0)).error.reason == "UNKNOWN_TOPIC"
        await node.create("orders")
        assert (await sent(1)).error.reason == "LEADER_NOT_AVAILABLE"
        assert [(await sent(sequence)).base_offset for sequence in (0, 1)] == [0, 1]
