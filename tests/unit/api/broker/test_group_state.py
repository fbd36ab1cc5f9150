"""Coordinators on a whole node: what was answered is there after every end of the node."""

import asyncio
import errno
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from api.broker.place import Latest
from api.cluster_settings import ClusterSection
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.partitions import AddPartitions
from cluster.controller.topics import CreateTopic
from cluster.shell.hosted_partition import HostedPartition
from cluster.state_partition.layout import CONSUMER_OFFSETS, PARTITIONS, partition_of
from cluster.state_partition.snapshot import offsets
from logstore.paths import STATE, by_offset, partition_directory
from model.errors import DirectoryExit, DirectoryRefused, ErrorCode, Outcome, RequestError
from model.ids import Offset, PartitionId, Position
from model.principal import ANONYMOUS
from tests.broker_node import SETTINGS, BrokerNode, batch_of, broker_node
from tests.group_state import commit, committed, left_by_power_cut, states, until

EVERY = 20
OFTEN = replace(SETTINGS, cluster=ClusterSection(state_snapshot_records=EVERY))
GROUPS = ("billing", "orders-projection", "bücher", "a")


def home(node: BrokerNode, group: str = "a") -> HostedPartition:
    """Return the partition of a group."""
    return node.broker.partition(CONSUMER_OFFSETS, partition_of(group))


async def many(node: BrokerNode, commits: int) -> None:
    """Commit offsets that count up, of one group; one after the other."""
    for offset in range(commits):
        await commit(node.broker.groups_state, "a", offset)


def another(disk: SimDisk, partition: PartitionId, before: list[Offset]) -> bool:
    """Tell whether a new snapshot is there, and those are gone that are not kept beside it."""
    now = offsets(disk, partition)
    return now[-1:] != before[-1:] and len(now) <= 2


async def with_snapshots(disk: SimDisk, count: int, *, commits: int) -> PartitionId:
    """Run a node until a partition has made so many snapshots, and some records beyond them."""
    async with broker_node(disk, settings=OFTEN) as node:
        await many(node, 1)
        partition = home(node).log.id
        for _ in range(count):
            before = offsets(disk, partition)
            await many(node, EVERY)
            await until(partial(another, disk, partition, before))
        await many(node, commits)
        await node.node.writer.checkpointed()
    disk.kill()
    return partition


def snapshot_file(disk: SimDisk, partition: PartitionId, number: int) -> str:
    """Return the name of a snapshot, oldest first."""
    found = offsets(disk, partition)[number]
    return f"{partition_directory(partition)}/{by_offset(found, STATE)}"


async def test_the_first_commit_makes_the_topic_and_every_end_of_the_node_keeps_it() -> None:
    """P28."""
    disk = SimDisk()
    async with broker_node(disk) as node:
        state = node.broker.groups_state
        assert await committed(state, "a") is None
        assert await states(state) == []
        assert CONSUMER_OFFSETS not in node.broker.image.topics
        await commit(state, "a", 7)
        await asyncio.gather(*[commit(state, group, 9) for group in GROUPS])
        topic = node.broker.image.topics[CONSUMER_OFFSETS]
        assert topic.internal
        assert len(topic.partitions) == PARTITIONS == len(await states(state))
        for group in GROUPS:
            assert await committed(state, group) == 9
            assert home(node, group).high_watermark > 0
        left = left_by_power_cut(disk)
        before = await states(state)
    disk.kill()
    for again in (disk, left):
        async with broker_node(again) as node:
            assert await states(node.broker.groups_state) == before
            await commit(node.broker.groups_state, "billing", 10)
            assert await committed(node.broker.groups_state, "billing") == 10


async def test_a_first_change_that_is_refused_makes_no_topic() -> None:
    async with broker_node() as node:
        with pytest.raises(RequestError) as refused:
            await node.broker.groups_state.call(
                "a",
                lambda machine, _: machine.delete_group("a"),  # type: ignore[arg-type]
            )
        assert refused.value.code is ErrorCode.UNKNOWN_GROUP
        assert CONSUMER_OFFSETS not in node.broker.image.topics


