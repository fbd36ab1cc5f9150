"""One node in this process, over a real directory, for tests that need all of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from api.broker.acks import Acks, Produced
from api.config_file import load
from api.http.door import HttpDoor
from api.http.health import CHECKS, Health
from api.http.view import NodeView
from api.node.assemble import Node
from cluster.controller.topics import CreateTopic
from logstore.batch import encode_batch
from model.errors import RequestError
from model.principal import ANONYMOUS
from model.record import NewRecord
from tests.world import real_world


@dataclass(slots=True)
class OneNode:
    """A node that is running, and where its pages are."""

    node: Node
    view: NodeView
    url: str
    failures: list[BaseException] = field(default_factory=list)

    async def create(self, topic: str, partitions: int = 1) -> None:
        """Create a topic."""
        for answer in await self.node.broker.create_topics(
            ANONYMOUS, [CreateTopic(name=topic, partitions=partitions)]
        ):
            assert not isinstance(answer, RequestError), answer

    async def produce(self, topic: str, number: int, values: Sequence[bytes]) -> Produced:
        """Append one batch and wait until it is on disk."""
        waiting: asyncio.Future[Produced | RequestError] = (
            asyncio.get_running_loop().create_future()
        )
        records = [NewRecord(1_767_225_600_000 + place, b"k", v) for place, v in enumerate(values)]
        self.node.broker.produce(
            ANONYMOUS,
            self.node.broker.partition(topic, number),
            memoryview(encode_batch(records)),
            acks=Acks.ALL,
            timeout_ms=10_000,
            done=waiting.set_result,
        )
        answer = await waiting
        assert isinstance(answer, Produced), answer
        return answer


@asynccontextmanager
async def one_node(directory: Path, *more: str, clean: bool = True) -> AsyncIterator[OneNode]:
    """Start a node with small journal files and an HTTP door on a free port; stop it at the end.

    `more`: settings, `section.key=value`.
    """
    loaded = load(
        overrides=[
            f"node.data_dir={directory}",
            "log.journal_file_bytes=64KiB",
            "listeners.http.bind=127.0.0.1:0",
            *more,
        ]
    )
    failures: list[BaseException] = []
    world = real_world(directory, failures)
    node = await Node.start(loaded.settings, world, failed=failures.append)
    health = Health()
    for check in CHECKS:
        health.passed(check)
    view = NodeView(
        broker=node.broker,
        settings=loaded.settings,
        health=health,
        lag=node.lag,
        version="test",
        started=world.clock.monotonic_ms(),
        tasks=lambda: len(world.spawn),
        scrubber=node.scrubber,
        space=lambda: (world.disk.free_bytes(), world.disk.total_bytes()),
    )
    door = HttpDoor(loaded.settings.http_listener, view)
    address = await door.start()
    view.addresses = {"http": address}
    try:
        yield OneNode(node, view, f"http://{address.host}:{address.port}", failures)
    finally:
        await door.stop()
        await node.stop(clean=clean)
    assert not failures
