"""A month in the life of a node: thirty simulated days over real files, threads and descriptors.

`python -m tests.sim.days --days 30` runs it and prints what the node held, day by day.

Each day is the same, hour by hour: whatever the node does not give back shows as a rise. Partitions
are written through the journal and without it, by producers that come and go; segments roll by
size and by age and go by age, by size and by trimming; topics come and go; readers read from the
front and from the middle, look for times, and wait for what does not come. A partition is written
once a day and ages out while nobody writes to it; another never is.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from array import array
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from api.broker.acks import Acks, Produced
from api.broker.fetch import Want
from api.broker.place import AtTime, Latest
from api.cluster_settings import ClusterSection
from api.node.assemble import Node
from api.node.log_events import EVENTS
from api.node.system_spawn import SystemSpawn
from api.node.world import World
from api.settings import NodeSettings
from api.sim.clock import SimClock
from cluster.controller.topics import CreateTopic, DeleteTopic
from cluster.shell.hosted_partition import HostedPartition
from logstore.batch import encode_batch
from logstore.disk_posix import PosixDisk
from logstore.settings import KIB, LogSettings
from model.errors import RequestError
from model.ids import MonotonicMs, Offset, WallMs
from model.ids import Sequence as SequenceNumber
from model.principal import ANONYMOUS
from model.record import ClockKind, NewRecord
from tests.sim.flat import HEADINGS, Sample, judge, sample

DAY_MS, HOUR_MS, MINUTE_MS = 86_400_000, 3_600_000, 60_000
BEGIN = WallMs(1_767_225_600_000)
STEP_MS = 10 * MINUTE_MS
"""Timers run at their own minute; what they ask of threads is waited for so often."""
TURNS_MAX = 5_000
"""Of the loop, for the tasks of a day to end; what does not end is seen in the samples."""
DAYS, WINDOW = 30, 20
SETTINGS = NodeSettings(
    log=LogSettings(
        journal_file_bytes=32 * KIB,
        journal_files_max=2,
        checkpoint_bytes=32 * KIB,
        direct_append_bytes_min=8 * KIB,
        index_interval_bytes=512,
        tail_bytes=4 * KIB,
        tails_bytes_max=16 * KIB,
        loaded_segments_max=4,
        scrub_interval_ms=DAY_MS // 2,
        reserve_bytes=0,
    ),
    cluster=ClusterSection(quorum_file_bytes=KIB, quorum_snapshot_entries=10),
)
TOPICS: dict[str, tuple[int, dict[str, str]]] = {
    "orders": (
        3,
        {"retention.ms": str(2 * DAY_MS), "segment.bytes": "16384", "segment.ms": str(DAY_MS)},
    ),
    "metrics": (
        2,
        {
            "tidelog.flush": "async",
            "segment.bytes": "4096",
            "retention.ms": "-1",
            "retention.bytes": "16384",
        },
    ),
    "spread": (1, {"retention.ms": str(DAY_MS), "segment.bytes": "8192"}),
    "stamped": (
        1,
        {
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": str(DAY_MS // 2),
            "segment.ms": str(2 * HOUR_MS),
        },
    ),
    "seldom": (1, {"retention.ms": str(6 * HOUR_MS)}),
    "trimmed": (1, {"retention.ms": "-1", "segment.bytes": "4096"}),
    "empty": (2, {}),
}


class SeededRand:
    """`model.ports.Rand` from one seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def randrange(self, stop: int, /) -> int:
        return self._chance.randrange(stop)

    def randbytes(self, size: int, /) -> bytes:
        return self._chance.randbytes(size)


