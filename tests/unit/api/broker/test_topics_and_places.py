"""Topics over the broker, places in them, trimming, ids for producers, and restarts."""

import asyncio
import errno

import pytest

from api.broker.place import (
    AfterEarliest,
    Ago,
    AtOffset,
    AtTime,
    BeforeLatest,
    Earliest,
    Latest,
    MaxTimestamp,
    Place,
)
from api.sim.disk import SimDisk
from cluster.controller.partitions import AddPartitions
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import Offset, ProducerEpoch, ProducerId
from model.principal import ANONYMOUS
from model.record import ClockKind
from tests.broker_node import NOON, batch_of, broker_node
from tests.group_state import until


async def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    async with broker_node() as node:
        await node.create("orders")
        with pytest.raises(RequestError) as unknown:
            node.broker.partition("ordrs", 0)
        assert unknown.value.code is ErrorCode.UNKNOWN_TOPIC
        assert unknown.value.metadata["did_you_mean"] == "orders"
        with pytest.raises(RequestError) as beyond:
            node.broker.partition("orders", 1)
        assert beyond.value.code is ErrorCode.UNKNOWN_PARTITION


async def test_topics_come_into_being_on_first_use_where_that_is_switched_on() -> None:
    async with broker_node() as node:
        made, illegal = await node.broker.ensure_topics(ANONYMOUS, ["fresh", "a/b"])
        assert not isinstance(made, RequestError)
        assert len(made.partitions) == 4
        assert isinstance(illegal, RequestError)
        assert illegal.code is ErrorCode.INVALID_TOPIC_NAME


async def test_topics_records_and_producer_ids_survive_a_clean_restart_and_a_kill() -> None:
    disk = SimDisk()
    given: set[int] = set()
    for life in range(4):
        async with broker_node(disk, clean=life % 2 == 0) as node:
            if life == 0:
                await node.create("orders", 2)
            orders = node.broker.partition("orders", 1)
            assert orders.high_watermark == life
            await node.produce(orders, batch_of([b"v"]))
            producer, epoch = await node.broker.init_producer_id(ANONYMOUS, None)
            assert producer not in given
            assert epoch == 0
            given.add(producer)
        disk.kill()


async def test_a_new_leader_epoch_begins_after_a_kill_and_only_then() -> None:
    disk = SimDisk()
    epochs: list[int] = []
    for clean in (True, False, True):
        async with broker_node(disk, clean=clean) as node:
            if not epochs:
                await node.create("orders")
            epochs.append(node.broker.partition("orders", 0).leader_epoch)
        disk.kill()
    assert epochs[1] == epochs[0]
    assert epochs[2] == epochs[1] + 1


async def test_a_producer_gets_the_next_epoch_of_its_own_id() -> None:
    async with broker_node() as node:
        again = await node.broker.init_producer_id(ANONYMOUS, (ProducerId(9), ProducerEpoch(4)))
        assert again == (9, 5)
        fresh = await node.broker.init_producer_id(
            ANONYMOUS, (ProducerId(9), ProducerEpoch(32_767))
        )
        assert fresh != (9, 32_768)
        with pytest.raises(RequestError, match="0 or more"):
            await node.broker.init_producer_id(ANONYMOUS, (ProducerId(-1), ProducerEpoch(0)))


@pytest.mark.parametrize(
    ("place", "offset"),
    [
        (Earliest(), 1),
        (Latest(), 6),
        (AtOffset(4), 4),
        (AtOffset(0), 1),
        (AfterEarliest(2), 3),
        (AfterEarliest(99), 6),
        (BeforeLatest(2), 4),
        (BeforeLatest(99), 1),
        (AtTime(NOON + 30, ClockKind.EVENT), 3),
        (AtTime(NOON + 31, ClockKind.EVENT), 4),
        (AtTime(NOON + 51, ClockKind.EVENT), None),
        (AtTime(0, ClockKind.APPEND), 1),
        (AtTime(NOON + 3_600_000, ClockKind.APPEND), None),
        (Ago(3_600_000, ClockKind.APPEND), 1),
        (MaxTimestamp(), 5),
    ],
)
async def test_a_place_is_one_offset(place: Place, offset: int | None) -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        for number in range(6):
            await node.produce(orders, batch_of([b"v"], times=[NOON + 10 * number]))
        await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(1))
        found = await node.broker.resolve(ANONYMOUS, orders, place)
        assert found.offset == offset
        assert (found.log_start, found.high_watermark) == (1, 6)
        if not isinstance(place, AtTime | Ago):
            assert found.truncated == (place in {AtOffset(0), BeforeLatest(99)})


async def test_what_was_never_there_is_not_cut() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"v"]))
        found = await node.broker.resolve(ANONYMOUS, orders, BeforeLatest(99))
        assert (found.offset, found.truncated) == (0, False)


@pytest.mark.parametrize(
    ("place", "code"),
    [
        (AtOffset(7), ErrorCode.OFFSET_OUT_OF_RANGE),
        (AtOffset(-1), ErrorCode.INVALID_REQUEST),
        (AfterEarliest(-1), ErrorCode.INVALID_REQUEST),
        (BeforeLatest(-1), ErrorCode.INVALID_REQUEST),
    ],
)
async def test_a_place_that_is_none_is_refused(place: Place, code: ErrorCode) -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        with pytest.raises(RequestError) as refused:
            await node.broker.resolve(ANONYMOUS, orders, place)
        assert refused.value.code is code


