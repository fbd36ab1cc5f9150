"""A node's end, in order and out of order, and what it tells the controller of deleted topics."""

import asyncio
import errno
import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pytest

from api.broker.acks import Produced
from api.door import Address, Door
from api.node.assemble import Node
from api.node.lifecycle import EXIT_FAILED, EXIT_OK, Lifecycle
from api.node.system_rand import SystemRand
from api.node.system_spawn import SystemSpawn
from api.node.world import World
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.shell.hosted_partition import HostedPartition
from logstore.log_directory import LogDirectory
from logstore.settings import KIB
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import AppendTimeMs, MonotonicMs, PartitionId, TopicId
from model.principal import ANONYMOUS
from tests.broker_node import MEMORY_BYTES, NOON, SETTINGS, BrokerNode, batch_of, broker_node
from tests.one_node import one_node
from tests.world import Log


async def test_the_controller_forgets_a_deleted_topic_once_its_files_are_gone() -> None:
    disk = SimDisk()
    async with broker_node(disk) as node:
        quorum, seen = node.broker.context.quorum, list[bool]()

        def listen(image: MetadataImage, delta: MetadataDelta) -> None:
            del delta
            if not image.topics and not image.deleted:
                seen.append(disk.list("partitions") == [])

        await node.produce(await node.create("orders"), batch_of([b"a"]))
        quorum.subscribe(listen)
        await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
        while quorum.image.deleted:
            await node.broker.searches.turn()
        assert seen == [True]


async def test_it_is_not_told_by_a_start_that_still_has_to_remove_them() -> None:
    disk = SimDisk()
    async with broker_node(disk) as node:
        await node.produce(await node.create("orders"), batch_of([b"a"]))
        disk.faults.add(Fault(Operation.NAMES, "partitions", errno.EIO, times=None))
        await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
        while not node.failures:
            await node.broker.searches.turn()
    disk.faults.clear()
    disk.kill()
    assert len(disk.list("partitions")) == 1
    async with broker_node(disk) as node:
        seen: list[bool] = []

        def listen(image: MetadataImage, delta: MetadataDelta) -> None:
            del delta
            if not image.deleted:
                seen.append(disk.list("partitions") == [])

        quorum = node.broker.context.quorum
        quorum.subscribe(listen)
        while quorum.image.deleted:
            await node.broker.searches.turn()
        assert seen == [True]


