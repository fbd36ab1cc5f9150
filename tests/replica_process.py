"""One node's replicas without sockets, threads or a loop: part of `tests.replica_cluster`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from api.sim.stored import stored
from api.sim.workers import DeferredWorker
from cluster.controller.isr import IsrProposal, RowVersion
from cluster.peer.replica import BeatAnswer
from cluster.peer.replica_frames import decode
from cluster.peer.table import FrameType, parse
from cluster.shell.disk_writer import DiskWriter
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.partitions import Partitions
from cluster.shell.replica_port import Buffer, ReplicaDoors
from cluster.shell.replica_streams import ReplicaStreams
from cluster.shell.tick import Tick
from logstore.append_clock import AppendClock
from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.round import RoundResult
from model.errors import RequestError
from model.ids import (
    AppendTimeMs,
    MonotonicMs,
    NodeId,
    Offset,
    PartitionId,
    RegistrationEpoch,
    TopicId,
    WallMs,
)
from model.record import NewRecord

if TYPE_CHECKING:
    from tests.replica_cluster import Cluster

NOON: Final = WallMs(1_767_268_800_000)
TOPIC: Final = TopicId(bytes(range(16)))
PLACE: Final = PartitionId(TOPIC, 0)


def worker_of(jobs: deque[Callable[[], None]]) -> DeferredWorker:
    """Return what does its jobs when the world says so, and tells of each at once."""
    return DeferredWorker(lambda call, told: call(told), jobs.append)


@dataclass(slots=True)
class Told:
    """An ack, and what it was told."""

    answers: list[RequestError | None] = field(default_factory=list)

    def tell(self, error: RequestError | None) -> None:
        self.answers.append(error)


class Process:
    """One node from its start to its end."""

    def __init__(self, cluster: Cluster, node: NodeId, *, epoch: int) -> None:
        self.cluster, self.node, self.disk = cluster, node, cluster.disks[node]
        self.clock = cluster.clock
        self.later: deque[Callable[[], None]] = deque()
        self.jobs: deque[Callable[[], None]] = deque()
        """What threads would do; it waits while the disk is `slow`."""
        self.slow = False
        self.alive, self.memory = True, 0
        self.halts: list[str] = []
        self.damaged: list[PartitionId] = []
        """Partitions of which a follower needed what has rotted here."""
        self.failures: list[Exception] = []
        self.roles: list[bool] = []
        opened = LogDirectory.open(
            self.disk,
            cluster.log_settings,
            rand=Random(node),
            now_wall=self.clock.wall_ms(),
            identity=Identity(bytes([node]) * 16, "c", node, RegistrationEpoch(0)),
        )
        self.directory = opened.directory
        self.append_clock = AppendClock(
            opened.clock_floor,
            self.clock.wall_ms(),
            self.clock.monotonic_ms(),
            reserved=opened.clock_reserved,
        )
        tick = Tick(self.later.append)
        self.writer = DiskWriter(
            self.directory,
            clock=self.clock,
            tick=tick,
            worker=lambda _: worker_of(self.jobs),
            ended=self._written,
            failed=self.failures.append,
        )
        self.writer.tell_written()
        self.partitions = Partitions(
            node,
            directory=self.directory,
            clock=self.clock,
            replica_lag_ms_max=cluster.replica_lag_ms_max,
            changed=self.writer.ask,
            dropped=_dropped,
        )
        doors = self._doors(tick)
        self.streams = ReplicaStreams(doors, self.partitions)
        self.streams.registration_epoch = RegistrationEpoch(epoch)
        self.streams.subscribe(lambda partition: self.roles.append(partition.leads))
        self.partitions.load([cluster.topic])
        self.streams.start()

    def _doors(self, tick: Tick) -> ReplicaDoors:
        """What the replicas reach the rest of the world by."""
        return ReplicaDoors(
            node=self.node,
            links=_Links(self),
            controller=_Controller(self),
            clock=self.clock,
            append_clock=self.append_clock,
            directory=self.directory,
            tick=tick,
            read_pool=worker_of(self.jobs),
            ask_writer=self.writer.ask,
            ask_space=self.writer.look_at_space,
            accepted=self._accepted,
            let_go=lambda size: self._accepted(-size),
            storage_failed=self.failures.append,
            halted=lambda _, why: self.halts.append(why),
            damaged=self.damaged.append,
        )

    @property
    def one(self) -> HostedPartition:
        """The partition that everything is about."""
        return self.partitions.get(str(self.cluster.topic.name), 0)

    @property
    def log(self) -> PartitionLog:
        return self.one.log

    def append(self, *values: bytes, park: bool = True) -> Told:
        """Append one batch for each value, as a producer with acks=all does."""
        one, told = self.one, Told()
        one.check_leads()
        now = self.append_clock.read(self.clock.monotonic_ms(), self.clock.wall_ms())
        for value in values:
            batch = bytearray(encode_batch([NewRecord(NOON, b"k", value)]))
            self._accepted(len(batch))
            one.log.append([batch], leader_epoch=one.leader_epoch, append_time=now)
            one.appended(one.log.log_end, now)
        if park:
            one.committed_acks.park(one.log.log_end, MonotonicMs(1 << 40), told)
        self.writer.ask()
        return told

    def stored(self) -> list[bytes]:
        """Return every batch that the log holds, raw, in order."""
        return list(map(bytes, stored(self.log)))

    def times(self) -> list[AppendTimeMs | None]:
        """Return the append time of each offset."""
        return [self.log.append_time_at(Offset(at)) for at in range(self.log.log_end)]

    def _accepted(self, size_bytes: int) -> None:
        self.memory += size_bytes

    def _written(self, result: RoundResult | None, logs: Sequence[PartitionLog]) -> None:
        if result is not None:
            if result.round.clock is not None:
                self.append_clock.reserved(result.round.clock)
            self.memory -= sum(r.size_bytes for part in result.round.parts for r in part.runs)
        now = self.clock.monotonic_ms()
        for log in logs:
            partition = self.partitions.by_log(log)
            if partition is not None:
                for ack in partition.persisted(now):
                    ack.tell(None)
        if result is not None:
            self.streams.round_ended()


def _dropped(partition: HostedPartition) -> None:
    """Let go who waits for a partition that is not here any more."""
    for ack in partition.drop():
        ack.tell(None)


class _Links:
    """Frames to other nodes, in order; they arrive when the world runs."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def say(self, node: NodeId, parts: Sequence[Buffer]) -> bool:
        cluster, me = self._process.cluster, self._process.node
        if (me, node) not in cluster.linked or cluster.refuse_to_say:
            return False
        self._check(b"".join(parts[:1]))
        cluster.sent.append((me, node, b"".join(parts)))
        return True

    def _check(self, raw: bytes) -> None:
        """See that nothing is said of a log, or of a time, that is not durable."""
        if raw[0] in {FrameType.OPEN, FrameType.PROGRESS}:
            log = self._process.directory.partitions[PLACE]
            assert log.cut is None
            assert log.upkeep.exists or log.log_start == 0  # it has just been made
        elif raw[0] == FrameType.BEAT_ANSWER:
            said = decode(parse(raw, version=1))
            assert isinstance(said, BeatAnswer)
            assert said.closed_time <= self._process.append_clock.reserved_until

    def end(self, node: NodeId) -> None:
        self._process.cluster.cut(self._process.node, node)

    def heard_at(self) -> Mapping[NodeId, MonotonicMs]:
        return self._process.cluster.heard[self._process.node]


class _Controller:
    """Proposals to the test's own controller."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def alter_isr(self, rows: Sequence[IsrProposal]) -> None:
        cluster = self._process.cluster
        for row in rows:
            named = tuple(
                (node, RegistrationEpoch(cluster.registered[node]) if epoch is None else epoch)
                for node, epoch in row.followers
            )
            cluster.proposed.append((self._process.node, row._replace(followers=named)))

    def answer_for(self, rows: Sequence[RowVersion]) -> None:
        self._process.cluster.answered.extend(rows)

    def session_held(self) -> bool:
        return self._process.node not in self._process.cluster.without_session