async def test_what_was_trimmed_stays_gone_after_a_kill() -> None:
    """P38: an answered trim is durable; and nothing beyond the mark is ever removed."""
    disk = SimDisk()
    async with broker_node(disk, clean=False) as node:
        orders = await node.create("orders")
        for _ in range(5):
            await node.produce(orders, batch_of([b"v"]))
        (dry,) = await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(3), validate_only=True)
        assert (dry.before, dry.after, orders.log_start) == (0, 3, 0)
        (row,) = await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(3))
        assert (row.before, row.after) == (0, 3)
        (beyond,) = await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(6))
        assert beyond.error is not None
        (back,) = await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(1))
        assert back.after == 3
    disk.kill()
    async with broker_node(disk) as node:
        assert node.broker.partition("orders", 0).log_start == 3


async def test_a_partition_that_is_deleted_meanwhile_is_not_trimmed() -> None:
    """Its log would ask for a checkpoint, and that for files which are gone."""
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"v"]))
        await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
        (row,) = await node.broker.topics.trim(ANONYMOUS, [orders], Latest())
        assert row.error is not None
        assert row.error.code is ErrorCode.UNKNOWN_TOPIC
        assert orders.log_start == 0
        await node.node.settle()
        assert node.failures == []


async def test_a_topic_grows_and_its_new_partitions_can_be_written() -> None:
    async with broker_node() as node:
        await node.create("orders")
        await node.broker.topics.add_partitions(
            ANONYMOUS, AddPartitions(name="orders", partitions=3)
        )
        await node.produce(node.broker.partition("orders", 2), batch_of([b"v"]))


async def test_a_deleted_topics_files_go_and_its_name_is_free() -> None:
    disk = SimDisk()
    async with broker_node(disk) as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"old"]))
        await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
        again = await node.create("orders")
        assert again.high_watermark == 0
        await node.produce(again, batch_of([b"new"]))
        await node.node.writer.checkpointed()
        assert disk.list("partitions") == [f"{again.topic.topic_id.hex()}-0"]


async def test_a_search_finds_what_was_just_acknowledged_whatever_its_files_have() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        for number in range(3):
            time = NOON + 10 * number
            await node.produce(orders, batch_of([b"v"], times=[time]))
            assert orders.log.filed_end < orders.log.written_end
            place = AtTime(time, ClockKind.EVENT)
            found = await node.broker.resolve(ANONYMOUS, orders, place)
            assert found.offset == number


async def test_closed_time_is_held_back_by_what_is_on_its_way() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        context = node.broker.context
        context.closed_time()
        await node.node.settle()
        on_its_way = node.begin(orders, batch_of([b"v"]))
        then = context.append_time()
        node.clock.advance(5_000)
        assert orders.closed_time(context.closed_time()) <= then
        await on_its_way
        assert orders.closed_time(context.closed_time()) > then
        with pytest.raises(AssertionError, match="CLOSED_TIME_NEVER_FALLS"):
            orders.closed_time(type(then)(0))


async def test_a_trim_waits_for_what_only_others_have_on_their_disks() -> None:
    """A leader's own sync may come last: nothing may have its log begin behind its end by then."""
    async with broker_node() as node:
        orders, writer = await node.create("orders"), node.broker.context.writer
        for value in (b"v", b"w"):
            await node.produce(orders, batch_of([value]))
        log = orders.log
        await writer.until(lambda: log.filed_end == 2)
        log.filed_end = log.flushed_end = Offset(1)  # as if the other one were being synced
        trim = asyncio.ensure_future(node.broker.topics.trim(ANONYMOUS, [orders], Latest()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert log.log_start == 0
        log.filed_end = log.flushed_end = Offset(2)
        writer.ask()
        (row,) = await trim
        assert (row.after, log.log_start) == (2, 2)


async def test_a_disk_that_fails_during_a_trim_is_told_row_by_row() -> None:
    """Nobody knows whether what had moved is gone; what had nothing to move is as it was."""
    async with broker_node() as node:
        writer = node.broker.context.writer
        asked = [await node.create(name) for name in ("done", "waits", "still")]
        done, waits, _ = asked
        for log in (done, waits):
            await node.produce(log, batch_of([b"v"]))
        await writer.until(lambda: waits.log.filed_end == 1)
        waits.log.filed_end = waits.log.flushed_end = Offset(0)  # as if it were being synced
        trim = asyncio.ensure_future(node.broker.topics.trim(ANONYMOUS, asked, Latest()))
        await until(lambda: done.log.log_start == 1)
        writer.fail(StorageFailed("journal", errno.EIO, "sync"))
        rows = await trim
        assert [row.partition for row in rows] == asked
        assert [row.after for row in rows] == [None, None, 0]
        codes = [None if row.error is None else row.error.code for row in rows]
        assert codes == [ErrorCode.STORAGE_ERROR, ErrorCode.STORAGE_ERROR, None]
        assert waits.log.log_start == 0
