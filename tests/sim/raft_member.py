"""One process of the simulated quorum: a core, its disk, its machine, and what waits to be said."""

import struct
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Final

from cluster.raft.log import SnapshotFile
from cluster.raft.messages import Message
from cluster.raft.node import RaftNode
from cluster.raft.ready import DiskWork, Ready
from cluster.raft.snapshot import decode
from cluster.raft.storage import file_of
from cluster.raft.voters import Voter
from model.ids import Index
from tests.sim.raft_books import Machine, Seen
from tests.sim.raft_disk import ModelDisk

if TYPE_CHECKING:
    from tests.sim.raft import World

_STATE: Final = struct.Struct(">QI")


class Process:
    """A member of the quorum, or one that was or will be; up or down."""

    def __init__(self, world: "World", disk: ModelDisk, *, tick_ms: int) -> None:
        self.world = world
        self.disk = disk
        self.me: Voter = disk.me
        self.tick_ms = tick_ms
        """This node's own idea of 100 ms."""
        self.life = 0
        """Counts the starts; what belongs to an earlier one does not happen any more."""
        self.paused_until = 0
        self.node: RaftNode | None = None
        self.machine = Machine()
        self._jobs: deque[tuple[DiskWork | None, tuple[Message, ...]]] = deque()
        self._reads: dict[int, int] = {}
        """What was decided when each began."""
        self._seen = Seen(0, Index(0), Index(0))
        self._snapshot_index = 0

    @property
    def busy(self) -> bool:
        """Whether the disk has something to do."""
        return bool(self._jobs)

    def start(self) -> None:
        """Begin with what the disk has."""
        start = self.disk.start()
        self.life += 1
        self.machine = Machine()
        self._reads.clear()
        self._jobs.clear()
        if start.snapshot is not None:
            self._restore(start.snapshot)
        self._snapshot_index = self.machine.index
        self.node = RaftNode(start, limits=self.world.limits, rand=Random(self.world.draw(1 << 30)))
        log = self.node.log
        self._seen = Seen(log.generation, log.last_index, log.committed)
        self.world.at(self.world.draw(self.tick_ms), self._tick, self.life)
        self.settle()

    def end(self) -> None:
        """Die, with a disk that may be in the middle of a job."""
        work = next((work for work, _ in self._jobs if work is not None), None)
        self.node = None
        self.life += 1
        self._jobs.clear()
        self.disk.crash(self.world.choose, work)

    def stop(self) -> None:
        """End in order: what the disk was given is done."""
        while self._jobs:
            work, _ = self._jobs.popleft()
            if work is not None:
                self.disk.perform(work)
        self.node = None
        self.life += 1
        self.disk.crash(self.world.choose, None)

    def take(self, message: Message) -> None:
        """Take a message from the network."""
        if self.node is not None:
            self.node.step(message)
            self.settle()

    def hear_of_death(self, peer: Voter) -> None:
        """Find the link to a peer reset, and nobody listening."""
        if self.node is not None:
            self.node.peer_gone(peer)
            self.settle()

    def read(self, number: int) -> None:
        """Begin a read; RefusedError if there is no leader."""
        assert self.node is not None
        self.node.read(number)
        self._reads[number] = self.world.books.committed
        self.settle()

    def settle(self) -> None:
        """Look at what has become of the core, and do what it wants done."""
        node, world = self.node, self.world
        assert node is not None
        self._seen = world.books.look(node, self._seen)
        while (ready := node.ready()) is not None:
            self._do(ready)
            if not ready.more:
                break
        if self.machine.index - self._snapshot_index >= world.weather.snapshot_entries:
            self._snapshot(node)

    def _do(self, ready: Ready) -> None:
        if ready.work is not None:
            self._jobs.append((ready.work, ready.when_durable))
            if len(self._jobs) == 1:
                self._begin_job()
        elif self._jobs:
            if ready.when_durable:
                self._jobs.append((None, ready.when_durable))
        else:
            self._say(ready.when_durable)
        self._say(ready.at_once)
        if ready.restored is not None:
            self._restore(ready.restored)
            self._snapshot_index = self.machine.index
            self.world.books.counts["snapshots installed"] += 1
        for entry in ready.committed:
            self.machine.apply(entry)
        assert self.node is not None
        if ready.restored is not None or ready.committed:
            self.world.books.check_applied(self.node, self.machine)
        for number in ready.reads:
            began_at = self._reads.pop(number)
            assert self.machine.index >= began_at, "READ_IS_FRESH"
            leads = "leader" if self.node.leadership is not None else "follower"
            self.world.books.counts[f"reads of a {leads}"] += 1
        for number in ready.lost_reads:
            del self._reads[number]
            self.world.books.counts["reads lost"] += 1

    def _say(self, messages: tuple[Message, ...]) -> None:
        for message in messages:
            self.world.books.check_said(self.disk, message)
            self.world.send(message)

    def _begin_job(self) -> None:
        self.world.at(self.world.sync_ms(), self._job_done, self.life)

    def _job_done(self, life: int) -> None:
        """Have a job durable, and everything said that waited for it."""
        if life != self.life or self.node is None:
            return
        if self.paused_until > self.world.now:
            self.world.at(self.paused_until - self.world.now, self._job_done, life)
            return
        work, messages = self._jobs[0]
        assert work is not None
        self.disk.perform(work)
        self._jobs.popleft()
        self.node.persisted(work.durable)
        self._say(messages)
        while self._jobs and self._jobs[0][0] is None:
            self._say(self._jobs.popleft()[1])
        if self._jobs:
            self._begin_job()
        self.settle()

    def _tick(self, life: int) -> None:
        if life != self.life or self.node is None:
            return
        if self.paused_until > self.world.now:
            self.world.at(self.paused_until - self.world.now, self._tick, life)
            return
        self.world.at(self.tick_ms, self._tick, life)
        self.node.tick()
        self.settle()

    def _restore(self, file: SnapshotFile) -> None:
        payload = decode(file.content).payload
        self.machine.index, self.machine.number = _STATE.unpack_from(payload)
        self.world.books.check_restored(self.machine)

    def _snapshot(self, node: RaftNode) -> None:
        """Have a snapshot of the machine durable, and let the core forget what it holds."""
        state = _STATE.pack(self.machine.index, self.machine.number)
        padding = bytes(self.world.weather.snapshot_padding)
        file = file_of(node.snapshot_at(Index(self.machine.index), state + padding))
        self.disk.compacted(file)
        node.compact(file)
        self._snapshot_index = self.machine.index
        self.world.books.counts["snapshots taken"] += 1
