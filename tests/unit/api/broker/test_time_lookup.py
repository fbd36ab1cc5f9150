"""What a lookup by event time reads of the disk, on a node; its answers are compared elsewhere."""

import pytest

from api.broker.place import AtTime
from api.sim.file import SimFile
from cluster.shell.hosted_partition import HostedPartition
from logstore.stretches import STRETCH_BYTES
from logstore.verified import Verified
from model.ids import Position
from model.principal import ANONYMOUS
from model.record import ClockKind
from tests.broker_node import NOON, BrokerNode, batch_of, broker_node

VALUE = bytes(1_000)
RECORDS = 950
"""Nearly 1 MB in one batch."""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the bytes of each read; the test clears the list."""
    sizes: list[int] = []
    pread, cached = SimFile.pread, SimFile.pread_cached

    def counted(file: SimFile, size: int, position: Position) -> bytes:
        data = pread(file, size, position)
        sizes.append(len(data))
        return data

    def counted_cached(file: SimFile, size: int, position: Position) -> bytes | None:
        data = cached(file, size, position)
        sizes.append(len(data or b""))
        return data

    monkeypatch.setattr(SimFile, "pread", counted)
    monkeypatch.setattr(SimFile, "pread_cached", counted_cached)
    return sizes


async def ask(node: BrokerNode, orders: HostedPartition, record: int) -> None:
    """Look a record up by its event time."""
    place = AtTime(NOON + 10 * record - 3, ClockKind.EVENT)
    found = await node.broker.resolve(ANONYMOUS, orders, place)
    assert found.offset == record


async def test_the_second_lookup_in_a_large_batch_reads_one_stretch(read: list[int]) -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        times = [NOON + 10 * number for number in range(RECORDS)]
        await node.produce(orders, batch_of([VALUE] * RECORDS, times=times))
        await ask(node, orders, 500)
        assert sum(read) > 900_000
        for record in (500, 1, 949, 731):
            read.clear()
            await ask(node, orders, record)
            assert 0 < sum(read) <= STRETCH_BYTES


async def test_bytes_that_are_no_longer_vouched_for_are_verified_with_their_batch(
    read: list[int],
) -> None:
    """As once the scrub has found damage: a stretch has no checksum of its own (P6)."""
    async with broker_node() as node:
        orders = await node.create("orders")
        times = [NOON + 10 * number for number in range(RECORDS)]
        await node.produce(orders, batch_of([VALUE] * RECORDS, times=times))
        await ask(node, orders, 500)
        orders.log.segment_list[0].verified = Verified()
        read.clear()
        await ask(node, orders, 500)
        assert sum(read) > 900_000
        read.clear()
        await ask(node, orders, 500)
        assert 0 < sum(read) <= STRETCH_BYTES
