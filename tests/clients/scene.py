"""One language against one node: its programs, its topic, its group, and what came of each step."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from grpc import aio

from tests.clients.languages import Built
from tests.clients.program import MALFORMED, Program
from tests.clients.stored import Log, read_all
from tidelog.v1 import (
    group_service_pb2,
    group_service_pb2_grpc,
    topic_service_pb2,
    topic_service_pb2_grpc,
)

PARTITIONS: Final = 4
CALL_S: Final = 30.0
Topic: Any = topic_service_pb2.Topic


@dataclass
class Report:
    """What one language has shown."""

    language: str
    passed: list[str] = field(default_factory=list)
    """Steps, in order."""
    wrong: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Yield where complaints of a step go; without one it has passed."""
        found: list[str] = []
        try:
            yield found
        finally:
            self.wrong += [f"{self.language}, {name}: {one}" for one in found]
        if not found:
            self.passed.append(name)


class Scene:
    """What the steps of one language share."""

    def __init__(self, built: Built, node: str, folder: Path, *, report: Report) -> None:
        self.node = node
        self.report = report
        self.topic = f"clients-{report.language}"
        self.group = f"group-{report.language}"
        self._built = built
        self._folder = folder
        self._programs: dict[str, Program] = {}
        self._news = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Scene"]:
        """Have a connection of our own; leave no program behind."""
        async with aio.insecure_channel(self.node) as self.channel:
            self.groups = group_service_pb2_grpc.ConsumerGroupServiceStub(self.channel)
            try:
                yield self
            finally:
                for program in self._programs.values():
                    program.close()
                    broken = program.named(MALFORMED)
                    self.report.wrong += [f"{program.name} printed {one}" for one in broken]

    async def create(self, topic: str) -> None:
        """Create a topic."""
        topics = topic_service_pb2_grpc.TopicServiceStub(self.channel)
        wanted = Topic(name=topic, partition_count=PARTITIONS)
        request = topic_service_pb2.CreateTopicRequest(topic=wanted)
        await topics.CreateTopic(request, timeout=CALL_S)

    def start(
        self, name: str, words: Sequence[str], *, address: str = "", stdin: str = ""
    ) -> Program:
        """Start the program with the words of its command line behind the address."""
        program = Program(
            f"{self.report.language}-{name}",
            [*self._built.command, address or self.node, *words],
            environment=self._built.environment,
            folder=self._folder,
            news=self._news,
            lines=stdin,
        )
        self._programs[name] = program
        return program

    def program(self, name: str) -> Program:
        """Return one that was started before."""
        return self._programs[name]

    async def log(self, topic: str = "") -> Log:
        """Return everything that a topic holds."""
        return await read_all(self.channel, topic or self.topic, PARTITIONS)

    async def described(self) -> group_service_pb2.ConsumerGroup:
        """Return the group as the node has it."""
        request = group_service_pb2.GetConsumerGroupRequest(name=self.group)
        answer = await self.groups.GetConsumerGroup(request, timeout=CALL_S)
        group: group_service_pb2.ConsumerGroup = answer.group
        return group

    async def committed(self) -> dict[int, int]:
        """Return what the group has committed in each partition."""
        request = group_service_pb2.ListGroupOffsetsRequest(group=self.group)
        answer = await self.groups.ListGroupOffsets(request, timeout=CALL_S)
        rows = [row for row in answer.offsets if row.HasField("committed")]
        return {row.partition.partition: row.committed.offset for row in rows}
