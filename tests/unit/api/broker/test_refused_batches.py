"""What a batch is told whose turn has not come, because the one before it was refused."""

from dataclasses import replace

import pytest

from api.broker.refused_batches import KEPT_MAX, KEPT_MS, RefusedBatches
from api.sim.clock import SimClock
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.replication.high_watermark import CommitRule
from cluster.shell.hosted_partition import HostedPartition
from logstore.settings import Flush
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, NodeId, PartitionId, TopicId
from tests.broker_node import NOON, BrokerNode, batch_of, broker_node

PRODUCER = (7, 0)
A, B, C = ([value] for value in (b"a", b"b", b"c"))
ORDERS = "orders"
WHERE = PartitionId(TopicId(bytes(16)), 0)


def elect(node: BrokerNode, partition: HostedPartition, leader: int | None) -> None:
    """Let the metadata say that this node leads, or nobody."""
    topic = partition.topic
    row = topic.partitions[0]
    changed = row._replace(
        leader=None if leader is None else NodeId(leader),
        leader_epoch=LeaderEpoch(row.leader_epoch + 1),
        partition_epoch=row.partition_epoch + 1,
    )
    delta = MetadataDelta(changed=(replace(topic, partitions=(changed,)),))
    node.node.partitions.apply(MetadataImage(), delta)


def refusal(code: ErrorCode) -> RequestError:
    return RequestError(code, "not here")


async def test_behind_one_that_came_before_its_leader_it_is_refused_for_the_moment() -> None:
    """P20: out of order, librdkafka would repeat all partitions' batches in a new epoch."""
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of(A, producer=(*PRODUCER, 0)))
        here = orders.replica.assignment.leader
        elect(node, orders, None)
        first = await node.refused(orders, batch_of(B, producer=(*PRODUCER, 1)))
        assert first.code is ErrorCode.LEADER_NOT_AVAILABLE
        elect(node, orders, here)
        behind = await node.refused(orders, batch_of(C, producer=(*PRODUCER, 2)))
        assert behind.code is ErrorCode.LEADER_NOT_AVAILABLE
        assert behind.metadata["expected_sequence"] == "1"
        for sequence, values in enumerate((B, C), 1):  # both come again, in their order
            told = await node.produce(orders, batch_of(values, producer=(*PRODUCER, sequence)))
            assert (told.base_offset, told.duplicate) == (sequence, False)


async def test_so_it_is_of_a_producer_of_whom_nothing_is_known_yet() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        rule = orders.rule
        want_two = CommitRule(flush=Flush.QUORUM, min_insync_replicas=2, replica_lag_ms_max=1)
        orders.changed(orders.topic, want_two, node.clock.monotonic_ms())
        await node.refused(orders, batch_of(A, producer=(*PRODUCER, 0)))
        orders.changed(orders.topic, rule, node.clock.monotonic_ms())
        behind = await node.refused(orders, batch_of(B, producer=(*PRODUCER, 1)))
        assert behind.code is ErrorCode.NOT_ENOUGH_REPLICAS


@pytest.mark.parametrize(
    ("partition", "producer", "after_ms"),
    [
        (WHERE, (*PRODUCER, 1), KEPT_MS + 1),  # it has had its time to come again
        (PartitionId(WHERE.topic, 1), (*PRODUCER, 1), 0),
        (WHERE, (8, 0, 1), 0),
        (WHERE, (7, 1, 1), 0),
        (WHERE, (*PRODUCER, 2), 0),  # not the one that is missing
    ],
)
def test_a_gap_is_told_that_has_another_reason(
    partition: PartitionId, producer: tuple[int, int, int], after_ms: int
) -> None:
    clock = SimClock(wall=NOON)
    refused = RefusedBatches(clock)
    no_leader = RequestError(ErrorCode.LEADER_NOT_AVAILABLE, "none yet")
    batch = bytearray(batch_of(B, producer=producer))
    assert refused.told(partition, batch, no_leader, topic=ORDERS) is no_leader
    clock.advance(after_ms)
    gap = RequestError(ErrorCode.OUT_OF_ORDER_SEQUENCE, "a gap", expected_sequence="1")
    assert (
        refused.told(WHERE, bytearray(batch_of(C, producer=(*PRODUCER, 3))), gap, topic=ORDERS)
        is gap
    )