async def test_many_who_come_first_find_one_topic() -> None:
    async with broker_node() as node:
        state = node.broker.groups_state
        await asyncio.gather(*[commit(state, f"g{number}", number) for number in range(50)])
        assert [await committed(state, f"g{number}") for number in range(50)] == list(range(50))
        counts = await state.read_each(lambda machine: machine.group_count())
        assert sum(counts) == 50
        assert all(counts)


async def test_a_read_waits_for_the_change_that_it_sees() -> None:
    async with broker_node() as node:
        state = node.broker.groups_state
        await commit(state, "a", 1)
        change = asyncio.ensure_future(commit(state, "a", 2))
        await asyncio.sleep(0)
        look = asyncio.ensure_future(committed(state, "a"))
        await asyncio.sleep(0)
        assert home(node).high_watermark < home(node).log.log_end
        assert not change.done()
        assert not look.done()
        assert await look == 2
        assert change.done()


async def test_snapshots_are_made_the_log_below_the_older_one_goes_and_nothing_else_changes() -> (
    None
):
    disk = SimDisk()
    async with broker_node(disk, settings=OFTEN) as node:
        state = node.broker.groups_state
        await many(node, 1)
        log = home(node).log
        for made in range(1, 4):
            await many(node, EVERY + 5)
            await state.at_rest()
            assert len(offsets(disk, log.id)) == min(made, 2)
            assert log.log_start == (0 if made == 1 else offsets(disk, log.id)[0])
        older, newer = offsets(disk, log.id)
        assert older < newer <= home(node).high_watermark
        before = await states(state)
        left = left_by_power_cut(disk)
    disk.kill()
    for again in (disk, left):
        async with broker_node(again, settings=OFTEN) as node:
            assert await states(node.broker.groups_state) == before
            assert await committed(node.broker.groups_state, "a") == EVERY + 4
            assert not node.node.report.repaired


async def test_a_start_with_a_snapshot_and_one_without_see_the_same() -> None:
    disk = SimDisk()
    partition = await with_snapshots(disk, 1, commits=7)
    seen = []
    for _ in range(2):
        async with broker_node(disk) as node:
            assert home(node).log_start == 0
            seen.append(await states(node.broker.groups_state))
        disk.kill()
        for offset in offsets(disk, partition):
            disk.unlink(f"{partition_directory(partition)}/{by_offset(offset, STATE)}")
    assert seen[0] == seen[1]
    assert len(seen[0][partition.number]) == 2


async def test_a_crash_at_any_step_of_a_snapshot_loses_nothing() -> None:
    """Between the new file, its name, the old one's end, the trim and what the trim removes."""
    disk = SimDisk()
    images: list[tuple[SimDisk, int]] = []
    acked = 0
    watched: list[str] = []

    def before(operation: Operation, name: str, _: int) -> None:
        if any(name.startswith(directory) for directory in watched) and (
            operation in {Operation.SYNC, Operation.NAMES, Operation.SYNC_DIRECTORY}
        ):
            images.append((left_by_power_cut(disk), acked))

    async with broker_node(disk, settings=OFTEN) as node:
        await commit(node.broker.groups_state, "a", 0)
        watched.append(partition_directory(home(node).log.id))
        disk.before = before
        for offset in range(1, 5 * EVERY):
            await commit(node.broker.groups_state, "a", offset)
            acked = offset
            if offset % 10 == 0:  # so that a trim is durable soon
                await node.node.writer.checkpointed()
        disk.before = None
    assert len(images) >= 12
    for image, least in images:
        async with broker_node(image, settings=OFTEN) as node:
            found = await committed(node.broker.groups_state, "a")
            assert found is not None
            assert found >= least
            await commit(node.broker.groups_state, "a", 1_000)


