"""Everybody in the world of groups who is no member: producers, and who changes topics and groups.

They mind no refusal, and their requests may be under way when the node ends.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from api.broker.acks import Acks, Produced
from api.broker.group_commits import NamedCursor
from api.broker.group_seek import SeekGroup, ToCursors
from cluster.controller.partitions import AddPartitions
from cluster.controller.topics import CreateTopic, DeleteTopic
from cluster.shell.hosted_partition import HostedPartition
from consumer_groups.requests import FromOutside
from logstore.batch import encode_batch
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, Offset, TopicName, WallMs
from model.principal import ANONYMOUS
from model.record import NewRecord
from tests.sim.groups_books import Asked
from tests.sim.groups_wire import Around

BEGIN: Final = WallMs(1_767_225_600_000)
ORDERS, CLICKS = TopicName("orders"), TopicName("clicks")
GROUPS: Final = {
    GroupId("billing"): (ORDERS, CLICKS),
    GroupId("search"): (ORDERS,),
}
PARTITIONS_MAX: Final = 4


class Others:
    """They ask one node, as it runs now."""

    def __init__(self, world: Around, counts: Counter[str]) -> None:
        self._world = world
        self._counts = counts
        self._asking: set[asyncio.Task[None]] = set()

    def partitions(self) -> list[HostedPartition]:
        """Return what there is to consume."""
        broker = self._world.life.node.broker
        return [
            hosted
            for topic in (ORDERS, CLICKS)
            if topic in broker.image.topics
            for hosted in broker.context.partitions.of_topic(topic)
        ]

    def gone(self) -> None:
        """The node is gone: whoever asked it hears no more."""
        for task in self._asking:
            task.cancel()

    # Topics and records.

    def produce(self) -> None:
        choose = self._world.choose
        records = [NewRecord(BEGIN, b"k", b"v") for _ in range(choose.randint(1, 4))]
        self._world.life.node.broker.produce(
            ANONYMOUS,
            choose.choice(self.partitions()),
            memoryview(encode_batch(records)),
            acks=Acks.ALL,
            timeout_ms=60_000,
            done=_produced,
        )

    async def create_topics(self) -> None:
        for topic in (ORDERS, CLICKS):
            await self._create(topic)

    async def _create(self, topic: TopicName) -> None:
        request = CreateTopic(name=topic, partitions=self._world.choose.randint(1, 2))
        life = self._world.life
        (answer,) = await life.ended(life.node.broker.create_topics(ANONYMOUS, [request]))
        assert not isinstance(answer, RequestError), answer

    async def grow(self) -> None:
        life, topic = self._world.life, self._world.choose.choice((ORDERS, CLICKS))
        count = len(life.node.broker.context.partitions.of_topic(topic)) + 1
        if count <= PARTITIONS_MAX:
            growing = AddPartitions(name=topic, partitions=count)
            await life.ended(life.node.broker.topics.add_partitions(ANONYMOUS, growing))

    async def delete_topic(self) -> None:
        """A topic goes, and another one of its name comes."""
        life = self._world.life
        await life.ended(life.node.broker.delete_topics(ANONYMOUS, [DeleteTopic(name=CLICKS)]))
        await self._create(CLICKS)

    # Groups.

    def seek(self) -> None:
        world = self._world
        group = world.choose.choice(list(GROUPS))
        cursors = []
        for hosted in self.partitions():
            if hosted.topic.name in GROUPS[group] and world.choose.randrange(2):
                offset = Offset(world.choose.randint(0, hosted.high_watermark))
                world.books.sought[group, hosted.log.id, offset] += 1
                cursors.append(NamedCursor(hosted.topic.name, hosted.number, offset))
        if cursors:
            asked = SeekGroup(group=group, target=ToCursors(cursors), force=True)
            self._begin(lambda: world.life.node.broker.group_seek(ANONYMOUS, asked))

    def delete_group(self) -> None:
        group = self._world.choose.choice(list(GROUPS))
        self._begin(lambda: self._world.life.node.broker.groups.delete(ANONYMOUS, group))

    def commit_outside(self) -> None:
        world = self._world
        group = world.choose.choice(list(GROUPS))
        hosted = world.choose.choice(self.partitions())
        offset = max(world.books.committed(group, hosted.log.id) or 0, hosted.high_watermark)
        metadata = f"c{len(world.books.asked)}"
        world.books.asked[metadata] = Asked(group, hosted.log.id, offset, None, None, None)
        cursor = NamedCursor(hosted.topic.name, hosted.number, Offset(offset), metadata=metadata)
        commits = world.life.node.broker.group_commits
        self._begin(lambda: commits(group, FromOutside("somebody"), [cursor]))

    def _begin(self, request: Callable[[], Awaitable[object]]) -> None:
        async def ask() -> None:
            try:
                await request()
            except RequestError as refusal:
                self._counts[f"refused {refusal.code.name}"] += 1

        task = asyncio.get_running_loop().create_task(ask())
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)


def _produced(answer: Produced | RequestError) -> None:
    if isinstance(answer, RequestError):
        assert answer.code is ErrorCode.UNKNOWN_TOPIC, answer  # it was deleted meanwhile
