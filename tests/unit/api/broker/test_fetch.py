"""Reading on: what is visible, how long a read waits, and what it is refused."""

import asyncio
import errno

import pytest

from api.broker.acks import Acks
from api.broker.fetch import UNKNOWN, Fetched, Want
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from cluster.shell.hosted_partition import HostedPartition
from logstore.batch import decode_batch
from logstore.searchable import Search, Slice
from model.errors import ErrorCode, RequestError
from model.ids import Offset
from model.principal import ANONYMOUS
from model.record import iter_batches
from tests.broker_node import BrokerNode, HeldPool, batch_of, broker_node, cold


def values(found: Fetched) -> list[bytes | None]:
    return [
        record.value
        for buffer in found.buffers
        for batch in iter_batches(memoryview(buffer))
        for record in decode_batch(batch)
    ]


def poll(
    node: BrokerNode, partition: HostedPartition, offset: int, *, wait_ms: int
) -> "asyncio.Future[list[Fetched]]":
    """Begin a long poll; the future has its answer."""
    answer: asyncio.Future[list[Fetched]] = asyncio.Future()
    node.broker.fetch(
        ANONYMOUS,
        [Want(partition, Offset(offset), 1 << 20)],
        min_bytes=1,
        max_bytes=1 << 20,
        max_wait_ms=wait_ms,
        done=lambda rows: answer.set_result(list(rows)),
    )
    return answer


async def test_what_is_not_committed_is_not_shown() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"a"]))
        on_its_way = node.begin(orders, batch_of([b"b"]), acks=Acks.ALL)
        assert values(await node.fetch(orders, 0)) == [b"a"]
        await on_its_way
        found = await node.fetch(orders, 0)
        assert values(found) == [b"a", b"b"]
        assert (found.next_offset, found.high_watermark) == (2, 2)


async def test_a_long_poll_is_answered_by_the_next_commit() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        answer = poll(node, orders, 0, wait_ms=60_000)
        await node.broker.searches.turn()
        assert not answer.done()
        await node.produce(orders, batch_of([b"a"]))
        (found,) = await answer
        assert values(found) == [b"a"]


async def test_a_long_poll_ends_empty_when_its_time_is_up() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        answer = poll(node, orders, 0, wait_ms=500)
        node.clock.advance(499)
        assert not answer.done()
        node.clock.advance(1)
        (found,) = answer.result()
        assert found.error is None
        assert (found.size_bytes, found.next_offset) == (0, 0)


async def test_a_cancelled_poll_is_never_answered() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        told: list[object] = []
        cancel = node.broker.fetch(
            ANONYMOUS,
            [Want(orders, Offset(0), 1 << 20)],
            min_bytes=1,
            max_bytes=1 << 20,
            max_wait_ms=1_000,
            done=told.append,
        )
        cancel()
        await node.produce(orders, batch_of([b"a"]))
        node.clock.advance(2_000)
        assert not told


@pytest.mark.parametrize("offset", [-1, 3])
async def test_an_offset_outside_the_log_is_refused_with_both_ends(offset: int) -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"a", b"b"]))
        found = await node.fetch(orders, offset)
        assert found.error is not None
        assert found.error.code is ErrorCode.OFFSET_OUT_OF_RANGE
        assert found.error.metadata["high_watermark"] == "2"
        assert found.error.metadata["log_start_offset"] == "0"


