"""What a replica that has lost the end of its log may throw away, and what it must not believe.

Each of these takes more than one accident: a disk that forgets, and a log that was never whole or
another replica that is not.
"""

import asyncio
from functools import partial

import pytest

from api.broker.acks import Acks, Produced
from api.broker.fetch import Want
from cluster.controller.topics import CreateTopic
from cluster.shell.hosted_partition import HostedPartition
from logstore.batch import encode_batch
from logstore.paths import EPOCHS, LOG, TIMES
from logstore.times import ROW_BYTES
from logstore.whole_end import lost_files
from model.errors import RequestError
from model.ids import Offset, Position
from model.principal import ANONYMOUS
from model.record import NewRecord
from tests.cluster.test_damage import SCRUBBED_MS, healed, killed, pass_by_reading, stopped
from tests.cluster.test_damaged_epochs import End, in_many_epochs, unlink
from tests.cluster_nodes import RECORD_TIME
from tests.damage_nodes import TOPIC, DamageNodes

GHOST = b"never committed "
RECORDS = 25


async def alone_with_ghosts(nodes: DamageNodes, victim: int, *, ghosts: int, size: int) -> None:
    """Have a leader's disk hold records that no other node has got, and kill it."""
    life = nodes.life(victim)
    for other in (number for number in nodes.numbers if number != victim):
        await nodes.stop(other)
        await nodes.pass_by(200)
    hosted, loop = life.hosted(TOPIC), asyncio.get_running_loop()
    for number in range(ghosts):
        value = GHOST + b"%04d" % number + nodes.chance.randbytes(size)
        batch = memoryview(encode_batch([NewRecord(RECORD_TIME, b"k", value)]))
        answer: asyncio.Future[Produced | RequestError] = loop.create_future()
        life.node.broker.produce(
            ANONYMOUS, hosted, batch, acks=Acks.LEADER, timeout_ms=30_000, done=answer.set_result
        )
        await nodes.done(answer)
        await nodes.pass_by(20)
    for _ in range(2):
        hosted.log.sync()
        await nodes.done(life.node.writer.checkpointed())
    await nodes.kill(victim)


async def led_by_others(nodes: DamageNodes, victim: int, *, records: int, size: int) -> None:
    """Start the others, and have them acknowledge more."""
    await nodes.start(*(number for number in nodes.numbers if number != victim))
    leader = await nodes.leader(TOPIC)
    await nodes.in_sync(TOPIC, 2)
    for _ in range(records):
        await nodes.add(leader, size=size)
        await nodes.pass_by(20)


def break_heads(nodes: DamageNodes, victim: int, which: slice) -> list[str]:
    """Let the first batch of segments say a length that it has not, and lose who knows of epochs.

    Returns the names of their `.log` files.
    """
    logs, times = nodes.files(victim, LOG)[which], nodes.files(victim, TIMES)[which]
    for name in logs:
        nodes.disks[victim].open(name).fdatasync()
        nodes.disks[victim].flip_bit(name, Position(9), 6)
    unlink(nodes, victim, [*times, f"{nodes.directory}/{EPOCHS}"])
    return logs


async def test_what_was_never_committed_is_not_served_from_behind_what_is_broken(
    nodes: DamageNodes,
) -> None:
    """P2, P12: an index may lead there, whatever is known of the epochs."""
    leader = await nodes.fill(records=4, size=1_500, segment=20_000)
    victim = leader.number
    await alone_with_ghosts(nodes, victim, ghosts=14, size=1_500)
    await led_by_others(nodes, victim, records=20, size=1_500)
    break_heads(nodes, victim, slice(None))
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    await nodes.lead(victim)
    hosted, fetch = nodes.life(victim).hosted(TOPIC), nodes.life(victim).node.broker.fetch
    for offset in range(len(nodes.values)):
        want = Want(hosted, Offset(offset), 1)
        (found,) = await nodes.done(
            fetch.wait(ANONYMOUS, [want], min_bytes=1, max_bytes=1, max_wait_ms=0)
        )
        assert not any(GHOST in bytes(buffer) for buffer in found.buffers), offset
    await pass_by_reading(nodes, SCRUBBED_MS)
    await healed(nodes)


