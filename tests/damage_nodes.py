"""Whole nodes in one process whose disks rot: what is flipped or lost, and what readers get."""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from api.broker.fetch import Want
from api.sim.disk import SimDisk
from cluster.controller.leadership import TransferLeader
from cluster.controller.topics import CreateTopic
from logstore.batch import decode_batch
from logstore.journal import HEADER_BYTES
from model.errors import DirectoryRefused, ErrorCode
from model.ids import NodeId, Offset, Position
from model.principal import ANONYMOUS
from model.record import iter_batches
from tests.cluster_nodes import Life, Nodes

TOPIC: Final = "orders"
SETTINGS: Final = (
    "log.scrub_interval_ms=1m", "log.scrub_bytes_per_second=16MiB", "log.tail_bytes=0",
)  # fmt: skip
PATIENCE_MS: Final = 30_000
"""Of a reader who is refused: a repair takes one second or two, a hand-over less."""
REST_MS: Final = 10_000
ALLOWED: Final = {"log_corrupt", "repair_impossible"}
"""Events that tell of damage: here they are what is looked for."""


class DamagedLife(Life):
    """One process whose log may tell of damage."""

    def _note(self, event: str, /, **fields: str | int) -> None:
        if event in ALLOWED:
            self.lines.append((event, fields))
        else:
            super()._note(event, **fields)

    def told(self, event: str) -> list[dict[str, str | int]]:
        """Return what was told of that name."""
        return [fields for name, fields in self.lines if name == event]


