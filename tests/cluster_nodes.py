"""Several whole nodes in one process: one clock that is moved, links and disks in memory.

Everything is the nodes' own code, from the use cases to bytes on simulated disks and links. Nothing
happens by itself: `Nodes.until` lets loops, links and disks do what there is to do, and time pass
when there is nothing. A node is stopped in order, killed without a word, or loses its power.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import TypeVar

from api.broker.acks import Acks, Produced
from api.broker.context import BrokerContext
from api.config_file import load
from api.node.assemble import Node
from api.node.log_events import EVENTS
from api.node.system_spawn import SystemSpawn
from api.node.world import World
from api.rpc.server import serve_other_nodes
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from api.sim.power_cut import Pending
from api.sim.stored import stored
from cluster.controller.image import MetadataImage, PartitionImage, TopicImage
from cluster.controller.topics import CreateTopic
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.peer_links import PeerLinks
from cluster.shell.peer_network import Address
from logstore.batch import encode_batch
from model.errors import Outcome, RequestError
from model.ids import MonotonicMs, NodeId, WallMs
from model.principal import ANONYMOUS
from model.record import NewRecord
from tests.peer_network import Host, MemoryNetwork, address_of
from tests.sim.node_life import Threads

ResultT = TypeVar("ResultT")

SECRET = "what every node of these tests knows"
MEMORY_BYTES = 16 << 20
PATIENCE_MS = 60_000
"""Of the nodes' own time, for what must come to pass by itself."""
STEPS_MAX = 400_000
TURNS = 4
"""Of the loop, after which nothing more comes of what was done: tasks that wait for tasks."""
NOON = WallMs(1_767_268_800_000)
RECORD_TIME = 1_767_225_600_000