async def test_a_log_whose_beginning_is_broken_parts_where_it_does(nodes: DamageNodes) -> None:
    leader = await nodes.fill(records=2)
    victim = leader.number % 3 + 1
    await nodes.lead(victim)
    await nodes.pass_by(300)
    await alone_with_ghosts(nodes, victim, ghosts=8, size=150)
    await led_by_others(nodes, victim, records=5, size=150)
    break_heads(nodes, victim, slice(1))
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    await pass_by_reading(nodes, SCRUBBED_MS)
    await healed(nodes)


@pytest.mark.parametrize("left_bytes", [None, 70], ids=["no batches", "no whole batch"])
@pytest.mark.parametrize("end", [stopped, killed])
async def test_rows_that_are_whole_count_whatever_is_lost_around_them(
    nodes: DamageNodes, end: End, left_bytes: int | None
) -> None:
    """An epoch begins at one of them: what others send of it is no contradiction."""
    await in_many_epochs(nodes)
    victim = (await nodes.leader(TOPIC)).number
    log, times = nodes.files(victim, LOG)[1], nodes.files(victim, TIMES)[1]
    await end(nodes, victim)
    for name, size in ((log, left_bytes), (times, -ROW_BYTES)):
        if size is None:
            unlink(nodes, victim, [name])
            continue
        file = nodes.disks[victim].open(name)
        file.truncate(size if size > 0 else file.size() + size)
        file.fdatasync()
    unlink(nodes, victim, [f"{nodes.directory}/{EPOCHS}"])
    await nodes.leader(TOPIC)
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    await pass_by_reading(nodes, SCRUBBED_MS)
    assert not nodes.life(victim).told("repair_impossible")
    await healed(nodes)


@pytest.mark.parametrize("end", [stopped, killed])
async def test_what_is_lost_in_the_middle_counts_in_no_election(
    nodes: DamageNodes, end: End
) -> None:
    """P3: a node that was stopped in order counts as one that was not."""
    await in_many_epochs(nodes)
    victim = (await nodes.leader(TOPIC)).number
    await end(nodes, victim)
    (lost,) = break_heads(nodes, victim, slice(1, 2))
    await nodes.leader(TOPIC)
    await nodes.start(victim)
    assert lost in lost_files(nodes.life(victim).node.report)
    await nodes.in_sync(TOPIC)
    await pass_by_reading(nodes, SCRUBBED_MS)
    await healed(nodes)


def _knows_all(hosted: HostedPartition) -> bool:
    return hosted.high_watermark == RECORDS


async def test_what_lies_before_a_lost_end_may_be_the_only_copy(nodes: DamageNodes) -> None:
    """P45: two replicas that are damaged in different places make a whole log."""
    config = {"segment.bytes": "1024"}
    request = CreateTopic(name=TOPIC, partitions=1, replication_factor=2, config=config)
    await nodes.done(nodes.lives[1].node.broker.create_topics(ANONYMOUS, [request]))
    await nodes.until(lambda: all(TOPIC in life.image.topics for life in nodes.lives.values()))
    await nodes.in_sync(TOPIC, 2)
    one, two = (int(replica) for replica in nodes.row(TOPIC).replicas)
    for number in range(RECORDS):
        if number % 5 == 0:
            await nodes.lead((two, one)[number % 2])
        await nodes.add(await nodes.leader(TOPIC))
        await nodes.pass_by(20)
    for number in (one, two):
        hosted = nodes.life(number).hosted(TOPIC)
        await nodes.until(partial(_knows_all, hosted))
        hosted.log.sync()
        await nodes.done(nodes.life(number).node.writer.checkpointed())
    leader = (await nodes.leader(TOPIC)).number
    victim = one if leader == two else two
    hosted = nodes.life(victim).hosted(TOPIC)
    disk, directory = nodes.disks[victim], hosted.log.directory_name
    names = [f"{directory}/{one}" for one in disk.list(directory)]
    lost = [
        name
        for ending in (LOG, TIMES)
        for name in sorted(n for n in names if n.endswith(ending))[-3:]
    ]
    rotten = nodes.life(leader).hosted(TOPIC).log.segment_list[0].log_name
    await nodes.kill(victim)
    nodes.disks[leader].flip_bit(rotten, Position(70), 1)
    unlink(nodes, victim, [*lost, f"{directory}/{EPOCHS}"])
    await nodes.start(victim)
    await nodes.in_sync(TOPIC, 2)
    await nodes.rest(SCRUBBED_MS)
    assert await nodes.read() == nodes.values
    assert not any(life.context.damage.places for life in nodes.lives.values())
