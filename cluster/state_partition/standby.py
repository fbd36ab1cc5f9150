"""A machine that has seen the beginning of its log: what a start, a follower and a new leader have.

It is a snapshot's state, and what the log says behind it, as far as it was read: on a follower what
is committed, of a new leader all that its log holds. Blocks on nothing; one thread at a time.
"""

from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

from cluster.state_partition.host import Frozen
from cluster.state_partition.layout import StateTopic
from cluster.state_partition.machine import Machine
from cluster.state_partition.snapshot import StateSnapshot
from logstore.batch import decode_batch
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Offset
from model.record import iter_batches

RecordT = TypeVar("RecordT")
MachineT = TypeVar("MachineT", bound=Machine[Any])
_WHAT_NOW: Final = "copy the partition from an intact replica or backup"


class Standby(Generic[MachineT, RecordT]):
    """A machine on its way to the end of its log."""

    __slots__ = ("_decode", "_where", "at", "machine", "replayed")

    def __init__(self, topic: StateTopic[MachineT, RecordT], where: str) -> None:
        """Begin empty, at offset 0; `where` names the partition's directory in refusals."""
        self.machine = topic.new_machine()
        self.at = Offset(0)
        """First offset of the log that the machine has not seen."""
        self.replayed = 0
        """Records of the log that were replayed, those of snapshots not counted."""
        self._decode = topic.decode
        self._where = where

    def take(self, snapshot: StateSnapshot) -> None:
        """Take a snapshot over. The machine is empty so far.

        Raises:
            DirectoryRefused: a record cannot be read (exit 11), or is of a newer release (exit 13).
        """
        self.at = snapshot.offset
        for key, value in snapshot.records:
            self._replay(key, value)

    def replay(self, buffers: Iterable[bytes | bytearray | memoryview], *, end: Offset) -> None:
        """Replay whole batches that continue the log; nothing of what stands at `end` or behind it.

        The first may begin below what the machine has seen.

        Raises:
            DirectoryRefused: they are damaged, or do not continue it (exit 11); of a newer release
                (exit 13).
        """
        begun = self.at
        for buffer in buffers:
            for batch in iter_batches(memoryview(buffer)):
                self._replay_batch(batch, end)
        if self.at == begun:
            raise self.unreadable("nothing is there")

    def freeze(self) -> Frozen[RecordT]:
        """Return the state as records."""
        return Frozen(self.at, self.machine.snapshot())

    def unreadable(self, why: str) -> DirectoryRefused:
        """Return the refusal of a log that cannot be replayed from here on."""
        return refused(f"{self._where}: state at offset {self.at}: {why}")

    def _replay_batch(self, batch: memoryview, end: Offset) -> None:
        try:
            records = decode_batch(batch)
        except MalformedError as damage:
            raise self.unreadable(f"a batch is malformed: {damage}") from damage
        for record in records:
            if record.offset < self.at or record.offset >= end:
                continue
            if record.offset != self.at:
                raise self.unreadable(f"offset {record.offset} follows")
            self._replay(record.key, record.value)
            self.at = Offset(self.at + 1)
            self.replayed += 1

    def _replay(self, key: bytes | None, value: bytes | None) -> None:
        try:
            record = self._decode(key, value)
        except MalformedError as damage:
            raise self.unreadable(str(damage)) from damage
        self.machine.replay(record)


def refused(what: str) -> DirectoryRefused:
    """Return what is told where a state cannot be had from this node's files."""
    detail = f"{what}: no state is served without it; {_WHAT_NOW}"
    return DirectoryRefused(DirectoryExit.FAILED, detail)