@dataclass(slots=True)
class Month:
    """A running node and what is done with it. One task drives everything."""

    node: Node
    clock: SimClock
    directory: Path
    seed: int
    hours: Sequence[int]
    """At which hours of each day something is done."""
    step_ms: int = STEP_MS
    series: "dict[str, array[float]]" = field(default_factory=dict)
    """What each day's sample held, by measure; in arrays, which the measures do not see grow."""
    day: int = 0
    _waiting: "list[asyncio.Task[object]]" = field(default_factory=list)

    async def begin(self) -> None:
        for name, (partitions, config) in TOPICS.items():
            await self._create(name, partitions, config)

    async def live(self, days: int, told: Callable[[int, Sample], None]) -> None:
        """Let days pass; look at the node at the end of each."""
        for _ in range(days):
            chance = random.Random(self.seed)  # the same every day
            await self._topics_come_and_go()
            for hour in range(24):
                if hour in self.hours:
                    await self._hour(hour, chance)
                await self._pass(HOUR_MS)
            await self._rest()
            held = sample(self.node, self.directory)
            for name, value in held.items():
                self.series.setdefault(name, array("d")).append(value)
            told(self.day, held)
            self.day += 1

    async def _hour(self, hour: int, chance: random.Random) -> None:
        producer, epoch = await self.node.broker.init_producer_id(ANONYMOUS)
        for number in range(3):
            orders = self._partition("orders", number)
            for sequence in (0, 2):
                record = NewRecord(self._now(), b"k", b"o" * chance.randrange(100, 900))
                batch = encode_batch(
                    [record, record],
                    producer_id=producer,
                    producer_epoch=epoch,
                    base_sequence=SequenceNumber(sequence),
                )
                await self._produce(orders, batch)
        for number in range(2):
            await self._produce(self._partition("metrics", number), self._batch([b"m" * 300] * 4))
        late = [self._now() + chance.randrange(-30, 30) * DAY_MS for _ in range(20)]
        await self._produce(self._partition("spread"), self._batch([b"s" * 20] * 20, late))
        await self._produce(self._partition("stamped"), self._batch([b"t" * 100] * 3))
        await self._produce(self._partition("trimmed"), self._batch([b"d" * 500]))
        await self._produce(self._partition("orders"), self._batch([b"large" * 10_000]))
        if hour == self.hours[0]:
            await self._produce(self._partition("seldom"), self._batch([b"once a day"]))
        await self._read(chance)

    async def _read(self, chance: random.Random) -> None:
        """Read from the front and the middle, look for times, wait for what does not come."""
        broker = self.node.broker
        for partition in self.node.partitions:
            start, end = partition.log_start, partition.high_watermark
            for offset in {start, Offset(start + (end - start) * chance.randrange(100) // 100)}:
                found = await self._fetch(partition, offset)
                assert found > offset or offset == end, "READER_GETS_ON"
            for clock in ClockKind:
                asked = AtTime(self._now() - chance.randrange(DAY_MS), clock)
                await broker.resolve(ANONYMOUS, partition, asked)
        empty = self._partition("empty")
        self._waiting.append(self._task(self._fetch(empty, Offset(0), wait_ms=5 * MINUTE_MS)))
        cancelled = self._task(self._fetch(empty, Offset(0), wait_ms=DAY_MS))
        await asyncio.sleep(0)
        cancelled.cancel()

    async def _topics_come_and_go(self) -> None:
        broker = self.node.broker
        name = f"daily-{self.day:05d}"
        await self._create(name, 2, {"segment.bytes": "4096"})
        for number in (0, 1, 0):
            await self._produce(self._partition(name, number), self._batch([b"x" * 2_500]))
        if self.day >= 2:
            gone = DeleteTopic(name=f"daily-{self.day - 2:05d}")
            (answer,) = await broker.delete_topics(ANONYMOUS, [gone])
            assert not isinstance(answer, RequestError), answer
        await broker.topics.trim(ANONYMOUS, [self._partition("trimmed")], Latest())

    async def _pass(self, ms: int) -> None:
        """Let time pass, and everything that falls due end."""
        for _ in range(0, ms, self.step_ms):
            self.clock.advance(self.step_ms)
            await self.node.broker.searches.turn()
            await self.node.writer.flushed()
        for waiting in self._waiting:
            await waiting
        self._waiting.clear()

    async def _rest(self) -> None:
        """Wait until what the day has made to do is done: files are removed a checkpoint later."""
        for _ in range(3):
            await self.node.writer.checkpointed()
        for _ in range(TURNS_MAX):
            if len(self.node._world.spawn) == 1:  # the quorum's, which never ends
                return
            await self.node.broker.searches.turn()

    async def _create(self, name: str, partitions: int, config: dict[str, str]) -> None:
        request = CreateTopic(name=name, partitions=partitions, config=config)
        (answer,) = await self.node.broker.create_topics(ANONYMOUS, [request])
        assert not isinstance(answer, RequestError), answer

    async def _produce(self, partition: HostedPartition, batch: bytearray) -> None:
        answer: asyncio.Future[Produced | RequestError] = asyncio.Future()
        self.node.broker.produce(
            ANONYMOUS,
            partition,
            memoryview(batch),
            acks=Acks.ALL,
            timeout_ms=DAY_MS,
            done=answer.set_result,
        )
        produced = await answer
        assert isinstance(produced, Produced), produced

    async def _fetch(
        self, partition: HostedPartition, offset: Offset, *, wait_ms: int = 0
    ) -> Offset:
        want = Want(partition, offset, 4 * KIB, -1)
        (found,) = await self.node.broker.fetch.wait(
            ANONYMOUS, [want], min_bytes=1 if wait_ms else 0, max_bytes=KIB, max_wait_ms=wait_ms
        )
        assert found.error is None, found.error
        return found.next_offset

    def _task(self, doing: Coroutine[object, object, object]) -> "asyncio.Task[object]":
        return asyncio.get_running_loop().create_task(doing)

    def _partition(self, topic: str, number: int = 0) -> HostedPartition:
        return self.node.broker.partition(topic, number)

    def _now(self) -> int:
        return self.clock.wall_ms()

    def _batch(self, values: Sequence[bytes], times: Sequence[int] | None = None) -> bytearray:
        stamps = times or [self._now()] * len(values)
        return encode_batch(
            [NewRecord(time, b"k", value) for time, value in zip(stamps, values, strict=True)]
        )


@asynccontextmanager
async def month(
    directory: Path,
    *,
    seed: int = 1,
    hours: Sequence[int] = range(0, 24, 2),
    step_ms: int = STEP_MS,
) -> AsyncIterator[Month]:
    """Start a node in an empty directory; stop it in order."""
    clock = SimClock(wall=BEGIN, monotonic=MonotonicMs(0))
    failures: list[BaseException] = []

    def told(event: str, /, **fields: str | int) -> None:
        assert event in EVENTS
        assert event not in {"log_corrupt", "clock_in_doubt", "storage_failed"}, fields

    world = World(
        disk=PosixDisk(str(directory), create=True),
        clock=clock,
        rand=SeededRand(seed),
        spawn=SystemSpawn(failures.append),
        memory_bytes=64 << 20,
        version="test",
        note=told,
    )
    node = await Node.start(SETTINGS, world, failed=failures.append)
    running = Month(node, clock, directory, seed, hours, step_ms)
    await running.begin()
    try:
        yield running
    finally:
        await node.stop(clean=not failures)
    assert not failures, failures


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def run(days: int, window: int, seed: int) -> bool:
    """Run it, print it; return whether everything stayed flat."""
    with tempfile.TemporaryDirectory(prefix="tidelog-days-") as scratch:
        async with month(Path(scratch) / "data", seed=seed) as life:

            def told(day: int, held: Sample) -> None:
                shown = list(held.items())[:5]
                say(f"day {day + 1:3}  " + "  ".join(f"{name} {n:,.0f}" for name, n in shown))

            await life.live(days, told)
            verdicts = judge(life.series, window)
    say(f"\nthe last {window} of {days} days\n{HEADINGS}")
    for verdict in verdicts:
        say(str(verdict))
    flat = all(verdict.flat for verdict in verdicts)
    say("flat" if flat else "NOT FLAT")
    return flat


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make days", description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--window", type=int, default=WINDOW, help="days at the end that count")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    if not 2 <= asked.window <= asked.days:
        parser.error("--window: between 2 and --days")
    return 0 if asyncio.run(run(asked.days, asked.window, asked.seed)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
