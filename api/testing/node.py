"""A node in this process, on a disk in memory or a directory, behind its real gRPC door."""

import asyncio
import logging
from asyncio import Future, get_running_loop
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from api.config_file import load, of_override
from api.door import Address, Door
from api.kafka.apis import served_apis
from api.kafka.connection import Door as KafkaShared
from api.kafka.counters import KafkaCounters
from api.kafka.door import KafkaDoor, Told
from api.node.assemble import Node
from api.node.system_clock import SystemClock
from api.node.system_limits import descriptors_max
from api.node.system_rand import SystemRand
from api.node.system_spawn import SystemSpawn
from api.node.world import World
from api.settings import NodeSettings
from api.sim.disk import SimDisk
from api.testing.failures import Failures
from api.testing.patient_fetch import wait_in_real_time
from api.testing.socket_door import LOOPBACK, TestingDoor
from api.testing.turned_clock import TurnedClock, TurnedSpawn
from consumer_groups.records import MemberId
from logstore.disk_posix import PosixDisk
from model.ids import GroupId, MonotonicMs, WallMs
from model.limits import MIB

MEMORY_BYTES: Final = 64 * MIB
JOURNAL_FILE_BYTES: Final = 1 * MIB
"""Each is filled with zeros before it is used, and a test writes little."""
LOGGER: Final = logging.getLogger("tidelog.testing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a test wants of its node."""

    start_ms: int | None = None
    """The date at which a clock that is turned begins; None: the machine's clock."""
    directory: str | None = None
    """Where the log is kept; None: in memory."""
    ports: bool = False
    """Listen on free ports of loopback, for gRPC and for Kafka clients."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """By their names in the reference: `topics.auto_create` and so on."""


class Beside(Protocol):
    """Clients in this process that have the node's time."""

    def living(self) -> Iterable[tuple[str, str]]:
        """Return group and member id of consumers whose streams are open."""
        ...

    def killed(self) -> Iterable[tuple[str, str]]:
        """Return group and member id of consumers that ended without a word."""
        ...

    async def settle(self) -> bool:
        """Wait for answers to what they have asked; tell whether there was anything."""
        ...


class Nobody:
    """There are none."""

    def living(self) -> Iterable[tuple[str, str]]:
        """Return nobody."""
        return ()

    def killed(self) -> Iterable[tuple[str, str]]:
        """Return nobody."""
        return ()

    async def settle(self) -> bool:
        """There is nothing to wait for."""
        return False


class TestingNode:
    """A running node, and what a test may do to it. Loop only."""

    __test__ = False  # pytest looks for tests in whatever is called so

    def __init__(self, node: Node, world: World, *, where: Address | str) -> None:
        """Take a node that has started; `where` its gRPC door is to listen."""
        self._node = node
        self._world = world
        self._where = where
        self.failures = Failures()
        """What is to go wrong, by call."""
        self.failures.get_between(node.broker)
        if isinstance(world.clock, TurnedClock):
            wait_in_real_time(node.broker)
        self.beside: Beside = Nobody()
        """What lives on this node's clock besides the node."""
        self._turning = asyncio.Lock()
        self._waking: set[Future[None]] = set()
        """Waits that are over, of tasks that have not run since."""
        self._door: TestingDoor | None = None
        self._drained = False
        """The door was closed in order since it was opened."""
        self._kafka: Door | None = None
        self.address = LOOPBACK
        """Where the gRPC door listens."""
        self.kafka_address: Address | None = None
        """Where Kafka clients connect to."""

    async def open(self) -> None:
        """Open the gRPC door, where it was if it was open before."""
        if self._drained:  # nobody's time ran out since: as after a restart
            self._drained = False
            self._node.broker.members.start()
        door = TestingDoor(
            self._node.broker, self._world, where=self._where, failures=self.failures
        )
        self.address = await door.start()
        self._door = door
        if not isinstance(self._where, str):
            self._where = self.address

    async def open_kafka(self, settings: NodeSettings) -> None:
        """Open the Kafka listener on a free port."""
        node, world = self._node, self._world
        shared = KafkaShared(
            name="kafka",
            broker=node.broker,
            apis=served_apis(settings.kafka),
            settings=settings.kafka,
            counters=KafkaCounters(),
            tick=node.tick,
            memory=node.memory,
            room=node.room,
            answers=node.answers,
            spawn=world.spawn,
            note=world.note,
        )
        self._kafka = KafkaDoor(
            shared, LOOPBACK, told=Told(LOOPBACK.host), clock=SystemClock(get_running_loop()),
            descriptors_max=descriptors_max(),
        )  # fmt: skip
        self.kafka_address = await self._kafka.start()

    async def shut(self) -> None:
        """Close the gRPC door's connections, after what was accepted is answered."""
        if self._door is not None:
            self._drained = True
            await self._door.drain()
            await self._node.settle()
            await self._door.stop()
            self._door = None

    async def cut(self) -> None:
        """End the gRPC door's connections at once, whatever is still to be answered."""
        if self._door is not None:
            await self._door.cut()
            self._door = None

    async def close(self) -> None:
        """Shut every door."""
        await self.shut()
        if self._kafka is not None:
            await self._kafka.stop()
            self._kafka = None

    async def advance(self, ms: int) -> None:
        """Let so many ms pass, and wait for what falls due meanwhile.

        Raises:
            ValueError: time is the machine's, or would run backwards.
        """
        clock = self._world.clock
        if not isinstance(clock, TurnedClock):
            raise ValueError("time passes by itself here; ask for a manual clock")
        if ms < 0:
            raise ValueError(f"time does not run backwards: {ms} ms")
        async with self._turning:
            await asyncio.sleep(0)  # noqa: TID251 - who has just been given cause to wait does so
            await self._killed_are_noticed()
            await clock.turn(ms, self._settled, ahead=self._hear)
            await self.close_past()

    async def close_past(self) -> None:
        """See to it that ranges of append time which end now are closed: nothing may come later.

        Otherwise they would be once time goes on, which it does not.
        """
        self._node.broker.context.closed_time()
        await self._node.settle()

    def _hear(self) -> None:
        """Hear those who live beside the node: they speak all the time, their words take some."""
        for group, member_id in self.beside.living():
            self._node.broker.members.heard_of(GroupId(group), MemberId(member_id))

    async def _killed_are_noticed(self) -> None:
        """Wait until the streams of clients that were closed are broken here as well."""
        members = self._node.broker.members
        killed = [(GroupId(group), MemberId(member)) for group, member in self.beside.killed()]
        while any(members.serves(*key) for key in killed):  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)  # noqa: TID251 - the door notices; no time is waited for

    async def _settled(self) -> None:
        """Wait for what timers have set off, and until it is written."""
        spawn = self._world.spawn
        busy, asked = True, True
        while busy:
            await self._node.writer.checkpoint_ended()
            await self._node.settle()
            while self._waking:  # noqa: ASYNC110 - turns of the loop
                await asyncio.sleep(0)  # noqa: TID251 - they run; no time is waited for
            # Once: who asks again and again is not waited for until it stops.
            busy = asked and await self.beside.settle()
            asked = False
            busy |= isinstance(spawn, TurnedSpawn) and await spawn.rest()

    def wall_ms(self) -> WallMs:
        """Return the node's date, ms since 1970."""
        return self._world.clock.wall_ms()

    def turned_ms(self) -> int:
        """Return by how much the clock was turned; 0 where it cannot be."""
        clock = self._world.clock
        return clock.monotonic_ms() if isinstance(clock, TurnedClock) else 0

    async def sleep(self, seconds: float) -> None:
        """Wait until so much has passed: in reality, or by turning the clock."""
        loop, clock = get_running_loop(), self._world.clock
        over: Future[None] = loop.create_future()

        def wake() -> None:
            if not over.done():
                over.set_result(None)
                self._waking.add(over)

        real = loop.call_later(seconds, wake)
        cancel = clock.call_at(MonotonicMs(clock.monotonic_ms() + ceil(seconds * 1000)), wake)
        try:
            await over
        finally:
            self._waking.discard(over)
            real.cancel()
            cancel()


