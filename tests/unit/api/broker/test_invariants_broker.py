"""What a node's use cases never do, done on purpose: refused by the invariant's name."""

import pytest

from api.broker.distant import DistantPartition
from api.broker.read_on import ReadFrom
from cluster.controller.producer_ids import ProducerIds
from cluster.shell.raft_quorum import RaftQuorum
from logstore.partition_log import PartitionLog, ReadPlan, ReadResult
from model.ids import Offset, ProducerId
from model.principal import ANONYMOUS
from tests.broker_node import batch_of, broker_node


async def test_no_reader_is_shown_what_is_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with broker_node() as one:
        partition = await one.create("orders")
        await one.produce(partition, batch_of([b"committed"]))
        answer = one.begin(partition, batch_of([b"not yet"]))
        read = PartitionLog.read

        def beyond(
            log: PartitionLog, offset: Offset, max_bytes: int, *, end: Offset
        ) -> ReadResult | ReadPlan:
            assert end < log.log_end
            return read(log, offset, max_bytes, end=log.log_end)

        monkeypatch.setattr(PartitionLog, "read", beyond)
        with pytest.raises(AssertionError, match="FETCH_BELOW_MARK"):
            await one.fetch(partition, 0)
        monkeypatch.undo()
        await answer


async def test_no_producer_id_is_taken_from_an_empty_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(quorum: RaftQuorum, request: object) -> ProducerIds:
        return ProducerIds(ProducerId(7), 0)

    async with broker_node() as one:
        with monkeypatch.context() as spoilt:
            spoilt.setattr(RaftQuorum, "propose", nothing)
            with pytest.raises(AssertionError, match="PRODUCER_ID_FROM_BLOCK"):
                await one.broker.init_producer_id(ANONYMOUS)


async def test_a_partition_is_hosted_once() -> None:
    async with broker_node() as one:
        partition = await one.create("orders")
        with pytest.raises(AssertionError, match="PARTITION_HOSTED_ONCE"):
            one.node.partitions.load([partition.topic])


async def test_only_a_replica_is_read_here() -> None:
    async with broker_node() as one:
        topic = (await one.create("orders")).topic
        elsewhere = DistantPartition(topic, 0, one.broker.every.watched)
        place = ReadFrom(elsewhere, Offset(0), 100)
        with pytest.raises(AssertionError, match="READ_HERE_IS_HOSTED"):
            await one.broker.read_on(ANONYMOUS, [place], min_bytes=0, max_bytes=100, max_wait_ms=0)
