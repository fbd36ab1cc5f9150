"""One node, the departures in it, and the phases: as produced, killed, without indexes, cut."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final

from tests.blind.comparing import Tally
from tests.blind.departures import Departures
from tests.blind.lying_relay import HOST, LyingRelay
from tests.blind.node_doors import NodeDoors, node_doors
from tests.blind.oracle import Oracle
from tests.blind.phase import Phase
from tests.blind.readers import Readers
from tests.blind.stored import read_back
from tests.blind.workload import PARTITIONS, TOPIC, NotStoredError, produce_all
from tests.kill.node_process import NodeFailed, NodeProcess
from tidelog.errors import TidelogError

SETTINGS: Final = (
    "log.journal_file_bytes=2MiB",
    "log.checkpoint_bytes=4MiB",
    "log.checkpoint_ms=2s",
    "log.tail_bytes=64KiB",
    "log.loaded_segments_max=8",
    "log.direct_append_bytes_min=64KiB",
    "logging.format=json",
)
"""Small: most of the log has left memory, and indexes come and go, while it is read."""
SEGMENT_BYTES: Final = 256 << 10
SEGMENT_BYTES_MIN: Final = 8 << 10
ROLLS: Final = 12
"""Segments that a partition of a small sample has at least, about."""
KEPT: Final = 0.6
"""Of the smallest partition: what retention leaves of each."""
RETENTION_S_MAX: Final = 150.0
"""Retention looks once a minute."""
TRIMMED: Final = (1, 4)
"""Partitions that are trimmed on top, to within a segment."""
CLEAN_EXIT: Final = 0


@dataclass(slots=True)
class Outcome:
    """What a run has seen."""

    tallies: list[Tally] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def differences(self) -> list[str]:
        """Everything that was not as it must be."""
        return self.problems + [one for tally in self.tallies for one in tally.differences]

    def line(self) -> str:
        """Return the sum in one line."""
        return (
            f"{sum(tally.ranges.total() for tally in self.tallies)} ranges, "
            f"{sum(tally.records for tally in self.tallies)} records compared, "
            f"{sum(tally.lookups.total() for tally in self.tallies)} lookups, "
            f"{len(self.differences)} differences"
        )


class Campaign:
    """All phases over one node."""

    def __init__(
        self,
        folder: Path,
        flights: Departures,
        rand: Random,
        *,
        say: Callable[[str], None],
        by_size: bool = True,
    ) -> None:
        """Work below `folder`. `by_size`: let retention cut too, which takes up to a minute."""
        self._folder = folder
        self._flights = flights
        self._rand = rand
        self._say = say
        self._by_size = by_size
        self._outcome = Outcome()
        self._relay = LyingRelay(lambda: self._node.ports["kafka"])
        self._node = NodeProcess(folder / "data", SETTINGS, folder)

    async def run(self, ranges: int) -> Outcome:
        """Run every phase, whatever the one before has found."""
        await self._relay.start()
        advertised = f"{HOST}:{self._relay.port}"
        self._node.settings = (*SETTINGS, f"listeners.kafka.advertise={advertised}")
        try:
            self._start()
            oracle = await self._produce()
            if oracle is None:
                return self._outcome
            await self._phase("as produced", oracle, ranges)
            self._node.kill()
            self._start()
            await self._phase("after kill -9", oracle, ranges)
            await self._without_indexes()
            await self._phase("without .index files", oracle, ranges)
            await self._cut(oracle)
            await self._phase("the front cut", oracle, ranges)
            code = await asyncio.to_thread(self._node.terminate)
            if code != CLEAN_EXIT:
                self._outcome.problems.append(f"the node's last stop ended with {code}")
            self._judge_log()
        except (NodeFailed, NotStoredError, TidelogError, TimeoutError) as broken:
            self._outcome.problems.append(f"{type(broken).__name__}: {broken}")
        finally:
            self._node.close()
            await self._relay.stop()
        return self._outcome

    def _start(self) -> None:
        if self._node.starts:
            self._judge_log()
        self._node.start()  # nothing else runs meanwhile; a node ends with the thread that began it

    def _judge_log(self) -> None:
        """The latest process has printed nothing but log lines: no traceback."""
        self._outcome.problems += [f"the node printed: {line}" for line in self._node.odd_lines()]

    @asynccontextmanager
    async def _doors(self) -> AsyncIterator[NodeDoors]:
        async with node_doors(
            grpc_port=self._node.ports["grpc"], kafka_port=self._relay.port, home=self._folder
        ) as doors:
            yield doors

    async def _produce(self) -> Oracle | None:
        """Fill the topic; return the oracle, or None if the log is not what answers said."""
        flights, source = self._flights
        began = monotonic()
        size = sum(len(flight.value) + 20 for flight in flights) // PARTITIONS // ROLLS
        segment_bytes = max(SEGMENT_BYTES_MIN, min(SEGMENT_BYTES, size))
        async with self._doors() as doors:
            await doors.client.topics.create(
                TOPIC, partitions=PARTITIONS, config={"segment.bytes": str(segment_bytes)}
            )
            stored = await produce_all(doors, flights, self._rand)
            took = monotonic() - began
            oracle, kinds, wrong = await read_back(Readers(doors), stored)
        self._outcome.problems += wrong
        segments = len(self._files(".log"))
        self._say(
            f"{len(stored)} departures ({source}) in {PARTITIONS} partitions, {segments} segments "
            f"of {segment_bytes >> 10} KiB: {took:.0f} s"
        )
        self._say(kinds.line())
        if segments < 2 * PARTITIONS:
            self._outcome.problems.append(f"{segments} segments are too few to show anything")
        return None if wrong else oracle

    async def _phase(self, name: str, oracle: Oracle, ranges: int) -> None:
        began = monotonic()
        async with self._doors() as doors:
            tally = await Phase(name, doors, oracle, rand=self._rand).run(ranges)
        if 2 * tally.near < tally.ends:
            tally.differences.append(f"{name}: only {tally.near} of {tally.ends} ends are near")
        self._outcome.tallies.append(tally)
        self._say(f"{tally.line()}; {monotonic() - began:.0f} s")

    async def _without_indexes(self) -> None:
        """Stop the node in order, delete every index file, start it again."""
        code = await asyncio.to_thread(self._node.terminate)
        if code != CLEAN_EXIT:
            self._outcome.problems.append(f"a stop in order ended with {code}")
        indexes = self._files(".index")
        for path in indexes:
            path.unlink()
        self._say(f"{len(indexes)} .index files deleted")
        if not indexes:
            self._outcome.problems.append("there was no .index file to delete")
        self._start()

    async def _cut(self, oracle: Oracle) -> None:
        """Let retention and trimming remove the front; tell the oracle what is gone."""
        async with self._doors() as doors:
            if self._by_size:
                await self._retain(doors, oracle)
            starts = await _log_starts(doors)
            for partition in TRIMMED if self._by_size else oracle.partitions:
                start, end = starts[partition], oracle.size(partition)
                before = start + self._rand.randint((end - start) // 8, (end - start) // 2)
                await doors.client.topics.trim(TOPIC, before, partitions=[partition])
            starts = await _log_starts(doors)
        bases = self._bases()
        for partition, start in starts.items():
            oracle.cut(partition, start)
        removed = ", ".join(
            f"{start}{'' if start in bases[partition] else ' (within a segment)'}"
            for partition, start in sorted(starts.items())
        )
        self._say(f"the partitions begin at {removed}")
        if not all(starts.values()) or not any(
            start not in bases[partition] for partition, start in starts.items()
        ):
            self._outcome.problems.append(f"the front was not cut as it should be: {starts}")

    async def _retain(self, doors: NodeDoors, oracle: Oracle) -> None:
        """Set retention by size and wait until it has moved the start of every partition."""
        sizes = [one.size_bytes or 0 for one in (await doors.client.topics.get(TOPIC)).partitions]
        keep = int(min(sizes) * KEPT)
        await doors.client.topics.configure(TOPIC, set={"retention.bytes": str(keep)})
        async with asyncio.timeout(RETENTION_S_MAX):
            while not all((await _log_starts(doors)).values()):
                pass  # each turn is a call to the node

    def _files(self, suffix: str) -> list[Path]:
        return sorted((self._node.directory / "partitions").glob(f"*/*{suffix}"))

    def _bases(self) -> dict[int, set[int]]:
        """Return the offsets at which the segments of each partition begin."""
        bases: dict[int, set[int]] = {number: set() for number in range(PARTITIONS)}
        for path in self._files(".log"):
            bases[int(path.parent.name.rpartition("-")[2])].add(int(path.stem))
        return bases


async def _log_starts(doors: NodeDoors) -> dict[int, int]:
    found = await doors.client.topics.resolve(TOPIC, "earliest")
    return {one.partition.partition: one.log_start_offset for one in found}
