"""A node of its own process that many groups commit to; then it waits to be killed.

Called with a directory, and how often each group is to commit. Each commit is of every partition
of one topic, so that it counts as several: as consumers do it. Prints what its log holds then.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from api.broker.acks import Acks, Produced
from api.broker.group_commits import NamedCursor
from api.config_file import load
from api.node.assemble import Node
from cluster.controller.topics import CreateTopic
from cluster.state_partition.layout import CONSUMER_OFFSETS
from consumer_groups.requests import FromOutside
from logstore.batch import encode_batch
from model.errors import RequestError
from model.ids import GroupId, Offset
from model.principal import ANONYMOUS
from model.record import NewRecord
from tests.restart.shape import GROUPS, PARTITIONS, RECORDS, TOPIC
from tests.world import real_world

ABREAST = 250
"""Groups that commit at the same time."""
EVENT_MS = 1_767_225_600_000


async def feed(directory: Path, times: int) -> None:
    loaded = load(overrides=[f"node.data_dir={directory}"])
    failures: list[BaseException] = []
    world = real_world(directory, failures, memory_bytes=256 << 20)
    node = await Node.start(loaded.settings, world, failed=failures.append)
    if TOPIC not in node.broker.image.topics:
        await _fill(node)
    for _ in range(times):
        await _once(node)
    await node.settle()
    assert not failures, failures
    hosted = node.broker.context.partitions.of_topic(CONSUMER_OFFSETS)
    ends = sum(one.log.log_end for one in hosted)
    starts = sum(one.log_start for one in hosted)
    sys.stdout.write(f"{ends} {ends - starts}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _fill(node: Node) -> None:
    await node.broker.create_topics(ANONYMOUS, [CreateTopic(name=TOPIC, partitions=PARTITIONS)])
    for number in range(PARTITIONS):
        produced: asyncio.Future[Produced | RequestError] = asyncio.Future()
        node.broker.produce(
            ANONYMOUS,
            node.broker.partition(TOPIC, number),
            memoryview(encode_batch([NewRecord(EVENT_MS, b"k", b"v")] * RECORDS)),
            acks=Acks.ALL,
            timeout_ms=60_000,
            done=produced.set_result,
        )
        assert isinstance(await produced, Produced)


async def _once(node: Node) -> None:
    """Let every group commit in every partition."""
    commit = node.broker.group_commits
    cursors = [NamedCursor(TOPIC, number, Offset(RECORDS)) for number in range(PARTITIONS)]
    for first in range(0, GROUPS, ABREAST):
        groups = [GroupId(f"group-{first + number:05d}") for number in range(ABREAST)]
        for rows in await asyncio.gather(
            *[commit(group, FromOutside("feed"), cursors) for group in groups]
        ):
            assert rows == [None] * PARTITIONS, rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("times", type=int)
    asked = parser.parse_args()
    asyncio.run(feed(asked.directory, asked.times))