async def test_a_damaged_snapshot_is_passed_over_and_told() -> None:
    disk = SimDisk()
    partition = await with_snapshots(disk, 3, commits=5)
    async with broker_node(disk, settings=OFTEN) as node:
        before = await states(node.broker.groups_state)
    disk.kill()
    name = snapshot_file(disk, partition, 1)
    disk.flip_bit(name, Position(60), 3)
    async with broker_node(disk, settings=OFTEN) as node:
        assert [finding.file for finding in node.node.report.repaired] == [name]
        assert await states(node.broker.groups_state) == before
        await many(node, EVERY)  # the next one takes the damaged one's place
        directory, _, file = name.rpartition("/")
        await until(lambda: file not in disk.list(directory))
        assert len(offsets(disk, partition)) == 2
    disk.kill()
    async with broker_node(disk, settings=OFTEN) as node:
        assert await committed(node.broker.groups_state, "a") == EVERY - 1


def one_damaged_and_one_gone(disk: SimDisk, partition: PartitionId) -> str:
    disk.unlink(snapshot_file(disk, partition, 0))
    disk.flip_bit(snapshot_file(disk, partition, 0), Position(60), 3)
    return snapshot_file(disk, partition, 0)


def all_gone(disk: SimDisk, partition: PartitionId) -> str:
    for _ in range(2):
        disk.unlink(snapshot_file(disk, partition, 0))
    return partition_directory(partition)


def one_above_the_log(disk: SimDisk, partition: PartitionId) -> str:
    directory = partition_directory(partition)
    name = f"{directory}/{by_offset(offsets(disk, partition)[1], STATE)}"
    above = f"{directory}/{9_999_999:020d}{STATE}"
    disk.rename(name, above)
    return above


@pytest.mark.parametrize("damage", [one_damaged_and_one_gone, all_gone, one_above_the_log])
async def test_missing_records_are_never_taken_for_none(
    damage: Callable[[SimDisk, PartitionId], str],
) -> None:
    disk = SimDisk()
    partition = await with_snapshots(disk, 3, commits=5)
    name = damage(disk, partition)
    with pytest.raises(DirectoryRefused, match=name) as refused:
        async with broker_node(disk, settings=OFTEN):
            pass
    assert refused.value.exit_code is DirectoryExit.FAILED


async def test_a_damaged_log_is_never_taken_for_a_shorter_one() -> None:
    disk = SimDisk()
    async with broker_node(disk) as node:
        await many(node, 10)
        segment = home(node).log.segment_list[-1].log_name
    disk.kill()
    disk.flip_bit(segment, Position(200), 1)
    with pytest.raises(DirectoryRefused, match=segment) as refused:
        async with broker_node(disk):
            pass
    assert refused.value.exit_code is DirectoryExit.FAILED


async def test_commits_go_on_below_the_reserve_line_and_a_full_disk_changes_nothing() -> None:
    """P48."""
    disk = SimDisk()
    async with broker_node(disk) as node:
        state = node.broker.groups_state
        orders = await node.create("orders")
        await commit(state, "a", 0)
        capacity = disk.capacity_bytes
        disk.open("elsewhere", create=True).pwrite([bytes(8 << 20)], Position(0))
        disk.capacity_bytes = disk.used_bytes * 104 // 100  # 5 percent are kept in reserve
        node.node.directory.poll_free(node.node.directory.mark_space())
        produced = await node.refused(orders, batch_of([b"x"]))
        assert produced.code is ErrorCode.DISK_FULL
        await commit(state, "a", 1)
        end, before = home(node).log.log_end, await states(state)
        disk.capacity_bytes = disk.used_bytes
        node.node.directory.poll_free(node.node.directory.mark_space())
        with pytest.raises(RequestError) as refused:
            await commit(state, "a", 2)
        assert refused.value.code is ErrorCode.DISK_FULL
        assert refused.value.code.outcome is Outcome.NOT_DONE
        assert (home(node).log.log_end, await states(state)) == (end, before)
        disk.capacity_bytes = capacity
        node.node.directory.poll_free(node.node.directory.mark_space())
        await commit(state, "a", 3)
        assert await committed(state, "a") == 3


