"""A machine as its newest snapshot and the log behind it tell it; for the start of a node.

The disk and all replaying are a thread's: until it is whole, nobody else has the machine.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from cluster.shell.hosted_partition import HostedPartition
from cluster.state_partition.layout import StateTopic
from cluster.state_partition.machine import Machine
from cluster.state_partition.snapshot import Loaded, load
from logstore.batch import decode_batch
from logstore.read_plan import ReadPlan
from logstore.recovery_report import Finding
from logstore.tail import ReadResult
from model.errors import (
    DirectoryExit,
    DirectoryRefused,
    MalformedError,
    RequestError,
    StorageFailed,
)
from model.ids import Offset
from model.ports import Disk
from model.record import iter_batches

RecordT = TypeVar("RecordT")
MachineT = TypeVar("MachineT", bound=Machine[Any])
ResultT = TypeVar("ResultT")

READ_BYTES: Final = 1 << 20
"""Of the log in memory at once."""


class RunInThread(Protocol):
    """Runs a job that waits for the disk, off the loop."""

    def __call__(self, job: Callable[[], ResultT], /) -> Awaitable[ResultT]:
        """Return the job's result, or raise what it raised."""
        ...


class Restored(NamedTuple, Generic[MachineT]):
    """A machine that has seen its whole log."""

    machine: MachineT
    end: Offset
    kept: tuple[Offset, ...]
    """The snapshots that are there, oldest first."""
    held: int
    """Records in the newest of them."""
    damaged: tuple[Finding, ...]


async def restore(
    topic: StateTopic[MachineT, RecordT],
    hosted: HostedPartition,
    *,
    disk: Disk,
    run: RunInThread,
) -> Restored[MachineT]:
    """Return the machine of a partition to which nothing is appended meanwhile.

    Raises:
        DirectoryRefused: snapshots or log are damaged so that records are missing (exit 11), or
            were written by a newer release (exit 13).
        StorageFailed: the disk refused.
    """
    log = hosted.log
    end = log.log_end
    restoring = _Restoring(topic, log.directory_name)
    bounds = partial(load, disk, log.id, log_start=log.log_start, log_end=end)
    loaded = await run(partial(restoring.load, bounds))
    while restoring.at < end:
        found = log.read(restoring.at, READ_BYTES, end=end)
        await run(partial(restoring.replay, found))
    held = 0 if loaded.snapshot is None else len(loaded.snapshot.records)
    return Restored(restoring.machine, end, loaded.kept, held, loaded.damaged)


class _Restoring(Generic[MachineT, RecordT]):
    """A machine on its way. Its methods run in the thread, one after the other."""

    def __init__(self, topic: StateTopic[MachineT, RecordT], directory: str) -> None:
        """Begin empty, at offset 0."""
        self.machine = topic.new_machine()
        self.at = Offset(0)
        self._decode = topic.decode
        self._directory = directory

    def load(self, loading: Callable[[], Loaded]) -> Loaded:
        """Take the newest snapshot over."""
        try:
            loaded = loading()
        except OSError as error:
            name = str(error.filename or self._directory)
            raise StorageFailed(name, error.errno or 0, "read state of") from error
        if loaded.snapshot is not None:
            self.at = loaded.snapshot.offset
            for key, value in loaded.snapshot.records:
                self._replay(key, value)
        return loaded

    def replay(self, found: ReadResult | ReadPlan) -> None:
        """Read a piece of the log and replay what is not in the state yet."""
        try:
            result = found.blocking() if isinstance(found, ReadPlan) else found
        except RequestError as damage:
            raise _refused(damage.detail) from damage
        begun = self.at
        for buffer in result.buffers:
            for batch in iter_batches(memoryview(buffer)):
                self._replay_batch(batch)
        if self.at == begun:
            raise self._unreadable("nothing is there")

    def _replay_batch(self, batch: memoryview) -> None:
        try:
            records = decode_batch(batch)
        except MalformedError as damage:
            raise self._unreadable(f"a batch is malformed: {damage}") from damage
        for record in records:
            if record.offset < self.at:
                continue
            if record.offset != self.at:
                raise self._unreadable(f"offset {record.offset} follows")
            self._replay(record.key, record.value)
            self.at = Offset(self.at + 1)

    def _replay(self, key: bytes | None, value: bytes | None) -> None:
        try:
            record = self._decode(key, value)
        except MalformedError as damage:
            raise self._unreadable(str(damage)) from damage
        self.machine.replay(record)

    def _unreadable(self, why: str) -> DirectoryRefused:
        return _refused(f"{self._directory}: state at offset {self.at}: {why}")


def _refused(what: str) -> DirectoryRefused:
    what_now = "copy the partition from an intact replica or backup"
    detail = f"{what}: no state is served without it; {what_now}"
    return DirectoryRefused(DirectoryExit.FAILED, detail)