def test_who_is_told_that_another_node_leads_sends_what_follows_here_all_the_same() -> None:
    refused = RefusedBatches(SimClock(wall=NOON))
    elsewhere = RequestError(ErrorCode.NOT_LEADER, "node 7 leads", leader="7")
    refused.told(WHERE, bytearray(batch_of(B, producer=(*PRODUCER, 1))), elsewhere, topic=ORDERS)
    gap = RequestError(ErrorCode.OUT_OF_ORDER_SEQUENCE, "a gap", expected_sequence="1")
    told = refused.told(WHERE, bytearray(batch_of(C, producer=(*PRODUCER, 2))), gap, topic=ORDERS)
    assert (told.code, told.metadata["refused"]) == (ErrorCode.LEADER_NOT_AVAILABLE, "NOT_LEADER")


@pytest.mark.parametrize("called", [ORDERS, WHERE.topic], ids=["name", "id"])
@pytest.mark.parametrize(
    "code", [ErrorCode.UNKNOWN_TOPIC, ErrorCode.UNKNOWN_PARTITION, ErrorCode.NOT_LEADER]
)
def test_behind_one_that_found_no_partition_it_is_refused_for_the_moment(
    called: str | TopicId, code: ErrorCode
) -> None:
    """P20: what the client calls the topic is all that is known of where it was to go."""
    refused = RefusedBatches(SimClock(wall=NOON))
    refused.not_found(
        called, 0, memoryview(batch_of(A, producer=(*PRODUCER, 0))), refusal=refusal(code)
    )
    gap = RequestError(ErrorCode.UNKNOWN_PRODUCER_ID, "a gap", expected_sequence="0")
    behind = bytearray(batch_of(B, producer=(*PRODUCER, 1)))
    told = refused.told(WHERE, behind, gap, topic=ORDERS)
    assert (told.code, told.metadata["refused"]) == (ErrorCode.LEADER_NOT_AVAILABLE, code.name)
    assert refused.told(WHERE._replace(number=1), behind, gap, topic=ORDERS) is gap
    assert refused.told(PartitionId(TopicId(b"2" * 16), 0), behind, gap, topic="others") is gap


def test_what_was_refused_for_good_is_not_remembered() -> None:
    refused = RefusedBatches(SimClock(wall=NOON))
    batch = memoryview(batch_of(A, producer=(*PRODUCER, 0)))
    refused.not_found(ORDERS, 0, batch, refusal=refusal(ErrorCode.INVALID_TOPIC_NAME))
    refused.not_found("x" * 250, 0, batch, refusal=refusal(ErrorCode.UNKNOWN_TOPIC))
    assert not refused._refused, "remembered"


@pytest.mark.parametrize("batch", [b"", bytes(61), batch_of(A)], ids=["none", "zeros", "plain"])
def test_what_is_no_batch_or_of_no_producer_is_not_remembered(batch: bytes) -> None:
    refused = RefusedBatches(SimClock(wall=NOON))
    full = RequestError(ErrorCode.DISK_FULL, "full")
    assert refused.told(WHERE, bytearray(batch), full, topic=ORDERS) is full
    assert not refused._refused, "remembered"


def test_of_very_many_the_oldest_are_forgotten() -> None:
    refused = RefusedBatches(SimClock(wall=NOON))
    full = RequestError(ErrorCode.OVERLOADED, "full")
    for sequence in range(KEPT_MAX + 1):
        refused.told(
            WHERE, bytearray(batch_of(A, producer=(*PRODUCER, sequence))), full, topic=ORDERS
        )
    gap = RequestError(ErrorCode.OUT_OF_ORDER_SEQUENCE, "a gap", expected_sequence="0")
    late = bytearray(batch_of(A, producer=(*PRODUCER, KEPT_MAX + 1)))
    assert refused.told(WHERE, late, gap, topic=ORDERS) is gap
    kept = RequestError(ErrorCode.OUT_OF_ORDER_SEQUENCE, "a gap", expected_sequence="1")
    assert refused.told(WHERE, late, kept, topic=ORDERS).code is ErrorCode.OVERLOADED