class DamageNodes(Nodes):
    """Three nodes, one topic of small segments; each node scrubs once a minute."""

    def __init__(self, *settings: str, seed: int = 1) -> None:
        """`settings`: of each node, beside those of all such clusters."""
        super().__init__(3, seed=seed)
        self._settings = (*SETTINGS, *settings)
        self.chance = Random(seed)
        self.values: list[bytes] = []
        """What was acknowledged, in its order."""

    async def begin(self, *numbers: int, ahead_ms: int = 0) -> list[Life]:
        begun: list[Life] = []
        for number in numbers or self.numbers:
            disk = self.disks.setdefault(number, SimDisk())
            self.lives[number] = DamagedLife(self, number, *self._settings, disk=disk)
            self.lives[number].clock.ahead_ms = ahead_ms
            begun.append(self.lives[number])
        await self.done(asyncio.gather(*(life.begin() for life in begun)))
        return begun

    def life(self, number: int) -> DamagedLife:
        found = self.lives[number]
        assert isinstance(found, DamagedLife)
        return found

    async def fill(self, *, records: int = 24, size: int = 150, segment: int = 1_024) -> Life:
        """Create the topic, fill some segments, have all of it on every disk; return the leader."""
        config = {"segment.bytes": str(segment)}
        request = CreateTopic(name=TOPIC, partitions=1, replication_factor=3, config=config)
        broker = self.lives[1].node.broker
        await self.done(broker.create_topics(ANONYMOUS, [request]))
        await self.until(lambda: all(TOPIC in life.image.topics for life in self.lives.values()))
        leader = await self.leader(TOPIC)
        await self.in_sync(TOPIC)
        for _ in range(records):
            await self.add(leader, size=size)
            await self.pass_by(20)
        await self.settled()
        return leader

    async def add(self, leader: Life, *, size: int = 150) -> None:
        """Append one more record."""
        value = b"%06d" % len(self.values) + self.chance.randbytes(size)
        await self.produce(leader, TOPIC, value)
        self.values.append(value)

    async def settled(self) -> None:
        """Wait until every node has everything in its files, and its checkpoint says so."""
        end = len(self.values)
        await self.until(
            lambda: all(life.hosted(TOPIC).high_watermark == end for life in self.lives.values())
        )
        for life in list(self.lives.values()):
            life.hosted(TOPIC).log.sync()
            await self.done(life.node.writer.checkpointed())

    async def rest(self, ms: int) -> None:
        """Let time pass, however long."""
        for _ in range(ms // REST_MS):
            await self.pass_by(REST_MS)

    async def read(self) -> list[bytes]:
        """Read the topic from its beginning, as a client does that asks again; return values."""
        values: list[bytes] = []
        until = self.net.clock.monotonic_ms() + PATIENCE_MS
        while len(values) < len(self.values):
            leader = await self.leader(TOPIC)
            want = Want(leader.hosted(TOPIC), Offset(len(values)), 1 << 20)
            (found,) = await self.done(
                leader.node.broker.fetch.wait(
                    ANONYMOUS, [want], min_bytes=1, max_bytes=1 << 20, max_wait_ms=100
                )
            )
            if found.error is not None:
                code = found.error.code
                assert code.retryable or code is ErrorCode.NOT_LEADER, found.error
                assert self.net.clock.monotonic_ms() < until, found.error
                await self.pass_by(50)
                continue
            for buffer in found.buffers:
                for batch in iter_batches(memoryview(buffer)):
                    values.append(value_of(bytes(batch)))
        return values

    async def read_around(self) -> tuple[set[ErrorCode], list[bytes]]:
        """Read offset by offset; return how readers were refused, and what they got."""
        refused: set[ErrorCode] = set()
        values: list[bytes] = []
        leader = await self.leader(TOPIC)
        for offset in range(len(self.values)):
            want = Want(leader.hosted(TOPIC), Offset(offset), 1)
            (found,) = await self.done(
                leader.node.broker.fetch.wait(
                    ANONYMOUS, [want], min_bytes=1, max_bytes=1, max_wait_ms=100
                )
            )
            if found.error is not None:
                refused.add(found.error.code)
            for buffer in found.buffers:
                values += [value_of(bytes(batch)) for batch in iter_batches(memoryview(buffer))]
        return refused, values

    async def lead(self, number: int) -> None:
        """Have a node that is in sync lead the topic."""
        if self.row(TOPIC).leader == number:
            return
        request = TransferLeader(topic=TOPIC, number=0, to=NodeId(number))
        broker = self.lives[number].node.broker
        await self.done(broker.context.quorum.propose(request))
        await self.until(lambda: self.leading(TOPIC) is self.lives[number])

    def files(self, number: int, *endings: str) -> list[str]:
        """Return the names of a node's files of the topic that end so."""
        names = self.disks[number].list(self.directory)
        files = [f"{self.directory}/{name}" for name in names if name.endswith(endings)]
        return [name for name in files if self.disks[number].open(name).size()]

    @property
    def directory(self) -> str:
        """Where the files of the topic's partition lie."""
        (life, *_) = self.lives.values()
        return life.hosted(TOPIC).log.directory_name

    def every_file(self, number: int) -> list[str]:
        """Return the names of all files of a node that hold something."""
        disk, found, folders = self.disks[number], list[str](), [""]
        while folders:
            folder = folders.pop()
            for last in disk.list(folder):
                name = f"{folder}/{last}" if folder else last
                try:
                    size = disk.open(name).size()
                except IsADirectoryError:
                    folders.append(name)
                else:
                    found += [name] if size else []
        return found

    def journal(self, number: int) -> tuple[str, int]:
        """Return the journal file that was written to last, and how much of it was."""
        disk = self.disks[number]
        found = []
        for name in disk.list("journal"):
            file = disk.open(f"journal/{name}")
            content = file.pread(file.size() - HEADER_BYTES, Position(0)).rstrip(b"\0")
            found.append((len(content), f"journal/{name}"))
        used, name = max(found)
        return name, used

    def remove(self, number: int, name: str) -> None:
        """Lose a file, or a directory and all that is in it."""
        disk = self.disks[number]
        try:
            names = disk.list(name)
        except NotADirectoryError:
            disk.unlink(name)
        else:
            for one in names:
                disk.unlink(f"{name}/{one}")
            disk.remove_directory(name)
        disk.sync_directory(name.rpartition("/")[0])

    def flip(self, number: int, name: str, *, at: int | None = None) -> Callable[[], None]:
        """Let one bit of a file rot; return what undoes it."""
        disk = self.disks[number]
        file = disk.open(name)
        file.fdatasync()  # what has not reached the device cannot rot there
        size = file.size()
        at = self.chance.randrange(size) if at is None else at
        rots = partial(disk.flip_bit, name, Position(at), self.chance.randrange(8))
        rots()
        return rots

    def logs(self) -> dict[int, bytes]:
        """Return the bytes of each node's `.log` files, one behind the other, to the mark."""
        end = min(life.hosted(TOPIC).high_watermark for life in self.lives.values())
        found = {}
        for number, life in self.lives.items():
            batches = [
                batch
                for segment in life.hosted(TOPIC).log.segment_list
                if segment.size_bytes
                for batch in raw_batches(self.disks[number], segment.log_name)
            ]
            found[number] = b"".join(
                batch for batch in batches if int.from_bytes(batch[:8], "big") < end
            )
        return found

    def times(self) -> dict[int, list[int | None]]:
        """Return the append time of every offset, as each node's files have it."""
        found = {}
        for number, life in self.lives.items():
            log = life.hosted(TOPIC).log
            for view in log.segments():
                if view.size_bytes and view.times() is None:
                    view.load_times()
                    view.times()
            found[number] = [
                None if time is None else int(time)
                for time in map(log.append_time_at, map(Offset, range(len(self.values))))
            ]
        return found


def raw_batches(disk: SimDisk, name: str) -> list[bytes]:
    """Return the batches of a file, as they are; whatever is no batch ends them."""
    file = disk.open(name)
    content = file.pread(file.size(), Position(0))
    return [bytes(batch) for batch in iter_batches(memoryview(content))]


def value_of(batch: bytes) -> bytes:
    """Return the value of the only record of a batch."""
    (record,) = decode_batch(memoryview(batch))
    assert record.value is not None
    return record.value


async def refused_at_start(nodes: DamageNodes, number: int) -> DirectoryRefused | None:
    """Start a node; return why its directory is refused, or None once it has joined."""
    try:
        (life,) = await nodes.begin(number)
        await nodes.until(lambda: life.node.has_joined)
    except DirectoryRefused as refused:
        await nodes.kill(number)
        return refused
    return None
