"""What the use cases share: this node's clocks, disk, memory and partitions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from api.broker.answer_shares import AnswerShares
from api.broker.damage import Damage, Note
from api.broker.forward import Forwarding
from api.broker.joining import Joining
from api.broker.memory import MemoryBudget
from api.broker.read_room import ReadRoom
from cluster.controller.port import QuorumPort
from cluster.shell.disk_writer import DiskWriter
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.partitions import Partitions
from cluster.shell.tick import Tick
from cluster.shell.worker import Worker
from logstore.append_clock import AppendClock
from logstore.crc32c import crc32c
from logstore.log_directory import LogDirectory
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import AppendTimeMs, NodeId
from model.ports import Clock, Rand, Spawn
from model.record import BatchHeader

ResultT = TypeVar("ResultT")


@dataclass(slots=True)
class BrokerContext:
    """The parts of a node that use cases work with; assembled in `api/node`. Loop only."""

    node: NodeId
    clock: Clock
    rand: Rand
    tick: Tick
    spawn: Spawn
    append_clock: AppendClock
    directory: LogDirectory
    writer: DiskWriter
    read_pool: Worker
    memory: MemoryBudget
    """What came in and is not on the disk yet."""
    room: ReadRoom
    """What is being read of Kafka requests."""
    shares: AnswerShares
    """What goes out and was not taken yet."""
    partitions: Partitions
    quorum: QuorumPort
    joining: Joining
    """Whether the node is a part of its cluster by now."""
    damage: Damage
    note: Note
    """Writes a line of the node's log."""
    forwarding: Forwarding | None = None
    """The way of calls to other nodes; None: there are none."""
    controller: Callable[[], NodeId | None] | None = None
    """Returns who leads the controller quorum, as far as is known; None: this node, alone."""
    replicas_wanted: int | None = None
    """Replicas of each partition of a topic that says nothing; None: as the controller has it."""
    accepted_bytes: int = 0
    """Batches that were appended; only grows."""
    served_bytes: int = 0
    """Batches that readers were given; only grows."""

    @property
    def answers(self) -> MemoryBudget:
        """What goes out to this node's own clients."""
        return self.shares.clients

    def append_time(self) -> AppendTimeMs:
        """Return the append time of a batch that is accepted now."""
        return self.append_clock.read(self.clock.monotonic_ms(), self.clock.wall_ms())

    def closed_time(self) -> AppendTimeMs:
        """Return the append time below which this node appends nothing any more.

        It stays closed over a crash: the clock reserves time ahead in the journal (CLOCK), and
        tells no more than what is reserved.
        """
        now = self.append_time()
        if self.append_clock.needs_reserve(now):
            self.directory.reserve_clock(self.append_clock.reserve_until(now))
            self.writer.ask()
        return self.append_clock.closed_time(now)

    def check_room(
        self, size_bytes: int, *, into_reserve: bool = False, behind: int | None = None
    ) -> None:
        """Refuse a batch for which there is no memory or no disk.

        `into_reserve`: what goes on when a full disk refuses produced batches (P48). `behind`: the
        batch is counted in the memory budget, and so much that came after it.

        Raises:
            RequestError: OVERLOADED, DISK_FULL, STORAGE_ERROR: nothing was appended.
        """
        try:
            if behind is None:
                self.memory.check(size_bytes)
            else:
                self.memory.check_counted(size_bytes, behind=behind)
            self.directory.accepts(size_bytes, into_reserve=into_reserve)
        except RequestError as refusal:
            if refusal.code is ErrorCode.OVERLOADED:
                self.note("memory_congested", why=refusal.detail)
            elif refusal.code is ErrorCode.DISK_FULL:
                self.note("disk_low", why=refusal.detail)
                self.writer.look_at_space()
            raise

    def accepted(self, size_bytes: int) -> None:
        """Note that a batch is in the tail now; it is written at the end of the tick."""
        self.memory.take(size_bytes)
        self.appended(size_bytes)

    def appended(self, size_bytes: int) -> None:
        """Note it of a batch whose bytes are counted already."""
        self.accepted_bytes += size_bytes
        self.writer.ask()

    def stamp(self, batch: bytearray, now: AppendTimeMs) -> None:
        """Give every record of a batch the append time: the topic wants LogAppendTime."""
        BatchHeader.of_checked(memoryview(batch)).stamp_log_append_time(now, crc32c)

    def refusal_of_read(
        self, error: Exception, partition: HostedPartition | None = None
    ) -> RequestError:
        """Return what a reader is told of an error; a disk that refuses reads ends the node (P44).

        `partition`: where it was met; damage is repaired from other nodes, if there are any.

        Raises:
            Exception: `error`, where it is neither a refusal nor the disk's.
        """
        if isinstance(error, RequestError):
            return error if partition is None else self.damage.refusal(partition, error)
        if not isinstance(error, StorageFailed):
            raise error
        self.writer.fail(error)
        return RequestError(ErrorCode.STORAGE_ERROR, str(error))

    async def in_thread(self, job: Callable[[], ResultT]) -> ResultT:
        """Run what may wait for the disk in the read pool and await it."""
        return await self.read_pool.run(job)