async def test_who_was_told_of_more_than_is_known_here_waits_and_is_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A leader may be deposed and not know it: one of a later epoch has told them of more."""
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"a", b"b", b"c"]))
        with monkeypatch.context() as known:
            known.setattr(HostedPartition, "high_watermark", Offset(2))
            found = await node.fetch(orders, 3)
            beyond = await node.fetch(orders, 4)
        assert (found.error, found.size_bytes, found.next_offset) == (None, 0, 3)
        assert beyond.error is not None
        assert beyond.error.code is ErrorCode.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("shift", "code"), [(-1, ErrorCode.FENCED_EPOCH), (1, ErrorCode.UNKNOWN_EPOCH)]
)
async def test_an_asker_with_another_leader_epoch_is_refused(shift: int, code: ErrorCode) -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        orders.leader_epoch = type(orders.leader_epoch)(5)
        found = await node.fetch(orders, 0, epoch=5 + shift)
        assert found.error is not None
        assert found.error.code is code


async def test_who_is_refused_is_told_no_mark_for_another_leader_may_have_told_more() -> None:
    """P12: Kafka clients take what stands beside a refusal for what is committed."""
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"a"]))
        refused = [await node.fetch(orders, 0, epoch=orders.leader_epoch + 1)]
        refused.append(await node.fetch(orders, 2))
        orders.serves = False  # a new leader, which does not know yet what the last one told
        refused.append(await node.fetch(orders, 0))
        for found in refused:
            assert found.error is not None
            marks = found.high_watermark, found.last_stable_offset, found.log_start
            assert marks == (UNKNOWN, UNKNOWN, UNKNOWN)


async def test_a_poll_on_a_deleted_topic_is_told_so() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        answer = poll(node, orders, 0, wait_ms=60_000)
        await node.broker.searches.turn()
        await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
        (found,) = await answer
        assert found.error is not None
        assert found.error.code is ErrorCode.UNKNOWN_TOPIC


async def test_records_from_before_a_restart_are_read_from_the_disk() -> None:
    disk = SimDisk()
    sent = [f"v{number}".encode() for number in range(50)]
    async with broker_node(disk) as node:
        orders = await node.create("orders")
        for value in sent:
            await node.produce(orders, batch_of([value]))
    disk.kill()
    async with broker_node(disk) as node:
        orders = node.broker.partition("orders", 0)
        got: list[bytes | None] = []
        offset = 0
        while offset < orders.high_watermark:
            found = await node.fetch(orders, offset, max_bytes=300)
            got += values(found)
            offset = found.next_offset
        assert got == sent


async def test_a_batch_larger_than_the_reader_allows_comes_all_the_same() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"x" * 5_000]))
        assert values(await node.fetch(orders, 0, max_bytes=1)) == [b"x" * 5_000]


async def test_a_commit_between_cancelling_and_hearing_of_it_breaks_nothing() -> None:
    """The waiting task has been told and has not run yet when the answer comes."""
    async with broker_node() as node:
        orders = await node.create("orders")
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: reported.append(told))
        want = Want(orders, Offset(0), 1 << 20)
        waiting = asyncio.ensure_future(
            node.broker.fetch.wait(
                ANONYMOUS, [want], min_bytes=1, max_bytes=1 << 20, max_wait_ms=60_000
            )
        )
        await node.broker.searches.turn()

        def leave() -> None:
            waiting.cancel()

        orders.watch(Offset(0), leave)  # woken behind the poll, and before it reads again
        await node.produce(orders, batch_of([b"a"]))
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert reported == []


@pytest.mark.parametrize("cached", [True, False])
async def test_an_answer_does_not_stop_where_the_files_do(*, cached: bool) -> None:
    """What is on disk only and what is in memory only come together, as from any one log."""
    disk = SimDisk()
    await cold(disk, "orders")
    async with broker_node(disk) as node:
        orders = node.broker.partition("orders", 0)
        if cached:
            await node.fetch(orders, 0)
        await node.produce(orders, batch_of([b"new"]))
        found = await node.fetch(orders, 0)
        assert (found.next_offset, found.high_watermark) == (2, 2)
        assert [
            record.value for buffer in found.buffers for record in decode_batch(memoryview(buffer))
        ] == [b"old", b"new"]


async def test_what_is_committed_while_the_pool_reads_ends_the_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = SimDisk()
    await cold(disk, "orders")
    async with broker_node(disk) as node:
        orders, fresh = node.broker.partition("orders", 0), await node.create("fresh")
        pool = HeldPool(node.broker.context.read_pool)
        monkeypatch.setattr(node.broker.context, "read_pool", pool)
        answer: asyncio.Future[list[Fetched]] = asyncio.Future()
        node.broker.fetch(
            ANONYMOUS,
            [Want(orders, Offset(0), 1 << 20), Want(fresh, Offset(0), 1 << 20)],
            min_bytes=100,
            max_bytes=1 << 20,
            max_wait_ms=60_000,
            done=lambda rows: answer.set_result(list(rows)),
        )
        await node.produce(fresh, batch_of([b"new"]))
        assert not answer.done()
        pool.let_go()
        while not answer.done():  # the clock stands still: only a wake-up can end this
            await node.broker.searches.turn()
            pool.let_go()
        assert [values(row) for row in answer.result()] == [[b"old"], [b"new"]]


async def test_what_is_cut_off_while_the_pool_reads_is_asked_of_the_next_leader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To be out of range would send a consumer to another end of the log."""
    disk = SimDisk()
    await cold(disk, "orders")
    async with broker_node(disk) as node:
        orders = node.broker.partition("orders", 0)
        pool = HeldPool(node.broker.context.read_pool)
        monkeypatch.setattr(node.broker.context, "read_pool", pool)
        answer = poll(node, orders, 0, wait_ms=60_000)
        await node.broker.searches.turn()
        orders.serves = False
        segment = orders.log.segment_list[0]
        segment.generation += 1  # as a follower's cut does
        disk.unlink(segment.log_name)
        pool.let_go()
        (found,) = await answer
        assert found.error is not None
        assert found.error.code is ErrorCode.OFFSET_NOT_AVAILABLE
        assert not segment.damage


def one_step() -> Search[None]:
    """Search for nothing."""
    yield Slice()


async def test_a_log_that_is_being_cut_is_searched_no_more() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"v"]))
        orders.log.cut = Offset(0)
        with pytest.raises(RequestError) as refused:
            await node.broker.searches.run(orders.log, one_step())
        orders.log.cut = None
        assert refused.value.code is ErrorCode.NOT_LEADER


async def test_partitions_that_may_take_nothing_are_not_all_read_from_the_disk() -> None:
    """One batch comes even if there is no room; one, not one of each partition."""
    disk = SimDisk()
    await cold(disk, "a", "b", "c")
    async with broker_node(disk) as node:
        rows = await node.broker.fetch.wait(
            ANONYMOUS,
            [Want(node.broker.partition(topic, 0), Offset(0), 0) for topic in "abc"],
            min_bytes=0,
            max_bytes=1 << 20,
            max_wait_ms=0,
        )
        assert [values(row) for row in rows] == [[b"old"], [], []]


async def test_a_disk_that_refuses_a_read_is_told_to_the_reader_and_to_the_node() -> None:
    disk = SimDisk()
    await cold(disk, "orders")
    async with broker_node(disk) as node:
        disk.faults.add(Fault(Operation.READ, "partitions", errno.EIO, times=None))
        found = await node.fetch(node.broker.partition("orders", 0), 0)
        assert found.error is not None
        assert found.error.code is ErrorCode.STORAGE_ERROR
        assert [type(error).__name__ for error in node.failures] == ["StorageFailed"]
        assert node.node.writer.offline
