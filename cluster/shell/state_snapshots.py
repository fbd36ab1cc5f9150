"""The snapshots of one state partition on this node, whatever its replica is: made, kept, served.

Each replica makes its own, of what is committed, and lets go what lies below the older of its two:
so each can be started, and can lead, with what is on its own disk. A follower's log never begins
beyond the leader's either.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from cluster.peer.snapshot import AskState, StatePart
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.restore_state import failed_to
from cluster.shell.state_doors import StateDoors
from cluster.state_partition.host import Frozen
from cluster.state_partition.layout import StateTopic
from cluster.state_partition.machine import Machine
from cluster.state_partition.snapshot import Outgoing, read_part, save
from cluster.state_partition.snapshot_plan import SnapshotPlan
from logstore.settled import settled_end
from model.ids import Offset, PartitionId
from model.ports import Disk

RecordT = TypeVar("RecordT")
MachineT = TypeVar("MachineT", bound=Machine[Any])


class StateSnapshots(Generic[MachineT, RecordT]):
    """See the module. Loop only."""

    __slots__ = ("_doors", "_era", "_hosted", "_leader_start", "_plan", "_topic", "written")

    def __init__(
        self, topic: StateTopic[MachineT, RecordT], hosted: HostedPartition, doors: StateDoors
    ) -> None:
        """Know of none yet."""
        self._topic = topic
        self._hosted = hosted
        self._doors = doors
        self._era = 0
        self._leader_start = hosted.log_start
        self._plan = SnapshotPlan[RecordT](doors.snapshot_records)
        self.written: Callable[[], None] = _nobody
        """Called when one more is durable."""

    @property
    def newest(self) -> Offset | None:
        """Offset of the newest one that is durable."""
        return self._plan.newest

    def found(self, kept: tuple[Offset, ...], held: int) -> None:
        """Begin with these: there are no others on the disk."""
        self._era += 1
        self._plan = SnapshotPlan(self._doors.snapshot_records, kept=kept, held=held)
        self.trim()

    def forget(self) -> None:
        """Give up what was frozen under a leadership that is over."""
        self._plan.forget()

    def consider(self, end: Offset, freeze: Callable[[], Frozen[RecordT] | None]) -> None:
        """Freeze a state that has seen the log up to `end`, if it is time."""
        if self._plan.wants(end):
            self.take(freeze)

    def take(self, freeze: Callable[[], Frozen[RecordT] | None]) -> None:
        """Freeze a state, unless one is on its way to the disk."""
        frozen = None if self._plan.is_frozen else freeze()
        if frozen is not None:
            self._plan.took(frozen)
            # Whole segments go: this is what lies behind the snapshot, and nothing below it.
            self._hosted.log.roll()

    def advance(self) -> None:
        """Write what was frozen, once it is committed and this log would not come back without."""
        hosted, doors = self._hosted, self._doors
        due = self._plan.due(min(hosted.high_watermark, hosted.log.flushed_end))
        if due is not None:
            job = partial(
                _save, self._topic, hosted.log.id, due, disk=doors.disk, keep=self._plan.newest
            )
            doors.worker.submit(
                job, partial(self._saved, self._era), partial(self._failed, self._era)
            )

    def trim(self) -> None:
        """Let go what no snapshot that is kept needs."""
        hosted, start = self._hosted, self._plan.trim_to
        if start is None:
            return
        if not hosted.leads:
            start = min(start, self._leader_start)
        start = min(start, settled_end(hosted.log))
        if start > hosted.log_start:
            hosted.log.trim(start)
            hosted.begins_later()
            self._doors.checkpoint()

    def leader_begins(self, log_start: Offset) -> None:
        """Follow the leader's log start, as far as this node's own snapshots allow."""
        self._leader_start = log_start
        self.trim()

    def serve(self, ask: AskState, answer: Callable[[StatePart | None], None]) -> None:
        """Answer with a part: of the snapshot that is asked for, or the first of the newest.

        None: there is nothing to answer with just now.
        """
        kept, doors = self._plan.kept, self._doors
        offset, position = ask.offset, ask.position
        if offset is None or offset not in kept:
            offset, position = self._plan.newest, 0
        if offset is None:
            answer(StatePart(ask.partition, None, 0, 0, b""))
            return
        part = partial(
            read_part,
            doors.disk,
            ask.partition,
            offset,
            position=position,
            bytes_max=ask.bytes_max,
        )

        def read(found: tuple[int, bytes] | None) -> None:
            answer(None if found is None else StatePart(ask.partition, offset, position, *found))

        doors.worker.submit(part, read, partial(self._unread, answer))

    def _unread(self, answer: Callable[[StatePart | None], None], error: Exception) -> None:
        answer(None)
        self._doors.failed(failed_to("read", error) if isinstance(error, OSError) else error)

    def _saved(self, era: int, _: None) -> None:
        if era == self._era:
            self._plan.written(high_watermark=self._hosted.high_watermark)
            self.trim()
            self.written()

    def _failed(self, era: int, error: Exception) -> None:
        if era == self._era:  # else the log that it was for has been begun anew, directory and all
            self._doors.failed(error)


def _nobody() -> None:
    """Nobody waits for it."""


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
        raise failed_to("write", error) from error
