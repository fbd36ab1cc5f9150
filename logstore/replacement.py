"""A damaged segment, made again from the batches of another replica, in the place of the old one.

What comes is checked against what this log knows of itself: where it goes on, and of which leader
epoch each batch is, unless the rows that tell that were lost with the batches: then it is learned.
For its bytes each batch speaks by its checksum. It gathers in files of another
name. Only when all of it is there, and on the disk, do they take the segment's names:

1. both new files are synced, the `.log` part by part: commits of the whole node wait for each job;
2. the old `.log` and `.times` are put aside under names of their own, for people;
3. the new ones take their names, the directory is synced; the index goes, it is made again.

A crash before 3 leaves the old segment, or one that is missing, which readers are told of and which
is fetched again; a crash after it leaves the new one. The checkpoint's row must speak of the new
sizes before: `fits`.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

from logstore.append_clock import TICK_MS
from logstore.leader_epochs import EpochStart, LeaderEpochs
from logstore.paths import DAMAGED, TEMPORARY
from logstore.replicated import check_whole
from logstore.segment import Segment
from logstore.times import ROW_BYTES, Times, TimesRow, encode_row
from logstore.verified import Verified
from model.errors import MalformedError, StorageFailed
from model.ids import AppendTimeMs, Offset, Position
from model.ports import Disk

Buffer: TypeAlias = bytes | bytearray | memoryview
_WHAT: Final = "fetched batch"


class Sizes(NamedTuple):
    """Bytes of the two files of a segment."""

    log: int
    times: int


class Replacement:
    """The new files of one segment. Loop only; its jobs run where nobody else changes files.

    Invariants:
        REPLACEMENT_IS_WHOLE    nothing takes the segment's place that does not reach its end.
    """

    __slots__ = (
        "_closing", "_disk", "_epochs", "_guessed", "_ready", "_segment", "_size", "_times", "at",
    )  # fmt: skip

    def __init__(
        self,
        disk: Disk,
        segment: Segment,
        epochs: LeaderEpochs,
        *,
        guessed: tuple[Offset, Offset] | None = None,
    ) -> None:
        """Begin with nothing. `epochs`: the log's own table.

        `guessed`: between these base offsets lies every batch whose row the files have not.
        """
        self._disk = disk
        self._guessed = guessed
        self._segment = segment
        self._epochs = epochs
        self._times = Times(segment.base_offset)
        self._closing: TimesRow | None = None
        self._size = 0
        self._ready = False
        """The new `.times` is on the disk."""
        self.at = segment.base_offset
        """Everything below it has come."""

    @property
    def is_whole(self) -> bool:
        """All of the segment has come."""
        return self.at == self._segment.end_offset

    @property
    def sizes(self) -> Sizes:
        """Of the new files. Rows are repeated, where there are fewer, to the length there was."""
        return Sizes(self._size, max(self._times.file_bytes, self._segment.times_bytes))

    @property
    def fits(self) -> bool:
        """Whether the new files are as long as the segment says, and the checkpoint with it."""
        segment = self._segment
        known = Sizes(segment.durable_bytes, segment.durable_times_bytes)
        return self.sizes == known == Sizes(segment.size_bytes, segment.times_bytes)

    def add(self, sent: Iterable[tuple[Offset, AppendTimeMs, Buffer]]) -> Callable[[], None]:
        """Take batches that go on where those before ended; return the job that writes them.

        And syncs them: who replaces the files has no more to wait for than their names. The job
        raises StorageFailed.

        Raises:
            MalformedError: they are not whole, or not the ones that belong here: nothing is taken.
        """
        batches, rows, at = self._checked(sent)
        for row in rows:
            self._times.append(*row)
        position, self.at = self._size, at
        self._closing = rows[-1]._replace(offset=at)
        self._size += sum(map(len, batches))
        return lambda: self._write(batches, position)

    def resize(self) -> None:
        """Let the segment have the sizes of the new files; a checkpoint is to say so next."""
        self._segment.resized(*self.sizes)

    def encoded_times(self) -> bytes:
        """Return what the new `.times` is to hold, once all has come and the sizes are settled.

        READ POOL THREAD: there may be a row for every tick, and nobody is to wait for them.
        """
        assert self._closing is not None and self.is_whole, "REPLACEMENT_IS_WHOLE"
        content = self._times.encode_head() + self._times.encode_rows()
        missing = (self.sizes.times - len(content)) // ROW_BYTES
        # Rows that close the last one say nothing new (docs/formats/times.md).
        return content + missing * encode_row(self._closing)

    def write_times(self, content: bytes) -> None:
        """Write what `encoded_times` has returned. A job of the thread that writes.

        Raises:
            StorageFailed: the disk refused.
        """
        name = self._segment.times_name + TEMPORARY
        try:
            file = self._disk.open(name, create=True)
            file.truncate(0)
            file.pwrite([content], Position(0))
            # SYNC: append times have the durability of their batches.
            file.fdatasync()
            file.close()
        except OSError as error:
            raise StorageFailed(name, error.errno or 0, "write") from error
        self._ready = True

    def swap(self) -> None:
        """Put the new files in the place of the old ones. A job of the thread that writes.

        Raises:
            StorageFailed: the disk refused.
        """
        assert self.is_whole and self._ready, "REPLACEMENT_IS_WHOLE"
        segment, disk = self._segment, self._disk
        try:
            for name in (segment.log_name, segment.times_name):
                with suppress(FileNotFoundError):
                    disk.rename(name, name + DAMAGED)
                disk.rename(name + TEMPORARY, name)
            with suppress(FileNotFoundError):
                disk.unlink(segment.index_name)
            # SYNC: readers are given the new batches from here on, and a crash must find them.
            disk.sync_directory(segment.directory)
        except OSError as error:
            raise StorageFailed(segment.log_name, error.errno or 0, "replace") from error

    def settle(self, log_end: Offset) -> None:
        """Let readers have the new files: what is known of the old ones goes. After `swap`.

        `log_end`: where the log ends by now, for a cut may wait for the disk.
        """
        rows = [EpochStart(row.leader_epoch, row.offset) for row in self._times.rows()]
        self._epochs.learned(rows, min(self._segment.end_offset, log_end))
        refresh(self._segment)
        self._segment.indexed_bytes = 0

    def discard(self) -> None:
        """Remove what has gathered. A job of the thread that writes.

        Raises:
            StorageFailed: the disk refused.
        """
        try:
            for name in (self._segment.log_name, self._segment.times_name):
                with suppress(FileNotFoundError):
                    self._disk.unlink(name + TEMPORARY)
        except OSError as error:
            raise StorageFailed(self._segment.log_name, error.errno or 0, "discard") from error

    def _checked(
        self, sent: Iterable[tuple[Offset, AppendTimeMs, Buffer]]
    ) -> tuple[Sequence[bytes], Sequence[TimesRow], Offset]:
        """Return copies of batches, what `.times` has to say of each, and where they end."""
        at, newest = self.at, self._times.newest
        batches: list[bytes] = []
        rows: list[TimesRow] = []
        for base, time, raw in sent:
            batch = bytes(raw)
            found = check_whole(batch)
            if not base == found.base_offset == at:
                raise MalformedError(_WHAT, at, f"a batch at {found.base_offset}, said {base}")
            known = None if self._guesses(at) else self._epochs.epoch_at(at)
            if known not in {None, found.leader_epoch}:
                why = f"leader epoch {found.leader_epoch}, here it is {known}"
                raise MalformedError(_WHAT, at, why)
            row = TimesRow(at, found.leader_epoch, time)
            falls = newest is not None and (
                row.leader_epoch < newest.leader_epoch or time < newest.append_time
            )
            if falls or time % TICK_MS:
                raise MalformedError(_WHAT, at, f"{row} behind {newest}")
            at, newest = Offset(at + found.offsets), row
            batches.append(batch)
            rows.append(row)
        if not batches or at > self._segment.end_offset:
            why = f"batches up to {at} of a segment that ends at {self._segment.end_offset}"
            raise MalformedError(_WHAT, at, why)
        return batches, rows, at

    def _guesses(self, offset: Offset) -> bool:
        guessed = self._guessed
        return guessed is not None and guessed[0] <= offset <= guessed[1]

    def _write(self, batches: Sequence[bytes], position: int) -> None:
        name = self._segment.log_name + TEMPORARY
        try:
            file = self._disk.open(name, create=True)
            if not position:
                file.truncate(0)  # a repair before this one may have left a longer one
            file.pwrite(batches, Position(position))
            # SYNC: the names of the segment must never stand for bytes that are not there yet.
            file.fdatasync()
            file.close()
        except OSError as error:
            raise StorageFailed(name, error.errno or 0, "write") from error


def refresh(segment: Segment) -> None:
    """Let readers open the files of a closed segment anew: forget what is known. Loop only."""
    segment.reader = None
    segment.verified = Verified()
    segment.stretches.forget()
    segment.damage, segment.guessed = (), None
    segment.forget_rows()