async def test_a_change_too_large_for_one_batch_is_refused_whole() -> None:
    async with broker_node() as node:
        state = node.broker.groups_state
        await commit(state, "a", 1)
        before = await states(state)
        with pytest.raises(RequestError) as refused:
            await commit(state, "a", 2, metadata="m" * 4_000, partitions=900)
        assert refused.value.code is ErrorCode.LIMIT_EXCEEDED
        assert await states(state) == before


async def test_a_failed_sync_leaves_the_outcome_unknown_and_nothing_half_told() -> None:
    """P44."""
    disk = SimDisk()
    async with broker_node(disk) as node:
        state = node.broker.groups_state
        await commit(state, "a", 1)
        disk.faults.add(Fault(Operation.SYNC, "journal", errno.EIO))
        waiting = asyncio.ensure_future(commit(state, "a", 2))
        await asyncio.sleep(0)
        look = asyncio.ensure_future(committed(state, "a"))
        with pytest.raises(RequestError) as unknown:
            await waiting
        assert unknown.value.code is ErrorCode.STORAGE_ERROR
        assert unknown.value.code.outcome is Outcome.UNKNOWN
        with pytest.raises(RequestError):
            await look
        with pytest.raises(RequestError):
            await commit(state, "a", 3)
        with pytest.raises(RequestError):  # the state that ran ahead of the disk is not shown
            await committed(state, "a")
    left = left_by_power_cut(disk)
    async with broker_node(left) as node:
        assert await committed(node.broker.groups_state, "a") == 1


async def test_a_snapshot_that_the_disk_refuses_ends_the_node() -> None:
    disk = SimDisk()
    async with broker_node(disk, settings=OFTEN) as node:
        await many(node, 1)
        directory = partition_directory(home(node).log.id)
        disk.faults.add(Fault(Operation.SYNC_DIRECTORY, directory, errno.EIO))
        acked = 0
        with pytest.raises(RequestError) as refused:
            for offset in range(1, 10 * EVERY):
                await commit(node.broker.groups_state, "a", offset)
                acked = offset
        assert refused.value.code in {ErrorCode.STORAGE_ERROR, ErrorCode.COORDINATOR_LOADING}
        assert acked >= EVERY - 2
        assert directory in str(node.failures[0])
    async with broker_node(left_by_power_cut(disk), settings=OFTEN) as node:
        assert await committed(node.broker.groups_state, "a") in {acked, acked + 1}


async def test_nobody_but_the_node_writes_changes_or_deletes_the_topic() -> None:
    async with broker_node() as node:
        broker = node.broker
        with pytest.raises(RequestError) as refused:
            raise (await broker.create_topics(ANONYMOUS, [CreateTopic(name=CONSUMER_OFFSETS)]))[0]  # type: ignore[misc]
        refusals = [refused.value]
        await commit(broker.groups_state, "a", 1)
        refusals.append(await node.refused(home(node), batch_of([b"x"])))
        answers = await broker.delete_topics(ANONYMOUS, [node.delete(CONSUMER_OFFSETS)])
        refusals += [answer for answer in answers if isinstance(answer, RequestError)]
        (trimmed,) = await broker.topics.trim(ANONYMOUS, [home(node)], Latest())
        refusals += [trimmed.error] if trimmed.error else []
        for change in (
            broker.configs.update(
                ANONYMOUS, AlterTopicConfig(name=CONSUMER_OFFSETS, set={"retention.ms": "1"})
            ),
            broker.topics.add_partitions(
                ANONYMOUS, AddPartitions(name=CONSUMER_OFFSETS, partitions=9)
            ),
        ):
            with pytest.raises(RequestError) as refused:
                await change
            refusals.append(refused.value)
        assert [one.code for one in refusals] == [ErrorCode.POLICY_VIOLATION] * 6
        assert all(CONSUMER_OFFSETS in one.detail for one in refusals)
        assert await committed(broker.groups_state, "a") == 1
        read = await node.fetch(home(node), 0)  # reading it is nobody's harm
        assert read.size_bytes > 0
