"""Consumer groups, their members, one node and its disk, from one seed.

`python -m tests.sim.groups --seeds 500` runs seeds until one breaks an invariant, and says which;
`--seed N` prints the run of one.

The node is whole but for its doors (`tests/sim/node_life.py`). The fault model: the node is
killed, or the power goes and takes what was not synced; streams are cut, with what is on its way;
members are silent, resume (also while the node still has the former stream, and before it has heard
all of that), leave, die without a word and come again, commit late, hand over late or never; groups
are sent elsewhere while they run; topics grow, go, and come again. Snapshots and the trims behind
them come every few records.

What must hold is in `tests/sim/groups_books.py`, and:
    BEGINS_WHERE_ITS_GROUP_STANDS   a new hold is delivered from the committed offset on.
    RESUMED_WHERE_IT_WAS            a hold that is resumed goes on where its member stands.
    DELIVERED_WITHOUT_A_GAP         every record follows the one before it.
At the end, healed: PROGRESS_AFTER_HEALING and EVERYTHING_DELIVERED.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias
from unittest.mock import patch

from api.cluster_settings import ClusterSection
from api.settings import NodeSettings
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.led_state import LedState
from cluster.state_partition.layout import CONSUMER_OFFSETS
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord
from logstore.settings import KIB, LogSettings
from model.ids import GroupId, MonotonicMs, Offset, PartitionId, WallMs
from tests.sim.groups_books import Books
from tests.sim.groups_member import Client
from tests.sim.groups_others import BEGIN, GROUPS, Others
from tests.sim.node_life import Life

SEEDS, EVENTS = 500, 800
SETTINGS: Final = NodeSettings(
    log=LogSettings(
        journal_file_bytes=32 * KIB,
        journal_files_max=2,
        checkpoint_bytes=8 * KIB,
        index_interval_bytes=256,
        tail_bytes=KIB,
        reserve_bytes=0,
    ),
    cluster=ClusterSection(state_snapshot_records=12, quorum_snapshot_entries=20),
)
CLIENTS: Final = 3
"""Programs of each group."""
HEALING: Final = 300
STEP_MS: Final = 100
"""Heal for at most so many rounds of so long each: every timeout passes within."""
OFTEN, NOW_AND_THEN, SELDOM = (5, 20), (1, 3, 10), (0, 1, 2)
"""Weights of which each seed chooses one for everything that can happen."""

Happen: TypeAlias = Callable[[], Awaitable[None] | None]
Happening: TypeAlias = tuple[str, Happen, tuple[int, ...]]


class World:
    """Everything, and the tape of choices: `random.Random(seed)` alone."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.books = Books()
        self.processed: dict[tuple[str, PartitionId], set[int]] = {}
        self.disk = SimDisk()
        self.clock = SimClock(wall=BEGIN, monotonic=MonotonicMs(1_000))
        self.trace: list[str] = []
        self.counts: Counter[str] = Counter()
        self.breaches: list[BaseException] = []
        self.others = Others(self, self.counts)
        self._life: Life | None = None
        self.clients = [
            Client(
                self,
                f"{group}-{number}",
                group,
                topics,
                instance_id=f"i{number}" if self.choose.randrange(3) == 0 else None,
                latest=self.choose.randrange(4) == 0,
            )
            for group, topics in GROUPS.items()
            for number in range(CLIENTS)
        ]

    @property
    def life(self) -> Life:
        assert self._life is not None
        return self._life

    async def run(self, events: int) -> None:
        """Faults for that many events; then heal, and demand progress.

        Every seed has its own mix of what is frequent and what is rare.
        """
        asyncio.get_running_loop().set_exception_handler(self._failed_unheard)
        with self._decisions_noted():
            await self._start()
            await self.others.create_topics()
            happenings = self._happenings()
            weights = [self.choose.choice(often) for _, _, often in happenings]
            for name, happen, _ in self.choose.choices(happenings, weights, k=events):
                self.trace.append(f"{self.clock.monotonic_ms():7} {name}")
                self.counts[name.partition(" ")[0]] += 1
                waits = happen()
                if waits is not None:
                    await waits
                await _turns(self.choose.randrange(4))
                self.check()
            await self._heal()
            await self.life.stop()

    def _happenings(self) -> list[Happening]:
        """Return everything that can happen, and how often it may."""
        others = self.others
        found: list[Happening] = [
            ("produce", others.produce, (10, 30)),
            ("disk", self.work, (30, 120)),
            ("pass", self.let_pass, (5, 20, 60)),
            ("kill", self.kill, SELDOM),
            ("power-cut", self.power_cut, SELDOM),
            ("restart", self.restart, (0, 0, 1)),
            ("seek", others.seek, SELDOM),
            ("grow", others.grow, SELDOM),
            ("delete-topic", others.delete_topic, (0, 1, 2)),
            ("delete-group", others.delete_group, (0, 1)),
            ("commit-outside", others.commit_outside, (0, 2)),
        ]
        of_clients: list[tuple[str, Callable[[Client], Any], tuple[int, ...]]] = [
            ("listen", Client.listen, OFTEN),
            ("arrive", Client.arrive, OFTEN),
            ("work", Client.work, OFTEN),
            ("connect", Client.connect, NOW_AND_THEN),
            ("commit", Client.commit, NOW_AND_THEN),
            ("give", Client.give, NOW_AND_THEN),
            ("beat", Client.beat, NOW_AND_THEN),
            ("cut", Client.cut, SELDOM),
            ("give-up", Client.give_up, (0, 3, 6)),
            ("overtake", Client.overtake, SELDOM),
            ("leave", Client.leave, SELDOM),
            ("die", self.die, SELDOM),
            ("silent", Client.fall_silent, SELDOM),
            ("wake", Client.wake, SELDOM),
        ]
        for at, client in enumerate(self.clients):
            for name, happens, often in of_clients:
                found.append((f"{name} {client.name}", self._of(at, happens), often))
        return found

    def _of(self, at: int, happens: Callable[[Client], Any]) -> Happen:
        """Let it happen to whoever has that place then; what is silent does nothing by itself."""

        def happen() -> Any:
            client = self.clients[at]
            if client.silent and happens not in (Client.wake, Client.cut, Client.arrive, self.die):
                return None
            return happens(client)

        return happen

    # The node.

    async def _start(self) -> None:
        self._life = Life(self.disk, self.clock, self.choose)
        await self.life.begin(SETTINGS)
        self.books.check_leading(self.durable())

    async def kill(self) -> None:
        await self._end()
        self.disk.kill()
        await self._begin_again()

    async def power_cut(self) -> None:
        await self._end()
        self.disk.power_cut(lambda pending: pending.some(self.choose))
        await self._begin_again()

    async def restart(self) -> None:
        for client in self.clients:
            await client.cut()
        self.others.gone()
        await self.life.stop()
        await self._begin_again()

    async def _end(self) -> None:
        """The process is gone."""
        self.check()
        self.life.over = True
        for client in self.clients:
            await client.cut()
        self.others.gone()
        await self.life.kill()

    async def _begin_again(self) -> None:
        now = self.clock.monotonic_ms() + self.choose.choice((1, 100, 2_000))
        self.clock = SimClock(wall=WallMs(BEGIN + now), monotonic=MonotonicMs(now))
        await self._start()

    def work(self) -> None:
        self.life.work()

    def let_pass(self) -> None:
        self.clock.advance(self.choose.choice((1, 20, 100, 100, 300, 900)))

    async def die(self, client: Client) -> None:
        await client.cut()
        self.clients[self.clients.index(client)] = client.died()

    # The judge's eyes.

    def durable(self) -> dict[int, int]:
        broker = self.life.node.broker
        if CONSUMER_OFFSETS not in broker.image.topics:
            return {}
        hosted = broker.context.partitions.of_topic(CONSUMER_OFFSETS)
        return {one.number: one.log.flushed_end for one in hosted}

    @contextmanager
    def _decisions_noted(self) -> Iterator[None]:
        """Have every decision of each coordinator, and the state it begins with, in the books."""
        append, lead = LedState.append, LedState.lead

        def noted(led: Any, records: tuple[GroupRecord, ...]) -> Offset:
            end = append(led, records)
            with self.judging():
                self.books.append(led._partition.number, end, records)
            return end

        def begun(led: Any, machine: GroupMachine, *, end: Offset) -> None:
            with self.judging():
                self.books.led(led._partition.number, end, machine.snapshot())
            lead(led, machine, end=end)

        with patch.object(LedState, "append", noted), patch.object(LedState, "lead", begun):
            yield

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Keep what is found in the middle of the node: it is raised outside, by `check`."""
        try:
            yield
        except AssertionError as breach:
            self.breaches.append(breach)

    def _failed_unheard(self, _: object, context: dict[str, Any]) -> None:
        self.breaches.append(context.get("exception") or AssertionError(context["message"]))

    def check(self) -> None:
        """Raise what was found, or what a task of the node has failed with."""
        if self.breaches:
            raise self.breaches[0]
        self.life.check()

    # The end.

    async def _heal(self) -> None:
        """Everybody does as he should, until all is delivered and committed."""
        for _ in range(HEALING):
            for client in self.clients:
                await client.be_good()
            await self._rest()
            if self._all_is_done():
                break
            self.clock.advance(STEP_MS)
        else:
            raise AssertionError("PROGRESS_AFTER_HEALING")
        for group, hosted in self._wanted():
            key = group, hosted.log.id
            done = self.processed.get(key, set()) | self.books.skipped.get(key, set())
            assert done >= set(range(hosted.high_watermark)), "EVERYTHING_DELIVERED"

    async def _rest(self) -> None:
        """Let everything end that goes on by itself."""
        idle = 0
        while idle < 3:
            await _turns(1)
            idle = 0 if self.life.work() else idle + 1
        self.check()

    def _wanted(self) -> list[tuple[GroupId, HostedPartition]]:
        return [
            (group, hosted)
            for group, topics in GROUPS.items()
            for hosted in self.others.partitions()
            if hosted.topic.name in topics
        ]

    def _all_is_done(self) -> bool:
        live = {client.membership[0] for client in self.clients if client.membership is not None}
        if len(live) < len(self.clients) or any(client.to_give for client in self.clients):
            return False
        for group, hosted in self._wanted():
            hold = self.books.hold(group, hosted.log.id)
            if hold is None or hold.member not in live:
                return False
            if self.books.committed(group, hosted.log.id) != hosted.log.log_end:
                return False
        return True


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def run(seed: int, events: int = EVENTS) -> World:
    """Run one seed; return the world as it ended."""
    world = World(seed)
    asyncio.run(world.run(events))
    return world


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def sweep(seeds: Sequence[int], events: int) -> int:
    """Run seeds; print what happened in them; 1 if one breaks an invariant."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            world = run(seed, events)
        except AssertionError as broken:
            say(f"seed {seed}: {broken}; its run: python -m tests.sim.groups --seed {seed}")
            return 1
        counts.update(world.counts + world.books.counts)
    for name, count in sorted(counts.items()):
        say(f"{name:32}{count:>10,}")
    say(f"{len(seeds)} seeds, {events} events each: every invariant holds")
    return 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make sim-groups", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--seed", type=int, help="run this one alone, and print it")
    asked = parser.parse_args(arguments)
    if asked.seed is None:
        return sweep(range(asked.first, asked.first + asked.seeds), asked.events)
    world = World(asked.seed)
    try:
        asyncio.run(world.run(asked.events))
    finally:
        say("\n".join(world.trace))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