class LifeClock:
    """The clock of one process: whom it would wake is not there any more once the process is."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self.ahead_ms = 0
        """Of the date that the other processes have."""
        self.over = False

    def monotonic_ms(self) -> MonotonicMs:
        return self._clock.monotonic_ms()

    def wall_ms(self) -> WallMs:
        return WallMs(NOON + self._clock.monotonic_ms() + self.ahead_ms)

    def call_at(self, when: MonotonicMs, wake: Callable[[], None]) -> Callable[[], None]:
        def call() -> None:
            if not self.over:
                wake()

        return self._clock.call_at(when, call)


class MemoryPeers:
    """`api.node.world.PeerNet` of one host of a network in memory."""

    def __init__(self, host: Host) -> None:
        self.network = host
        self._host = host

    def listen(self, links: PeerLinks, host: str, port: int) -> Address:
        assert Address(host, port) == self._host.address
        self._host.gate = links.listener
        return self._host.address


class Life:
    """One process of one node."""

    def __init__(
        self, nodes: "Nodes", number: int, *more: str, disk: SimDisk, at: Address | None = None
    ) -> None:
        self.nodes, self.number, self.disk = nodes, number, disk
        self.clock = LifeClock(nodes.net.clock)
        at = address_of(number) if at is None else at
        self.host = nodes.net.host(at)
        self.threads = Threads()
        self.failures: list[BaseException] = []
        self.lines: list[tuple[str, dict[str, str | int]]] = []
        self.over = False
        self.up: Node | None = None
        self._spawn = SystemSpawn(self.failures.append)
        self._rand = Random(nodes.rand.randrange(1 << 60))
        self._settings = load(
            overrides=[
                f"node.id={number}",
                "cluster.id=tide",
                f"cluster.seeds={','.join(str(address_of(one)) for one in nodes.numbers)}",
                f"listeners.peer.bind={at}",
                "log.journal_file_bytes=64KiB",
                *more,
            ]
        ).settings

    @property
    def node(self) -> Node:
        assert self.up is not None, f"node {self.number} is not up"
        return self.up

    @property
    def image(self) -> MetadataImage:
        return self.node.broker.image

    @property
    def context(self) -> BrokerContext:
        return self.node.broker.context

    async def begin(self) -> None:
        """Start on what the disk has; waits for the others it needs."""
        world = World(
            disk=self.disk,
            clock=self.clock,
            rand=self._rand,
            spawn=self._spawn,
            memory_bytes=MEMORY_BYTES,
            version="test",
            note=self._note,
            workers=self.threads.make,
            peers=MemoryPeers(self.host),
            secret=SECRET.encode(),
            machine=f"n{self.number}",
        )
        self.up = node = await Node.start(self._settings, world, failed=self.failures.append)
        serve_other_nodes(node.broker, rand=self._rand, note=self._note)

    @property
    def spawned(self) -> SystemSpawn:
        """Its tasks; their number tells whether something is left behind."""
        return self._spawn

    def hosted(self, topic: str, number: int = 0) -> HostedPartition:
        return self.node.broker.partition(topic, number)

    def stored(self, topic: str, number: int = 0) -> list[bytes]:
        """Return every batch that the log holds, raw, in order."""
        return list(map(bytes, stored(self.hosted(topic, number).log)))

    async def end(self) -> None:
        """Be gone: nothing that waits is done, nobody is told."""
        self.over = self.clock.over = True
        if self.up is not None:
            self.up.broker.members.stop()
        await self._spawn.close()

    def _note(self, event: str, /, **fields: str | int) -> None:
        assert event in EVENTS, event
        bad = {"log_corrupt", "storage_failed", "replica_halted"}
        assert event not in bad - self.nodes.expected, fields
        self.lines.append((event, fields))


class Nodes:
    """Nodes 1 to n; only those that were started run."""

    def __init__(
        self, count: int = 3, *, seed: int = 1, settings: Mapping[int, Sequence[str]] | None = None
    ) -> None:
        """`settings`: overrides of nodes that have some, by number."""
        self.settings = settings or {}
        self.expected: set[str] = set()
        """Bad news that a test brings about."""
        self.net = MemoryNetwork()
        self.rand = Random(seed)
        self.numbers = range(1, count + 1)
        self.disks = {number: SimDisk() for number in self.numbers}
        self.lives: dict[int, Life] = {}
        self.strays: list[Life] = []
        """Processes that have no business here; what they fail with is for the test to look at."""

    # Starts and ends.

    async def start(self, *numbers: int) -> None:
        """Start these nodes together, and wait until all have joined their cluster."""
        begun = await self.begin(*numbers)
        await self.until(lambda: all(life.node.has_joined for life in begun))

    async def begin(self, *numbers: int, ahead_ms: int = 0) -> list[Life]:
        """Start these nodes together, and wait until their doors could open.

        `ahead_ms`: by how much their date is wrong.
        """
        begun = []
        for number in numbers or self.numbers:
            disk = self.disks.setdefault(number, SimDisk())
            self.lives[number] = Life(self, number, *self.settings.get(number, ()), disk=disk)
            self.lives[number].clock.ahead_ms = ahead_ms
            begun.append(self.lives[number])
        await self.done(asyncio.gather(*(life.begin() for life in begun)))
        return begun

    async def stray(self, number: int, disk: SimDisk, *more: str, host: str) -> Life:
        """Start a process that may have no business here; wait until its doors could open."""
        life = Life(self, number, *more, disk=disk, at=Address(host, 7_000))
        self.strays.append(life)
        await self.done(life.begin())
        return life

    def copy_of(self, number: int) -> SimDisk:
        """Return a copy of a node's disk as it is now, as of a virtual machine."""
        pending = Pending(self.disks[number].platter)
        return SimDisk(pending.image(pending.everything))

    async def kill(self, number: int, *, power: bool = False) -> None:
        """End a process without a word; its kernel resets its links, unless power is gone too."""
        life = self.lives.pop(number)
        await life.end()
        if power:
            life.host.cut = True
            self.disks[number].power_cut(lambda pending: pending.nothing)
        else:
            self.disks[number].kill()
        self.net.kill(life.host, ConnectionResetError())

    async def stop(self, number: int) -> None:
        """Stop a node in order."""
        life = self.lives[number]
        await self.done(life.node.leave())
        await self.done(life.node.settle())
        await self.done(life.node.stop(clean=True))
        del self.lives[number]
        life.over = life.clock.over = True
        self.disks[number].kill()
        self.net.kill(life.host)

    async def close(self) -> None:
        """End every process."""
        for number in list(self.lives):
            await self.kill(number)
        for life in self.strays:
            await life.end()

    # Time.

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let happen what happens until something holds."""
        deadline = self.net.clock.monotonic_ms() + PATIENCE_MS
        for _ in range(STEPS_MAX):
            self.check()
            if holds():
                return
            if await self._goes_on(holds):
                continue
            timer, now = self.net.clock.next_timer(), self.net.clock.monotonic_ms()
            if timer is None or timer > deadline:
                break
            self.net.clock.advance(max(0, timer - now))
        raise AssertionError("IT_COMES_TO_PASS")

    async def _goes_on(self, holds: Callable[[], bool]) -> bool:
        """Give every task its turns; tell whether anything came of it, or it holds by now."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
            if self._work() or holds():
                return True
        return False

    async def done(self, doing: Awaitable[ResultT]) -> ResultT:
        """Let happen what happens until something is done; return its result."""
        task = asyncio.ensure_future(doing)
        try:
            await self.until(task.done)
        finally:
            if not task.done():
                task.cancel()
        return task.result()

    async def pass_by(self, ms: int) -> None:
        """Let so much time pass."""
        end = self.net.clock.monotonic_ms() + ms
        self.net.clock.call_at(MonotonicMs(end), lambda: None)
        await self.until(lambda: self.net.clock.monotonic_ms() >= end)

    def check(self) -> None:
        """Raise what a task of a node that lives has failed with."""
        for life in self.lives.values():
            if life.failures:
                raise life.failures[0]

    def _work(self) -> bool:
        self.net.run()
        every = [*self.lives.values(), *self.strays]
        worked = [life.threads.work(self.rand) for life in every]
        return any(worked)

    # What clients do.

    async def create(
        self, at: int, topic: str, *, partitions: int = 1, replicas: int | None = None
    ) -> TopicImage:
        """Have a topic created by a node, and wait until every node that runs hosts it."""
        request = CreateTopic(name=topic, partitions=partitions, replication_factor=replicas)
        broker = self.lives[at].node.broker
        (answer,) = await self.done(broker.create_topics(ANONYMOUS, [request]))
        assert isinstance(answer, TopicImage), answer
        await self.until(lambda: all(topic in life.image.topics for life in self.lives.values()))
        return answer

    def row(self, topic: str, number: int = 0, *, at: int | None = None) -> PartitionImage:
        """Return a partition as a node's newest metadata have it."""
        life = self.lives[at] if at is not None else next(iter(self.lives.values()))
        return next(
            one.partitions[number] for name, one in life.image.topics.items() if name == topic
        )

    def leading(self, topic: str, number: int = 0) -> Life | None:
        """Return who leads a partition and serves it."""
        for life in self.lives.values():
            if topic in life.image.topics and number in {
                one.number for one in life.context.partitions.of_topic(topic)
            }:
                hosted = life.hosted(topic, number)
                if hosted.leads and hosted.serves:
                    return life
        return None

    async def leader(self, topic: str, number: int = 0) -> Life:
        """Wait for somebody to lead; return who does."""
        await self.until(lambda: self.leading(topic, number) is not None)
        found = self.leading(topic, number)
        assert found is not None
        return found

    def send(
        self, life: Life, topic: str, values: Sequence[bytes], *, number: int = 0
    ) -> "asyncio.Future[Produced | RequestError]":
        """Send one batch to a node, with acks=all."""
        answer: asyncio.Future[Produced | RequestError] = asyncio.get_running_loop().create_future()
        records = [NewRecord(RECORD_TIME + at, b"k", value) for at, value in enumerate(values)]
        life.node.broker.produce(
            ANONYMOUS,
            life.hosted(topic, number),
            memoryview(encode_batch(records)),
            acks=Acks.ALL,
            timeout_ms=30_000,
            done=answer.set_result,
        )
        return answer

    async def produce(self, life: Life, topic: str, *values: bytes, number: int = 0) -> Produced:
        """Append one batch at a node and wait until it is acknowledged.

        What is refused as *not done*, and may be taken later, is sent again, as clients do.
        """
        while True:
            answer = await self.done(self.send(life, topic, values, number=number))
            if isinstance(answer, Produced):
                return answer
            code = answer.code
            assert code.retryable and code.outcome is Outcome.NOT_DONE, answer
            await self.pass_by(50)

    async def in_sync(self, topic: str, count: int = 3, *, number: int = 0) -> None:
        """Wait until so many replicas are in sync, as everybody knows."""
        await self.until(
            lambda: all(len(self.row(topic, number, at=at).isr) == count for at in self.lives)
        )


def ids(*numbers: int) -> tuple[NodeId, ...]:
    return tuple(NodeId(number) for number in numbers)


@asynccontextmanager
async def three(topic: str) -> AsyncIterator[Nodes]:
    """Give three nodes that have a topic, with every replica of it in sync."""
    made = Nodes(3)
    try:
        await made.start()
        await made.create(1, topic)
        await made.in_sync(topic)
        yield made
    finally:
        await made.close()
