"""One partition of an internal topic that this node leads: its host, whom it answers, snapshots."""

from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.state_doors import StateDoors
from cluster.shell.state_log import PartitionStateLog
from cluster.shell.state_snapshots import StateSnapshots
from cluster.state_partition.host import Reply, StateHost
from cluster.state_partition.layout import StateTopic
from cluster.state_partition.machine import Machine
from model.errors import RequestError
from model.ids import AppendTimeMs, Offset
from model.result import Result

RecordT = TypeVar("RecordT")
MachineT = TypeVar("MachineT", bound=Machine[Any])
ResponseT = TypeVar("ResponseT")

Asker: TypeAlias = "Future[Any]"


class _Uncommitted(NamedTuple):
    end: Offset
    names: frozenset[str]


class LedState(Generic[MachineT, RecordT]):
    """The machine of one partition on its leader. Loop only."""

    __slots__ = (
        "_doors",
        "_ended",
        "_host",
        "_log",
        "_partition",
        "_snapshots",
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
        snapshots: StateSnapshots[MachineT, RecordT],
        tell: Callable[[frozenset[str]], None],
    ) -> None:
        """Answer nobody yet; `tell` is called with the names whose records were committed."""
        self._topic = topic
        self._partition = partition
        self._doors = doors
        self._tell = tell
        self._log = PartitionStateLog(partition, doors.intake, topic.encode)
        self._host = StateHost[MachineT, RecordT, Asker](self)
        self._snapshots = snapshots
        self._uncommitted: deque[_Uncommitted] = deque()
        self._watching = self._ended = False

    def lead(self, machine: MachineT, *, end: Offset) -> None:
        """Serve a machine that has seen the whole log, which ends there."""
        self._snapshots.written = self._watch
        self._host.lead(machine, end=end)
        self._answer(self._host.advance(self._partition.high_watermark))
        self._snapshots.trim()
        self._watch()

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
        """Forget the state; who waits for more than is committed hears that it is unknown."""
        self._ended = True
        self._partition.unwatch(self._committed)
        self._uncommitted.clear()
        self._answer(self._host.resign(why))

    def snapshot_now(self) -> None:
        """Make a snapshot although it is not time: another replica has use for it."""
        if self._host.end > (self._snapshots.newest or 0):
            self._snapshots.take(self._host.freeze)
            self._snapshots.advance()
            self._watch()

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
        mark = self._partition.high_watermark
        matters = self._uncommitted or self._host.waits or self._host.end > mark
        if self._watching or self._ended or not matters:
            return
        self._watching = True
        self._partition.watch(mark, self._committed)

    def _committed(self) -> None:
        """The watermark has moved: answer, tell, write a snapshot if it is time.

        Called too when this node does not lead any more: what it knows to be committed is answered
        all the same, and `resign` follows.
        """
        self._watching = False
        mark = self._partition.high_watermark
        self._answer(self._host.advance(mark))
        names: set[str] = set()
        while self._uncommitted and self._uncommitted[0].end <= mark:
            names |= self._uncommitted.popleft().names
        if names:
            self._tell(frozenset(names))
        if self._partition.leads and not self._partition.gone:
            self._snapshots.consider(self._host.end, self._host.freeze)
            self._snapshots.advance()
            self._watch()

    @staticmethod
    def _answer(replies: list[Reply[Asker]]) -> None:
        for asker, answer in replies:
            if asker.done():  # it has gone
                continue
            if isinstance(answer, RequestError):
                asker.set_exception(answer)
            else:
                asker.set_result(answer)
