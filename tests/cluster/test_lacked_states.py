"""Coordinators whose preferred leader has lost what its log rests on (P45): others have it."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest

from cluster.shell.controller_balance import CALM_MS, ROUND_MS
from cluster.state_partition.layout import CONSUMER_OFFSETS, partition_of
from tests.cluster_members import ready
from tests.damage_nodes import DamageNodes
from tidelog.v1 import group_service_pb2

TOPIC: Final = "orders"
GROUP: Final = "g"
NUMBER: Final = partition_of(GROUP)
SNAPSHOT_RECORDS: Final = 16
COMMITS_MAX: Final = 1_000


@pytest.fixture
async def states() -> AsyncIterator[DamageNodes]:
    made = DamageNodes(f"cluster.state_snapshot_records={SNAPSHOT_RECORDS}")
    try:
        await made.start()
        await made.create(1, TOPIC)
        values = [b"%d" % number for number in range(COMMITS_MAX)]
        await made.produce(await made.leader(TOPIC), TOPIC, *values)
        yield made
    finally:
        await made.close()


class Traffic:
    """A client that commits one offset after the other, at any node that answers."""

    def __init__(self, nodes: DamageNodes) -> None:
        self.nodes = nodes
        self.acknowledged = 0

    async def commit(self) -> None:
        request = group_service_pb2.CommitOffsetsRequest(group=GROUP)
        request.cursors.add(topic=TOPIC, partition=0, offset=self.acknowledged + 1)
        life = next(iter(self.nodes.lives.values()))
        answer = await ready(self.nodes, life, "ConsumerGroupService/CommitOffsets", request)
        assert [row.HasField("error") for row in answer.results] == [False], answer
        self.acknowledged += 1

    async def until(self, holds: Callable[[], bool]) -> None:
        """Commit on until something holds."""
        for _ in range(COMMITS_MAX):
            if holds():
                return
            await self.commit()
        raise AssertionError(self.acknowledged)


async def committed(nodes: DamageNodes) -> int:
    """Return what the group has committed, as any node says."""
    request = group_service_pb2.ListGroupOffsetsRequest(group=GROUP)
    life = next(iter(nodes.lives.values()))
    answer = await ready(nodes, life, "ConsumerGroupService/ListGroupOffsets", request)
    (row,) = answer.offsets
    return int(row.committed.offset)


async def test_all_lost_power_and_who_is_to_lead_has_lost_its_snapshots(
    states: DamageNodes,
) -> None:
    """It has as much as anybody, so it is elected: alone in sync, and without its state."""
    traffic = Traffic(states)
    await traffic.until(lambda: traffic.acknowledged > SNAPSHOT_RECORDS * 5)
    preferred = states.row(CONSUMER_OFFSETS, NUMBER).replicas[0]
    log = states.life(preferred).hosted(CONSUMER_OFFSETS, NUMBER).log
    await traffic.until(lambda: log.log_start > 0)
    for number in states.numbers:
        await states.kill(number, power=True)
    for name in states.disks[preferred].list(log.directory_name):
        if name.endswith(".state"):
            states.flip(preferred, f"{log.directory_name}/{name}", at=20)
    await states.begin()
    await traffic.commit()
    await traffic.until(lambda: len(states.row(CONSUMER_OFFSETS, NUMBER).isr) == 3)
    assert states.life(preferred).told("state_lacking")
    assert states.life(preferred).told("state_handed_over")
    led = states.row(CONSUMER_OFFSETS, NUMBER).leader_epoch
    await states.pass_by(CALM_MS + 5 * ROUND_MS)
    assert states.row(CONSUMER_OFFSETS, NUMBER).leader_epoch == led, "it stays there"
    for number in states.numbers:
        await states.kill(number)
        await traffic.commit()
        assert await committed(states) == traffic.acknowledged
        await states.begin(number)
        await states.in_sync(CONSUMER_OFFSETS, number=NUMBER)