@asynccontextmanager
async def node_for_test(wish: Wish) -> AsyncIterator[TestingNode]:
    """Start a node and open its doors; at the end close them, and raise what it failed with.

    Raises:
        ConfigRefused: a setting that is not known, or whose value is out of bounds.
    """
    failures: list[BaseException] = []
    settings = _settings(wish)
    world = _world(wish, failures)
    node = await Node.start(settings, world, failed=failures.append)
    try:
        with TemporaryDirectory(prefix="tidelog-", ignore_cleanup_errors=True) as folder:
            where = LOOPBACK if wish.ports else f"{folder}/grpc"
            running = TestingNode(node, world, where=where)
            try:
                await running.close_past()
                await running.open()
                if wish.ports:
                    await running.open_kafka(settings)
                yield running
            finally:
                await running.close()
    finally:
        await node.stop(clean=not failures)
        if isinstance(world.disk, PosixDisk):
            world.disk.release()
    if failures:
        raise failures[0]


def _settings(wish: Wish) -> NodeSettings:
    given = [of_override(f"{name}={value}", "settings") for name, value in wish.settings.items()]
    settings = load(options=given).settings if given else NodeSettings()
    log = settings.log
    if "log.journal_file_bytes" not in wish.settings:
        log = replace(log, journal_file_bytes=JOURNAL_FILE_BYTES)
    if "log.reserve_bytes" not in wish.settings:
        log = replace(log, reserve_bytes=0)
    return replace(settings, log=log)


def _world(wish: Wish, failures: list[BaseException]) -> World:
    on_disk, turned = wish.directory is not None, wish.start_ms is not None
    make = partial(TurnedClock, wall=WallMs(wish.start_ms or 0))
    return World(
        disk=PosixDisk(str(wish.directory), create=True) if on_disk else SimDisk(crashable=False),
        clock=make() if turned else SystemClock(get_running_loop()),
        rand=SystemRand(),
        spawn=TurnedSpawn(failures.append) if turned else SystemSpawn(failures.append),
        memory_bytes=MEMORY_BYTES,
        version="testing",
        note=_note,
    )


def _note(event: str, /, **fields: str | int) -> None:
    LOGGER.debug("%s %s", event, fields)
