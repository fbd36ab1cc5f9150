"""One partition of an internal topic that this node leads: its host, whom it answers, snapshots."""

from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.state_log import Intake, PartitionStateLog
from cluster.shell.worker import Worker
from cluster.state_partition.host import Frozen, Reply, StateHost
from cluster.state_partition.layout import StateTopic
from cluster.state_partition.machine import Machine
from cluster.state_partition.snapshot import Outgoing, save
from cluster.state_partition.snapshot_plan import SnapshotPlan
from model.errors import RequestError, StorageFailed
from model.ids import AppendTimeMs, Offset, PartitionId
from model.ports import Disk
from model.result import Result

RecordT = TypeVar("RecordT")
MachineT = TypeVar("MachineT", bound=Machine[Any])
ResponseT = TypeVar("ResponseT")

Asker: TypeAlias = "Future[Any]"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDoors:
    """What the state partitions of a node need of the rest of it."""

    intake: Intake
    disk: Disk
    worker: Worker
    """Its thread reads and writes snapshots, and replays at a start."""
    checkpoint: Callable[[], None]
    """Called when a log start has moved: files can go after the next checkpoint."""
    failed: Callable[[Exception], None]
    """Told of what the disk refused; the node ends."""
    snapshot_records: int
    """A snapshot is made after so many records."""


class _Uncommitted(NamedTuple):
    end: Offset
    names: frozenset[str]


class LedState(Generic[MachineT, RecordT]):
    """The machine of one partition on its leader. Loop only."""

    __slots__ = (
        "_doors",
        "_host",
        "_log",
        "_partition",
        "_plan",
        "_tell",
        "_topic",
        "_uncommitted",
        "_watching",
    )

    def __init__(
        self,
        topic: StateTopic[MachineT, RecordT],
        partition: HostedPartition,
        doors: StateDoors,
        *,
        tell: Callable[[frozenset[str]], None],
    ) -> None:
        """Begin as a follower; `tell` is called with the names whose records were committed."""
        self._topic = topic
        self._partition = partition
        self._doors = doors
        self._tell = tell
        self._log = PartitionStateLog(partition, doors.intake, topic.encode)
        self._host = StateHost[MachineT, RecordT, Asker](self)
        self._plan = SnapshotPlan[RecordT](doors.snapshot_records)
        self._uncommitted: deque[_Uncommitted] = deque()
        self._watching = False

    def lead(
        self, machine: MachineT, *, end: Offset, kept: tuple[Offset, ...] = (), held: int = 0
    ) -> None:
        """Serve a machine that has seen the whole log.

        `kept`: the snapshots that are there; `held`: how many records are in the newest.
        """
        self._plan = SnapshotPlan(self._doors.snapshot_records, kept=kept, held=held)
        self._host.lead(machine, end=end)
        self._answer(self._host.advance(self._partition.high_watermark))
        self._trim()

    def ask(
        self, decide: Callable[[MachineT, AppendTimeMs], Result[RecordT, ResponseT]]
    ) -> "Future[ResponseT]":
        """Decide at once; the future has the answer when all that it rests on is committed."""
        asker: Future[ResponseT] = get_running_loop().create_future()
        now = self._doors.intake.append_time()
        self._answer(self._host.handle(asker, lambda machine: decide(machine, now)))
        self._watch()
        return asker

    def resign(self, why: RequestError | None = None) -> None:
        """Forget the state; who waits hears that the outcome is unknown."""
        self._uncommitted.clear()
        self._answer(self._host.resign(why))

    def append(self, records: tuple[RecordT, ...]) -> Offset:
        """Append a decision for the host, and note whom it is about."""
        end = self._log.append(records)
        subjects = map(self._topic.subject, records)
        names = frozenset(name for name in subjects if name is not None)
        if names:
            self._uncommitted.append(_Uncommitted(end, names))
        return end

    def _watch(self) -> None:
        """Have the partition tell when it has committed more, if that matters to anybody."""
        if self._watching or not (self._uncommitted or self._host.waits):
            return
        self._watching = True
        self._partition.watch(self._partition.high_watermark, self._committed)

    def _committed(self) -> None:
        """The watermark has moved: answer, tell, write a snapshot if it is time."""
        self._watching = False
        mark = self._partition.high_watermark
        self._answer(self._host.advance(mark))
        names: set[str] = set()
        while self._uncommitted and self._uncommitted[0].end <= mark:
            names |= self._uncommitted.popleft().names
        if names:
            self._tell(frozenset(names))
        self._snapshot(mark)
        self._watch()

    def _snapshot(self, mark: Offset) -> None:
        if self._plan.wants(self._host.end):
            frozen = self._host.freeze()
            if frozen is not None:
                self._plan.took(frozen)
                # Whole segments go: this is what lies behind the snapshot, and nothing below it.
                self._partition.log.roll()
        due = self._plan.due(mark)
        if due is not None:
            doors, partition = self._doors, self._partition.log.id
            job = partial(
                _save, self._topic, partition, due, disk=doors.disk, keep=self._plan.newest
            )
            doors.worker.submit(job, self._saved, doors.failed)

    def _saved(self, _: None) -> None:
        self._plan.written(high_watermark=self._partition.high_watermark)
        self._trim()
        self._watch()

    def _trim(self) -> None:
        """Let go what no snapshot that is kept needs."""
        start = self._plan.trim_to
        if start is not None and start > self._partition.log_start:
            self._partition.log.trim(start)
            self._doors.checkpoint()

    @staticmethod
    def _answer(replies: list[Reply[Asker]]) -> None:
        for asker, answer in replies:
            if asker.done():  # it has gone
                continue
            if isinstance(answer, RequestError):
                asker.set_exception(answer)
            else:
                asker.set_result(answer)


def _save(
    topic: StateTopic[MachineT, RecordT],
    partition: PartitionId,
    frozen: Frozen[RecordT],
    *,
    disk: Disk,
    keep: Offset | None,
) -> None:
    """Write a frozen state. In the thread."""
    framed = map(topic.encode, frozen.records)
    snapshot = Outgoing(partition, frozen.offset, framed, len(frozen.records))
    try:
        save(disk, snapshot, keep=keep)
    except OSError as error:
        name = str(error.filename or "state snapshot")
        raise StorageFailed(name, error.errno or 0, "write") from error
