"""What clients are told by a node that holds a replica of a partition and does not lead it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from api.broker.acks import Acks
from api.broker.fetch import Fetched, Want
from api.broker.place import Earliest, Latest
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, NodeId, Offset
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, batch_of, broker_node

OTHER = NodeId(7)


def elect(node: BrokerNode, partition: HostedPartition, leader: NodeId | None) -> None:
    """Let the metadata say that somebody else leads, or nobody."""
    topic = partition.topic
    row = topic.partitions[0]
    changed = row._replace(
        leader=leader,
        leader_epoch=LeaderEpoch(row.leader_epoch + 1),
        replicas=(NodeId(row.replicas[0]), OTHER),
        isr=(row.replicas[0], OTHER),
        partition_epoch=row.partition_epoch + 1,
    )
    delta = MetadataDelta(changed=(replace(topic, partitions=(changed,)),))
    node.node.partitions.apply(MetadataImage(), delta)


async def test_a_batch_is_refused_with_the_leader_s_name_and_nothing_is_appended() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"a"]))
        elect(node, orders, OTHER)
        answer = node.begin(orders, batch_of([b"b"]))
        assert answer.done()
        refused = answer.result()
        assert isinstance(refused, RequestError)
        assert refused.code is ErrorCode.NOT_LEADER
        assert (refused.metadata["leader"], refused.metadata["leader_epoch"]) == ("7", "1")
        assert orders.log.log_end == 1
        elect(node, orders, None)
        assert (await node.refused(orders, batch_of([b"c"]))).code is ErrorCode.LEADER_NOT_AVAILABLE


async def test_an_append_whose_leader_goes_has_an_unknown_outcome() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        waits = node.begin(orders, batch_of([b"a"]))
        told_by_leader = node.begin(orders, batch_of([b"b"]), acks=Acks.LEADER)
        elect(node, orders, OTHER)
        for answer in (await waits, await told_by_leader):
            assert isinstance(answer, RequestError)
            assert answer.code is ErrorCode.LEADERSHIP_LOST
            assert answer.metadata["leader"] == "7"


async def test_readers_are_refused_those_that_wait_at_once() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"a"]))
        answers: asyncio.Future[Sequence[Fetched]] = asyncio.Future()
        want = Want(orders, Offset(1), 1 << 20)
        node.broker.fetch(
            ANONYMOUS, [want], min_bytes=1, max_bytes=1 << 20, max_wait_ms=60_000,
            done=answers.set_result,
        )  # fmt: skip
        assert not answers.done()
        elect(node, orders, OTHER)
        (woken,) = await asyncio.wait_for(answers, 30)
        assert woken.error is not None and woken.error.code is ErrorCode.NOT_LEADER
        found = await node.fetch(orders, 0)
        assert found.error is not None and found.error.code is ErrorCode.NOT_LEADER
        assert found.size_bytes == 0
        for place in (Earliest(), Latest()):
            with pytest.raises(RequestError, match="NOT_LEADER"):
                await node.broker.resolve(ANONYMOUS, orders, place)
        (trimmed,) = await node.broker.topics.trim(ANONYMOUS, [orders], Latest())
        assert trimmed.error is not None and trimmed.error.code is ErrorCode.NOT_LEADER
        assert orders.log_start == 0


async def test_a_partition_elsewhere_is_named_with_its_leader() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        topic = orders.topic
        row = topic.partitions[0]._replace(
            leader=OTHER, replicas=(OTHER,), isr=(OTHER,), partition_epoch=99,
            leader_epoch=LeaderEpoch(9),
        )  # fmt: skip
        delta = MetadataDelta(changed=(replace(topic, partitions=(row,)),))
        node.node.partitions.apply(MetadataImage(), delta)
        with pytest.raises(RequestError, match="led by node 7 in epoch 9"):
            node.broker.partition("orders", 0)
        with pytest.raises(RequestError, match="UNKNOWN_PARTITION"):
            node.broker.partition("orders", 1)
        assert node.node.partitions.of_topic("orders") == ()
