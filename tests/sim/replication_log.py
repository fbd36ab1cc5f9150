"""A log that is a list, and a disk that follows it in rounds: written, then synced."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, NamedTuple

from cluster.peer.replica import NO_EPOCH
from cluster.replication.high_watermark import Ends
from logstore.leader_epochs import LeaderEpochs
from model.ids import AppendTimeMs, LeaderEpoch, Offset


class Record(NamedTuple):
    """A batch of one record."""

    epoch: LeaderEpoch
    number: int
    """No other append has it."""
    append_time: AppendTimeMs


GONE: Final = Record(NO_EPOCH, -1, AppendTimeMs(0))
"""Below a log that began anew there is nothing."""


class StoredLog(ABC):
    """What one node holds: in memory, written, and synced."""

    def __init__(self, log: list[Record], log_start: Offset) -> None:
        """Begin with what recovery found; all of it is durable."""
        self.log_start = Offset(0)
        self.log = log
        self.os, self.disk = list(log), list(log)
        """What a kill leaves, and what a power cut does."""
        self.epochs = LeaderEpochs()
        for offset, record in enumerate(log):
            if record != GONE:
                self.epochs.appended(record.epoch, Offset(offset))
        self.trim(log_start)
        self.written = self.flushed = Offset(len(log))
        self.writing = self.cut = False

    @abstractmethod
    def later(self, delay_ms: int, call: Callable[[], None]) -> None: ...

    @abstractmethod
    def delay(self, *, sync: bool) -> int: ...

    @abstractmethod
    def persisted(self) -> None:
        """Positions have moved."""

    @abstractmethod
    def was_cut(self) -> None:
        """A truncation is durable."""

    def ends(self) -> Ends:
        return Ends(Offset(len(self.log)), self.written, self.flushed)

    def put(self, records: list[Record]) -> None:
        for record in records:
            self.epochs.appended(record.epoch, Offset(len(self.log)))
            self.log.append(record)
        self.round()

    def trim(self, log_start: Offset) -> None:
        """Begin here from now on; what lies below is not looked at any more."""
        assert log_start <= len(self.log), "LOG_START_IS_WRITTEN"
        self.log_start = max(self.log_start, log_start)
        self.epochs.trim(min(log_start, Offset(max(0, len(self.log) - 1))))

    def begin_anew(self, offset: Offset) -> None:
        """Hold nothing, from here on."""
        self.epochs.roll_back(Offset(0))
        self.log = [GONE] * offset
        self.log_start = self.written = self.flushed = offset
        self.cut = True
        self.round()

    def truncate(self, offset: Offset) -> None:
        del self.log[offset:]
        self.epochs.roll_back(offset)
        self.written, self.flushed = min(self.written, offset), min(self.flushed, offset)
        self.cut = True
        self.round()

    def round(self) -> None:
        """Begin a round of the writer thread, if none is under way and there is something."""
        if not self.writing and (self.cut or self.flushed < len(self.log)):
            self.writing = True
            taken, cut = list(self.log), self.cut
            self.later(self.delay(sync=False), lambda: self.wrote(taken, cut=cut))

    def wrote(self, taken: list[Record], *, cut: bool) -> None:
        self.os = taken
        if not self.cut or cut:
            self.written = Offset(min(len(taken), len(self.log)))
            self.persisted()
        self.later(self.delay(sync=True), lambda: self.synced(taken, cut=cut))

    def synced(self, taken: list[Record], *, cut: bool) -> None:
        self.disk, self.writing = taken, False
        if not self.cut or cut:
            self.flushed = Offset(min(len(taken), len(self.log)))
            if cut:
                self.cut = False
                self.was_cut()
            self.persisted()
        self.round()