async def test_only_what_the_metadata_does_not_have_is_a_stray(tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"
    async with one_node(tmp_path / "before") as one:
        await one.create("orders")
        await one.node.writer.flushed()
        shutil.copytree(tmp_path / "before", crashed)
    (empty,) = (crashed / "partitions").iterdir()
    assert list(empty.iterdir()) == []
    (crashed / "partitions" / f"{bytes(16).hex()}-3").mkdir()
    async with one_node(crashed) as one:
        assert one.node.stray == (PartitionId(TopicId(bytes(16)), 3),)


class Watcher:
    """Stops the node as soon as it is ready, after what a test wants done."""

    def __init__(self, lifecycle_of: "list[Lifecycle]") -> None:
        self._lifecycles = lifecycle_of
        self.errors: list[Exception] = []

    def ready(self, addresses: dict[str, Address]) -> None:
        assert addresses == {}
        self._lifecycles[0].request_stop()

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


class Run:
    """A node on a simulated disk, run by its lifecycle until it is ready and then stopped."""

    def __init__(self, disk: SimDisk) -> None:
        self.disk = disk
        self.clock = SimClock(wall=NOON, monotonic=MonotonicMs(1_000))
        lifecycles: list[Lifecycle] = []
        self.watcher = Watcher(lifecycles)
        self.lifecycle = Lifecycle(self.watcher)
        lifecycles.append(self.lifecycle)
        self.node: Node | None = None

    async def start(self, lifecycle: Lifecycle) -> Node:
        world = World(
            disk=self.disk,
            clock=self.clock,
            rand=SystemRand(),
            spawn=SystemSpawn(lifecycle.fail),
            memory_bytes=MEMORY_BYTES,
            version="test",
            note=Log(),
        )
        self.node = await Node.start(SETTINGS, world, failed=lifecycle.fail)
        return self.node

    def doors(self, node: Node) -> Sequence[Door]:
        del node
        return ()

    async def code(self) -> int:
        try:
            return await self.lifecycle.run(self.start, self.doors)
        finally:
            asyncio.get_running_loop().set_exception_handler(None)


async def test_a_node_that_is_asked_to_stop_ends_in_order() -> None:
    disk = SimDisk()
    run = Run(disk)
    assert await run.code() == EXIT_OK
    assert run.watcher.errors == []
    disk.kill()
    async with broker_node(disk) as again:
        assert again.node.report.clean


async def test_a_disk_that_fails_while_the_node_stops_ends_it_with_that_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was accepted cannot be written: that is told as it is, not as a refused request."""
    disk = SimDisk()
    run = Run(disk)
    settle = Node.settle

    async def with_something_left(node: Node) -> None:
        node.append_clock.read(MonotonicMs(2_000), NOON)
        node.directory.reserve_clock(AppendTimeMs(NOON + 60_000))
        disk.faults.add(Fault(Operation.SYNC, "journal", errno.EIO))
        await settle(node)

    monkeypatch.setattr(Node, "settle", with_something_left)
    assert await run.code() == EXIT_FAILED
    assert [type(error) for error in run.watcher.errors] == [StorageFailed]


async def test_a_node_whose_journal_has_no_room_ends_in_time_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = SimDisk()
    run = Run(disk)
    settle = Node.settle
    told: list[Produced | RequestError] = []

    async def with_a_full_journal(node: Node) -> None:
        monkeypatch.setattr(Node, "settle", settle)
        at = BrokerNode(node, run.clock, disk)
        await at.create("orders", partitions=17)
        orders = [node.broker.partition("orders", number) for number in range(17)]
        await node.writer.checkpointed()
        goes_on = Event()
        node.writer._writer.submit(goes_on.wait, lambda _: None, run.watcher.failed)
        batch = batch_of([bytes(4_000)])
        answers = [at.begin(order, batch, timeout_ms=600_000) for order in orders]
        disk.capacity_bytes = disk.used_bytes + 90 * KIB  # no room for a second file of the journal
        node.writer.look_at_space()
        await node.writer._checkpointer.run(lambda: None)
        goes_on.set()
        ends = asyncio.ensure_future(settle(node))
        while not ends.done():
            assert run.clock.monotonic_ms() < 60_000
            run.clock.advance(1_000)
            await wait_for_threads(node)
        await ends
        told.extend(await asyncio.gather(*answers))

    monkeypatch.setattr(Node, "settle", with_a_full_journal)
    assert await run.code() == EXIT_FAILED
    (error,) = run.watcher.errors
    assert isinstance(error, StorageFailed)
    assert error.errno == errno.ENOSPC
    refused = [answer for answer in told if isinstance(answer, RequestError)]
    assert {answer.code for answer in refused} == {ErrorCode.STORAGE_ERROR}
    assert 0 < len(refused) < len(told)


async def wait_for_threads(node: Node) -> None:
    """Return once the threads of the disk have done what they were given, and what follows."""
    for _ in range(6):
        await node.writer._checkpointer.run(lambda: None)
        await node.writer._writer.run(lambda: None)


async def test_a_disk_that_refuses_the_mark_of_a_clean_stop_is_told_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(directory: LogDirectory, clock_floor: AppendTimeMs) -> None:
        raise StorageFailed("clean", errno.EIO, "write")

    monkeypatch.setattr(LogDirectory, "mark_clean", refuse)
    run = Run(SimDisk())
    assert await run.code() == EXIT_FAILED
    assert [type(error) for error in run.watcher.errors] == [StorageFailed]


async def test_a_change_of_metadata_under_way_is_written_before_the_node_ends() -> None:
    """Its thread uses the log's files: nobody may close them under it."""
    disk = SimDisk()
    async with broker_node(disk) as node:
        allocating = asyncio.ensure_future(node.broker.init_producer_id(ANONYMOUS))
        await asyncio.wait([allocating], timeout=0)
        assert not allocating.done()
    given, _ = await allocating
    disk.kill()
    async with broker_node(disk) as node:
        again, _ = await node.broker.init_producer_id(ANONYMOUS)
        assert again > given


@pytest.mark.parametrize("turns", range(12))
async def test_a_topic_that_is_made_while_the_node_stops_is_no_failure(turns: int) -> None:
    disk = SimDisk()
    async with broker_node(disk) as node:
        making = asyncio.ensure_future(node.create("orders"))
        for _ in range(turns):
            await asyncio.sleep(0)
    (made,) = await asyncio.gather(making, return_exceptions=True)
    disk.kill()
    async with broker_node(disk) as node:
        if isinstance(made, HostedPartition):  # else it was told that the node is stopping
            assert node.broker.partition("orders", 0).high_watermark == 0
