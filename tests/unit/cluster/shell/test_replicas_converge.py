"""Whatever happens to three replicas: what was acknowledged stays, and in the end they are equal.

Kills, cuts, elections and full disks in an order that a seed chooses. Elected is only who is in
sync, as the controller does it; a killed process keeps what it has written.
"""

from random import Random

import pytest

from cluster.controller.configs import TopicSettings
from logstore.settings import LogSettings
from model.errors import RequestError
from model.ids import NodeId, Offset
from model.record import BatchHeader
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.replica_process import Process, Told

NODES = (ONE, TWO, THREE)
SEEDS = (*range(8), 226, 323, 374, 394)
STEPS = 150
LOG = LogSettings(journal_file_bytes=64 << 10, tail_bytes=4 << 10, index_interval_bytes=64)
SEGMENTS = TopicSettings(min_insync_replicas=2, segment_bytes=16 << 10)


class Weather:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.choose = Random(seed)
        self.world = Cluster(log_settings=LOG, settings=SEGMENTS)
        self.told: dict[bytes, tuple[Told, Offset]] = {}
        self.counted = self.trimmed = 0

    def step(self) -> None:
        """Let one thing happen, and some of what follows from it."""
        done = self.choose.randrange(100)
        for below, happens in (
            (50, self.append),
            (60, self.elect),
            (70, self.cut_or_link),
            (75, self.kill),
            (85, self.start_one),
            (90, lambda: self.world.pass_time(self.choose.randrange(3_500))),
            (93, self.trim),
        ):
            if done < below:
                happens()
                break
        for _ in range(self.choose.randrange(200)):  # something is always on its way
            if not self.world.step():
                break

    def cut_or_link(self) -> None:
        one, two = self.choose.sample(NODES, 2)
        if (one, two) in self.world.linked:
            self.world.cut(one, two)
        else:
            self.link(one, two)

    def start_one(self) -> None:
        for node in NODES:
            if not self.world.nodes[node].alive:
                self.start(node)
                return

    def append(self) -> None:
        leader = self.world.row.leader
        if leader is None or not self.world.nodes[leader].alive:
            return
        process = self.world.nodes[leader]
        self.counted += 1
        value = b"%06d" % self.counted * self.choose.randrange(1, 400)
        try:
            told = process.append(value)
            self.told[value] = told, Offset(process.log.log_end - 1)
        except RequestError:
            pass  # it has not begun to lead

    def trim(self) -> None:
        """Delete a first part of what is committed, as retention does, or a person."""
        leader = self.world.row.leader
        if leader is not None and self.world.nodes[leader].alive:
            one = self.world.nodes[leader].one
            if one.serves:
                one.log.trim(Offset(self.choose.randrange(one.high_watermark + 1)))
                self.trimmed = max(self.trimmed, one.log_start)

    def elect(self) -> None:
        """Let one of those in sync lead who are alive, if somebody is."""
        world = self.world
        able = [node for node in world.row.isr if world.nodes[node].alive]
        if able:
            world.elect(self.choose.choice(able), *world.row.isr)

    def kill(self) -> None:
        world, node = self.world, self.choose.choice(NODES)
        if not world.nodes[node].alive:
            return
        world.kill(node)
        if world.row.leader == node:
            self.elect()

    def start(self, node: NodeId) -> None:
        """Register a node: a leadership that it had is over; in sync it is once it has caught up.

        But for the last one that holds what was committed: it had written that.
        """
        world = self.world
        isr = tuple(one for one in world.row.isr if one != node)
        if world.row.leader == node:
            world.elect(None)
        if isr and len(isr) < len(world.row.isr):
            world.change(world.row._replace(isr=isr))
        world.start(node)
        if world.row.leader is None:
            self.elect()

    def link(self, one: NodeId, two: NodeId) -> None:
        if self.world.nodes[one].alive and self.world.nodes[two].alive:
            self.world.link(one, two)

    def calm(self) -> None:
        """Let everything come back, and everybody catch up."""
        world = self.world
        for node in NODES:
            if not world.nodes[node].alive:
                self.start(node)
        for one, two in ((ONE, TWO), (ONE, THREE), (TWO, THREE)):
            if (one, two) not in world.linked:
                world.link(one, two)
        for _ in range(3):
            world.pass_time(4_000)
            if world.isr == set(NODES):
                break


def kept_from(process: Process, first: int) -> list[bytes]:
    """Return the batches from an offset on; each holds one record."""
    return process.stored()[first - process.log.log_start :]


@pytest.mark.parametrize("seed", SEEDS)
def test_replicas_converge(seed: int) -> None:
    weather = Weather(seed)
    world = weather.world
    for _ in range(STEPS):
        weather.step()
    weather.calm()
    assert world.isr == set(NODES), world.row
    # A leader that is killed may be the only one that knew of the last trim.
    first = max(process.log.log_start for process in world.nodes.values())
    assert first <= weather.trimmed
    stored = kept_from(world.nodes[ONE], first)
    for process in world.nodes.values():
        assert kept_from(process, first) == stored
        assert process.one.high_watermark == process.log.log_end == first + len(stored)
        assert process.log.leader_epochs.latest == world.nodes[ONE].log.leader_epochs.latest
        assert (process.halts, process.failures, process.memory) == ([], [], 0)
    assert world.malformed == []
    kept = {bytes(BatchHeader(memoryview(batch)).records) for batch in stored}
    acknowledged = [
        value
        for value, (told, offset) in weather.told.items()
        if told.answers[:1] == [None] and offset >= first
    ]
    missing = [value[:6] for value in acknowledged if not any(value in one for one in kept)]
    assert missing == []
    assert first or acknowledged
