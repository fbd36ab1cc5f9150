"""What a node does to its disk when nobody asks: roll, retain, scrub; how it tells of damage."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from api.broker.damage import Mending
from api.broker.health import Status
from api.broker.housekeeping import QUIET_MS
from api.broker.place import AtTime, Earliest
from api.broker.scrubber import FIRST_MS
from api.node.assemble import HOUSEKEEPING_MS
from api.sim.disk import SimDisk
from cluster.shell.hosted_partition import HostedPartition
from logstore.recovery_report import Finding
from logstore.settings import HOUR_MS, LogSettings
from model.errors import ErrorCode
from model.ids import AppendTimeMs, Offset, Position
from model.principal import ANONYMOUS
from model.record import ClockKind
from tests.broker_node import NOON, SETTINGS, BrokerNode, batch_of, broker_node

SCRUB = replace(
    SETTINGS, log=replace(SETTINGS.log, scrub_interval_ms=24 * HOUR_MS, checkpoint_ms=1_000)
)


async def until(node: BrokerNode, holds: Callable[[], bool], *, step_ms: int) -> None:
    """Let time pass until something holds; threads have their own pace: it waits for them."""
    for _ in range(3_000):
        if holds():
            return
        node.clock.advance(step_ms)
        for _ in range(3):
            await asyncio.sleep(0)
        await node.node.writer.flushed()
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "scrub"))
    raise AssertionError("it never comes about")


def told(node: BrokerNode, event: str) -> list[dict[str, str | int]]:
    return [fields for name, fields in node.events if name == event]


async def test_retention_removes_nothing_that_is_still_being_synced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with broker_node() as node:
        orders = await node.create("orders", retention_ms=str(HOUR_MS))
        for _ in range(3):
            await node.produce(orders, batch_of([b"v"]))
        with monkeypatch.context() as patched:
            patched.setattr("api.broker.housekeeping.settled_end", lambda log: Offset(2))
            node.clock.advance(2 * HOUR_MS)
            await until(node, lambda: orders.log.segment_list[0].sealed, step_ms=HOUSEKEEPING_MS)
            looks = iter(range(5))
            await until(node, lambda: next(looks, None) is None, step_ms=HOUSEKEEPING_MS)
            assert orders.log_start == 0
        await until(node, lambda: orders.log_start == 3, step_ms=HOUSEKEEPING_MS)


async def test_retention_empties_a_partition_that_nobody_writes_to() -> None:
    async with broker_node() as node:
        orders = await node.create("orders", retention_ms=str(HOUR_MS))
        for number in range(3):
            await node.produce(orders, batch_of([b"v"], times=[NOON + number]))
        node.clock.advance(HOUR_MS)
        assert orders.log_start == 0, "exactly as old is not older"
        await until(node, lambda: orders.log_start == 3, step_ms=HOUSEKEEPING_MS)
        assert orders.log.log_start == orders.log.log_end == 3
        (deleted,) = told(node, "retention_deleted")
        assert (deleted["log_start_before"], deleted["log_start"]) == (0, 3)
        found = await node.broker.resolve(ANONYMOUS, orders, Earliest())
        assert found.offset == 3
        for clock in ClockKind:
            for time in (0, NOON):
                answer = await node.broker.resolve(ANONYMOUS, orders, AtTime(time, clock))
                assert (answer.offset, answer.truncated) == (None, True)
        later = await node.produce(orders, batch_of([b"w"], times=[NOON]))
        assert later.base_offset == 3
        disk = node.disk
    disk.kill()
    async with broker_node(disk) as node:
        orders = node.broker.partition("orders", 0)
        assert (orders.log_start, orders.high_watermark) == (3, 4)
        assert (await node.fetch(orders, 3)).next_offset == 4


async def test_what_is_remembered_of_producers_goes_without_a_write() -> None:
    """Batches of a journal that a start has read are committed again, and nobody appends."""
    disk = SimDisk()
    async with broker_node(disk, clean=False) as node:
        orders = await node.create("orders")
        for number in range(5):
            await node.produce(orders, batch_of([b"v"], producer=(7, 0, number)))
    disk.kill()
    async with broker_node(disk) as node:
        (orders,) = (one for one in node.node.partitions if one.topic.name == "orders")
        assert orders.log.producers._before
        await until(node, lambda: not orders.log.producers._before, step_ms=HOUSEKEEPING_MS)
        assert orders.log.producers.reaches(orders.log.log_end)


async def test_a_segment_that_is_old_enough_is_closed_without_an_append() -> None:
    async with broker_node() as node:
        orders = await node.create("orders", segment_ms=str(HOUR_MS), retention_ms="-1")
        await node.produce(orders, batch_of([b"v"]))
        idle = await node.create("idle", segment_ms=str(HOUR_MS), retention_ms="1")
        await until(node, lambda: orders.log.segment_list[0].sealed, step_ms=HOUSEKEEPING_MS)
        assert [view.base_offset for view in orders.log.segments()] == [0, 1]
        assert orders.log_start == 0
        assert len(idle.log.segment_list) == 1, "an empty segment has no age"
        await node.produce(orders, batch_of([b"w"]))
        assert [view.base_offset for view in orders.log.segments()] == [0, 1]
        offset = 0
        while offset < 2:
            found = await node.fetch(orders, offset)
            assert found.next_offset > offset
            offset = found.next_offset


async def test_age_does_nothing_while_the_date_is_in_doubt() -> None:
    async with broker_node() as node:
        orders = await node.create("orders", retention_ms=str(HOUR_MS), segment_ms=str(HOUR_MS))
        await node.produce(orders, batch_of([b"v"]))
        node.clock.set_wall(type(NOON)(NOON + 365 * 24 * HOUR_MS))
        for _ in range(5):
            node.clock.advance(HOUR_MS)
            await node.node.writer.flushed()
        assert (orders.log_start, len(orders.log.segment_list)) == (0, 1)
        assert len(told(node, "clock_in_doubt")) == 1


def is_cold(partition: HostedPartition) -> bool:
    """Whether readers get nothing from memory."""
    return partition.log.tail.start == partition.log.log_end


async def closed(node: BrokerNode) -> HostedPartition:
    """Return a partition with a closed segment of three batches, in its files."""
    orders = await node.create("orders", segment_ms=str(HOUR_MS), retention_ms="-1")
    for _ in range(3):
        await node.produce(orders, batch_of([b"v" * 50]))
    first = orders.log.segment_list[0]
    await until(
        node,
        lambda: first.sealed and first.durable_bytes == first.size_bytes and is_cold(orders),
        step_ms=HOUSEKEEPING_MS,
    )
    return orders


async def test_the_scrub_tells_of_damage_once_wherever_somebody_looks() -> None:
    async with broker_node(settings=SCRUB) as node:
        orders = await closed(node)
        scrubber, damage = node.node.scrubber, node.broker.context.damage
        assert scrubber is not None
        await until(node, lambda: scrubber.segments == 1, step_ms=FIRST_MS)
        assert scrubber.read_bytes >= orders.log.segment_list[0].size_bytes
        assert not damage.places
        size = orders.log.segment_list[0].size_bytes // 3
        node.disk.flip_bit(orders.log.segment_list[0].log_name, Position(size + 70), 1)
        await until(node, lambda: scrubber.segments == 3, step_ms=HOUR_MS)
        (place,) = damage.places
        assert str(place).startswith("orders/0: ")
        assert (place.finding.position, place.finding.why) == (size, "checksum")
        assert damage.found == len(told(node, "log_corrupt")) == 1
        seen = node.broker.cluster(ANONYMOUS, {})
        assert list(seen.health.reasons) == [f"damaged on the disk of node 0: {place}"]
        assert seen.health.status is Status.UNHEALTHY
        assert (await node.fetch(orders, 1)).error is not None
        await until(node, lambda: not orders.log.segment_list[0].damage, step_ms=HOUSEKEEPING_MS)
        assert len(damage.places) == 1, "the reader met the same place"
        orders.log.trim(Offset(3))
        node.node.writer.ask()
        await until(node, lambda: not damage.places, step_ms=HOUSEKEEPING_MS)
        assert damage.found == 1
        assert not node.failures


async def test_what_a_reader_meets_is_told_too() -> None:
    async with broker_node() as node:
        await closed(node)
        disk = node.disk
    disk.kill()
    async with broker_node(disk) as node:
        orders = node.broker.partition("orders", 0)
        disk.flip_bit(orders.log.segment_list[0].log_name, Position(70), 1)
        refused = (await node.fetch(orders, 0)).error
        assert refused is not None
        assert refused.code is ErrorCode.CORRUPT_LOG
        await until(node, lambda: bool(told(node, "log_corrupt")), step_ms=HOUSEKEEPING_MS)
        (event,) = told(node, "log_corrupt")
        assert (event["topic"], event["partition"], event["position"]) == ("orders", 0, 0)
        assert str(event["why"]).endswith("a reader was refused")


async def test_what_is_gone_is_damaged_no_more_and_was_not_healed() -> None:
    """Another segment may have its name by then."""
    async with broker_node() as node:
        orders = await closed(node)
        segment = orders.log.segment_list[0]
        damage, mending = node.broker.context.damage, Mock(Mending)
        damage.mend_by(mending)
        segment.damage = (Finding(segment.log_name, Position(70), 1, "checksum"),)
        damage.collect(orders)
        mending.found.assert_called_once_with(orders, segment)
        assert len(damage.places) == 1
        mending.tell.call_args.kwargs["gone"](orders, segment)
        assert not damage.places
        assert (damage.found, damage.healed) == (1, 0)


async def test_append_times_that_are_made_up_are_told_before_an_answer_rests_on_them() -> None:
    async with broker_node(settings=SCRUB) as node:
        await closed(node)
        disk = node.disk
    disk.kill()
    async with broker_node(disk) as node:
        orders = node.broker.partition("orders", 0)
        segment = orders.log.segment_list[0]
        disk.flip_bit(segment.times_name, Position(24 + 3), 1)
        place = AtTime(AppendTimeMs(NOON), ClockKind.APPEND)
        assert (await node.broker.resolve(ANONYMOUS, orders, place)).offset == 0
        (event,) = told(node, "log_corrupt")
        assert event["file"] == segment.times_name
        assert "guessed append time" in str(event["why"])


async def test_a_node_that_is_written_to_scrubs_at_a_quarter_of_the_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []

    def pause(read_bytes: int, settings: LogSettings, *, all_bytes: int, busy: bool) -> int:
        del read_bytes, settings, all_bytes
        asked.append(busy)
        return HOUR_MS

    monkeypatch.setattr("api.broker.scrubber.pause_ms", pause)
    async with broker_node(settings=SCRUB) as node:
        orders = await closed(node)
        await until(node, lambda: len(asked) == 1, step_ms=FIRST_MS)
        await until(node, lambda: len(asked) == 2, step_ms=QUIET_MS * 100)
        await until(node, lambda: len(asked) >= 3, step_ms=FIRST_MS)
        assert asked[0] is True, "it was written to since the start"
        assert asked[1] is False
        await node.fetch(orders, 0)
        count = len(asked)
        await until(node, lambda: len(asked) > count, step_ms=FIRST_MS)
        assert asked[count] is True


async def test_what_is_being_cut_is_not_scrubbed() -> None:
    """Its files are shorter than what the loop knows of them."""
    async with broker_node(settings=SCRUB) as node:
        orders = await closed(node)
        orders.log.segment_list[0].shrinks = True
        scrubber = node.node.scrubber
        assert scrubber is not None
        passes, segments = scrubber.passes, scrubber.segments
        await until(node, lambda: scrubber.passes >= passes + 2, step_ms=HOUR_MS)
        assert scrubber.segments == segments
        orders.log.segment_list[0].shrinks = False
        await until(node, lambda: scrubber.segments == segments + 1, step_ms=HOUR_MS)


async def test_scrubbing_can_be_switched_off() -> None:
    off = replace(SCRUB, log=replace(SCRUB.log, scrub_bytes_per_second=0))
    async with broker_node(settings=off) as node:
        await closed(node)
        for _ in range(60):
            node.clock.advance(FIRST_MS)
            await asyncio.sleep(0)
        assert node.node.scrubber is not None
        assert (node.node.scrubber.read_bytes, node.node.scrubber.passes) == (0, 0)


async def test_a_coordinator_that_lacks_its_state_is_told() -> None:
    """Nobody is coordinated meanwhile, and nothing else would say why."""
    async with broker_node() as node:
        offsets = await node.create("offsets")
        state: Any = SimpleNamespace(held=True, lacks=None)
        offsets.companion = state
        assert node.broker.cluster(ANONYMOUS, {}).health.reasons == ()
        state.lacks = "00000004.state: checksum"
        seen = node.broker.cluster(ANONYMOUS, {})
        (told,) = seen.health.reasons
        assert told.startswith("offsets/0 has no coordinator: node 0 leads it ")
        assert "00000004.state: checksum" in told
        assert seen.health.status is Status.UNHEALTHY
        leader, offsets.replica.leader = offsets.replica.leader, None
        assert node.broker.cluster(ANONYMOUS, {}).health.reasons == (), "who leads has it, perhaps"
        offsets.replica.leader, offsets.companion = leader, None


async def test_a_pass_ends_and_the_next_one_waits_for_the_interval() -> None:
    async with broker_node(settings=SCRUB) as node:
        await closed(node)
        scrubber = node.node.scrubber
        assert scrubber is not None
        await until(node, lambda: scrubber.segments > 0, step_ms=FIRST_MS)
        before = scrubber.passes
        await until(node, lambda: scrubber.passes == before + 1, step_ms=QUIET_MS)
        read = (scrubber.segments, scrubber.read_bytes)
        for _ in range(20):
            node.clock.advance(SCRUB.log.scrub_interval_ms // 40)
            await asyncio.sleep(0)
        assert (scrubber.segments, scrubber.read_bytes) == read, "it is not time yet"
        await until(node, lambda: scrubber.passes == before + 2, step_ms=FIRST_MS)
        assert scrubber.segments > read[0]
