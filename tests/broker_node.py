"""A node without doors, on a simulated disk and clock: its use cases, called directly."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from api.broker.acks import Acks, Produced
from api.broker.broker import Broker
from api.broker.fetch import Fetched, Want
from api.node.assemble import Node
from api.node.log_events import EVENTS
from api.node.system_rand import SystemRand
from api.node.system_spawn import SystemSpawn
from api.node.world import World
from api.settings import NodeSettings, TopicsSection
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from cluster.controller.topics import CreateTopic, DeleteTopic
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.worker import Worker
from logstore.batch import encode_batch
from logstore.settings import LogSettings
from model.errors import RequestError
from model.ids import MonotonicMs, Offset, ProducerEpoch, ProducerId, WallMs
from model.ids import Sequence as SequenceNumber
from model.principal import ANONYMOUS
from model.record import NewRecord

NOON = WallMs(1_767_268_800_000)
MEMORY_BYTES = 1 << 20
SETTINGS = NodeSettings(
    topics=TopicsSection(auto_create=True),
    log=LogSettings(journal_file_bytes=64 << 10, index_interval_bytes=64),
)


def batch_of(
    values: Sequence[bytes],
    *,
    times: Sequence[int] | None = None,
    producer: tuple[int, int, int] | None = None,
) -> bytes:
    """Return one encoded batch; `producer`: id, epoch and base sequence."""
    stamps = times or [NOON] * len(values)
    records = [NewRecord(time, b"k", value) for time, value in zip(stamps, values, strict=True)]
    if producer is None:
        return bytes(encode_batch(records))
    return bytes(
        encode_batch(
            records,
            producer_id=ProducerId(producer[0]),
            producer_epoch=ProducerEpoch(producer[1]),
            base_sequence=SequenceNumber(producer[2]),
        )
    )


@dataclass(slots=True)
class BrokerNode:
    """A running node and its world."""

    node: Node
    clock: SimClock
    disk: SimDisk
    failures: list[BaseException] = field(default_factory=list)
    events: list[tuple[str, dict[str, str | int]]] = field(default_factory=list)
    """What the node has logged, its fields beside it."""

    @property
    def broker(self) -> Broker:
        """The use cases."""
        return self.node.broker

    async def create(self, name: str, partitions: int = 1, **config: str) -> HostedPartition:
        """Create a topic; underscores in names of settings stand for dots. Return partition 0."""
        request = CreateTopic(
            name=name,
            partitions=partitions,
            config={key.replace("_", "."): value for key, value in config.items()},
        )
        (answer,) = await self.broker.create_topics(ANONYMOUS, [request])
        assert not isinstance(answer, RequestError), answer
        return self.broker.partition(name, 0)

    def delete(self, name: str) -> DeleteTopic:
        """Return the request that deletes a topic."""
        return DeleteTopic(name=name)

    def begin(
        self,
        partition: HostedPartition,
        batch: bytes,
        *,
        acks: Acks = Acks.ALL,
        timeout_ms: int = 60_000,
        at_once: bool = True,
    ) -> "asyncio.Future[Produced | RequestError]":
        """Append one batch, as at the end of a tick, or with what comes next; return its answer."""
        answer: asyncio.Future[Produced | RequestError] = asyncio.Future()
        self.broker.produce(
            ANONYMOUS,
            partition,
            memoryview(batch),
            acks=acks,
            timeout_ms=timeout_ms,
            done=answer.set_result,
        )
        if at_once:
            self.broker.produce.accept()
        return answer

    async def produce(self, partition: HostedPartition, batch: bytes) -> Produced:
        """Append one batch and wait until it is committed."""
        answer = await self.begin(partition, batch)
        assert isinstance(answer, Produced), answer
        return answer

    async def refused(self, partition: HostedPartition, batch: bytes) -> RequestError:
        """Append one batch that is refused."""
        answer = await self.begin(partition, batch)
        assert isinstance(answer, RequestError), answer
        return answer

    async def fetch(self, partition: HostedPartition, offset: int, **more: int) -> Fetched:
        """Read once, without waiting."""
        want = Want(
            partition, Offset(offset), more.get("max_bytes", 1 << 20), more.get("epoch", -1)
        )
        (found,) = await self.broker.fetch.wait(
            ANONYMOUS, [want], min_bytes=0, max_bytes=1 << 20, max_wait_ms=0
        )
        return found


@asynccontextmanager
async def broker_node(
    disk: SimDisk | None = None, *, settings: NodeSettings = SETTINGS, clean: bool = True
) -> AsyncIterator[BrokerNode]:
    """Start a node; stop it at the end, in order unless `clean` is false."""
    disk = disk or SimDisk()
    clock = SimClock(wall=NOON, monotonic=MonotonicMs(1_000))
    failures: list[BaseException] = []
    events: list[tuple[str, dict[str, str | int]]] = []

    def told(event: str, /, **fields: str | int) -> None:
        assert event in EVENTS
        events.append((event, fields))

    world = World(
        disk=disk,
        clock=clock,
        rand=SystemRand(),
        spawn=SystemSpawn(failures.append),
        memory_bytes=MEMORY_BYTES,
        version="test",
        note=told,
    )
    node = await Node.start(settings, world, failed=failures.append)
    running = BrokerNode(node, clock, disk, failures, events)
    try:
        yield running
    finally:
        await node.stop(clean=clean and not failures)


async def cold(disk: SimDisk, *topics: str) -> None:
    """Leave topics behind that have a record each, which the next start has on disk only."""
    async with broker_node(disk) as node:
        for topic in topics:
            await node.produce(await node.create(topic), batch_of([b"old"]))
    disk.kill()


class HeldPool:
    """A read pool whose jobs run when the test says so, on the loop."""

    def __init__(self, pool: Worker) -> None:
        self._pool = pool
        self.held: list[Callable[[], None]] = []

    def submit(
        self,
        job: Callable[[], object],
        done: Callable[[object], object],
        failed: Callable[[Exception], object],
    ) -> None:
        self.held.append(lambda: self._pool.submit(job, done, failed))

    async def run(self, job: Callable[[], object]) -> object:
        let_go = asyncio.Event()
        self.held.append(let_go.set)
        await let_go.wait()
        return await self._pool.run(job)

    def let_go(self) -> None:
        held, self.held = self.held, []
        for submit in held:
            submit()
