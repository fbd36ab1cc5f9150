"""Whoever is at rest is looked at seldom: what has happened heals as fast as if it never rested.

Each seed is a story of troubles: links, kills, slow and full disks, elections, lost sessions, logs
that are trimmed. It is told twice, once to nodes of which nobody ever rests, and the time until all
replicas are even again is compared.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest

from cluster.controller.configs import TopicSettings
from cluster.shell.partition_turns import LOOK_BEATS, PartitionTurns
from cluster.shell.replica_beats import BEAT_MS
from logstore.settled import settled_end
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, Offset, PartitionId
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.replica_process import Process

NODES: Final = (ONE, TWO, THREE)
SEEDS: Final = 100
HEALED_MS_MAX: Final = 60_000
LATER_MS_MAX: Final = LOOK_BEATS * BEAT_MS + BEAT_MS
"""Who does not rest may be looked at in another beat of the same look."""


class Story:
    """One seed's troubles in one world."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.world = Cluster()
        self.full: set[NodeId] = set()
        for process in self.world.nodes.values():
            self._may_be_full(process)

    def tell(self) -> None:
        """Let some troubles happen, with time between some of them."""
        self.world.pass_time(self.rng.choice([0, 3_000, 31_000]))
        for number in range(self.rng.randrange(3, 14)):
            self.rng = Random(f"{self.seed}-{number}")  # whatever the ones before have drawn
            self.rng.choice(TROUBLES)(self)
            if self.rng.random() < 0.6:
                self.world.run()

    def heal(self) -> int:
        """End all troubles; return the ms until all replicas are even."""
        world = self.world
        self.full.clear()
        missed = world.unheard.copy()
        world.unheard.clear()
        world.without_session.clear()
        world.refuse_proposals = False
        for process in world.nodes.values():
            process.slow = False
        self.start()
        for one, two in ((ONE, TWO), (ONE, THREE), (TWO, THREE)):
            if (one, two) not in world.linked:
                world.link(one, two)
        if world.row.leader is None:
            world.elect(world.row.isr[0], *world.row.isr)
        elif missed:
            world.change(world.row)
        world.run()
        passed_ms = 0
        while not self.even:
            assert passed_ms < HEALED_MS_MAX, "it does not heal"
            world.pass_time(BEAT_MS)
            passed_ms += BEAT_MS
        return passed_ms

    @property
    def even(self) -> bool:
        """Everybody is in sync, holds all, and knows it."""
        world, leader = self.world, self.world.row.leader
        assert leader is not None
        known = {(one.log.log_end, one.one.high_watermark) for one in world.nodes.values()}
        end = world.nodes[leader].log.log_end
        leads = world.nodes[leader].one
        return (
            world.isr == set(NODES) and known == {(end, end)} and leads.serves and not leads.alone
        )

    @property
    def leader(self) -> Process | None:
        """The process that leads and lives."""
        leader = self.world.row.leader
        process = None if leader is None else self.world.nodes[leader]
        return process if process is not None and process.alive and process.one.leads else None

    # Troubles.

    def append(self) -> None:
        if self.leader is not None:
            self.leader.append(b"%d" % self.rng.randrange(1_000))

    def cut(self) -> None:
        self.world.cut(*self.rng.sample(NODES, 2))

    def flap(self) -> None:
        one, two = self.rng.sample(NODES, 2)
        if self._lives(one) and self._lives(two):
            self.world.cut(one, two)
            self.world.pass_time(self.rng.choice([0, 100, 500, 900]))
            self.world.link(one, two)

    def kill(self) -> None:
        world, node = self.world, self.rng.choice(NODES)
        if not all(map(self._lives, NODES)):
            return
        world.kill(node)
        left = [one for one in world.row.isr if one != node]
        if node == world.row.leader:
            world.pass_time(self.rng.choice([0, 500]))
            world.elect(left[0] if left else None, *left)
        elif self.rng.random() < 0.7:
            world.change(world.row._replace(isr=tuple(left)))

    def start(self) -> None:
        for node in NODES:
            if not self._lives(node):
                self._may_be_full(self.world.start(node))

    def slow(self) -> None:
        process = self.world.nodes[self.rng.choice(NODES)]
        process.slow = not process.slow

    def session(self) -> None:
        self.world.without_session ^= {self.rng.choice(NODES)}

    def refuse(self) -> None:
        self.world.refuse_proposals = not self.world.refuse_proposals

    def elect(self) -> None:
        living = [node for node in self.world.row.isr if self._lives(node)]
        if living:
            self.world.elect(self.rng.choice(living), *self.world.row.isr)

    def trim(self) -> None:
        process = self.leader
        if process is None:
            return
        log = process.log
        start = min(process.one.high_watermark, settled_end(log))
        if self.rng.random() < 0.7:
            log.roll()
        if start > log.log_start:
            log.trim(Offset(start))
            process.one.begins_later()

    def fill(self) -> None:
        self.full ^= {self.rng.choice(NODES)}

    def wait(self) -> None:
        self.world.pass_time(self.rng.choice([100, 600, 1_500, 2_700, 6_000, 31_000]))

    def hear_nothing_new(self) -> None:
        self.world.unheard ^= {self.rng.choice(NODES)}

    def fall_silent(self) -> None:
        one, other = self.rng.sample(NODES, 2)
        heard = self.world.heard[one]
        last = heard.get(other)
        for _ in range(self.rng.choice([5, 12, 30])):
            if last is not None:
                heard[other] = last
            self.world.pass_time(BEAT_MS)

    def ask_for_more(self) -> None:
        world = self.world
        settings = TopicSettings(min_insync_replicas=self.rng.choice([1, 2, 3]))
        world.topic = replace(world.topic, settings=settings)
        world.change(world.row)

    def _lives(self, node: NodeId) -> bool:
        return self.world.nodes[node].alive

    def _may_be_full(self, process: Process) -> None:
        accepts = process.directory.accepts

        def may_accept(size_bytes: int, **given: Any) -> None:
            if process.node in self.full:
                raise RequestError(ErrorCode.DISK_FULL, "no room")
            accepts(size_bytes, **given)

        process.directory.accepts = may_accept  # type: ignore[method-assign]


TROUBLES: Final[tuple[Callable[[Story], None], ...]] = (
    Story.append, Story.append, Story.append, Story.cut, Story.flap, Story.kill, Story.start,
    Story.slow, Story.session, Story.refuse, Story.elect, Story.trim, Story.fill, Story.wait,
    Story.wait, Story.hear_nothing_new, Story.fall_silent, Story.ask_for_more,
)  # fmt: skip


def never_rests(turns: PartitionTurns, where: PartitionId) -> None:
    """Keep a partition awake that is still there."""
    del turns, where


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_has_happened_heals_as_fast(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(seed)
    story.tell()
    healed_ms = story.heal()
    for process in story.world.nodes.values():
        assert not process.failures
    with monkeypatch.context() as patched:
        patched.setattr(PartitionTurns, "rest", never_rests)
        awake = Story(seed)
        awake.tell()
        assert healed_ms <= awake.heal() + LATER_MS_MAX
