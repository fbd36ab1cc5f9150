"""A search in a large segment whose index is gone: built again from the batches; not refused."""

import pytest

from api.broker.place import AtTime
from api.sim.disk import SimDisk
from logstore.index_load import READ_BYTES
from logstore.paths import INDEX
from model.errors import RequestError
from model.ids import AppendTimeMs, Position
from model.principal import ANONYMOUS
from model.record import ClockKind
from tests.broker_node import NOON, BrokerNode, batch_of, broker_node

BATCHES = 4
VALUE = b"v" * (READ_BYTES * 2 // 5)
"""Batches of 0.4 reads: the third lies across the end of the first read."""


async def without_index() -> SimDisk:
    """Return the disk of a node that was killed, with one segment and no index."""
    async with broker_node() as node:
        orders = await node.create("orders")
        for number in range(BATCHES):
            await node.produce(orders, batch_of([VALUE], times=[NOON + number]))
        disk = node.disk
    disk.kill()
    for directory in disk.list("partitions"):
        for name in disk.list(f"partitions/{directory}"):
            if name.endswith(INDEX):
                disk.unlink(f"partitions/{directory}/{name}")
    return disk


async def found(node: BrokerNode, time_ms: int) -> int | None:
    orders = node.broker.partition("orders", 0)
    place = AtTime(AppendTimeMs(time_ms), ClockKind.EVENT)
    return (await node.broker.resolve(ANONYMOUS, orders, place)).offset


async def test_reads_that_end_within_a_batch_are_no_damage() -> None:
    """P37."""
    async with broker_node(await without_index()) as node:
        for number in range(BATCHES):
            assert await found(node, NOON + number) == number
        assert not [name for name, _ in node.events if name == "log_corrupt"]


async def test_a_file_that_is_too_short_is() -> None:
    disk = await without_index()
    async with broker_node(disk) as node:
        segment = node.broker.partition("orders", 0).log.segment_list[0]
        disk.open(segment.log_name).truncate(Position(segment.written_bytes - len(VALUE)))
        with pytest.raises(RequestError, match="the file ends"):
            await found(node, NOON + BATCHES - 1)
