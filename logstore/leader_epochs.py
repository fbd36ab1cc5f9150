"""Which leader epoch began at which offset: how two replicas find where their logs part (KIP-101).

The table is a function of the batches in the log, each of which carries its epoch; the file
(docs/formats/leader_epochs.md) saves reading them. An epoch in which nothing was written has no
row of its own in the log, and none here (KIP-279): the next epoch begins where it did.

Where batches were lost together with their append times nothing tells their epochs any more: the
one before goes on until other replicas have sent what is missing (`learned`). At the end of the log
`lost_from` says so, for where it parts from a leader's cannot be told then.

Invariants:
    LEADER_EPOCH_NEVER_FALLS     epochs rise along the log.
    LEADER_EPOCH_STARTS_RISE     so do the offsets where they begin.
"""

import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from logstore.crc32c import crc32c
from model.errors import MalformedError
from model.ids import LeaderEpoch, Offset

MAGIC: Final = b"TLEPOCHS"
VERSION: Final = 1
_HEAD: Final = struct.Struct(">8sHHI")  # magic, version, zero, rows
_CRC: Final = struct.Struct(">I")
_ROW: Final = struct.Struct(">iq")


class EpochStart(NamedTuple):
    """One row: the epoch, and the offset of its first record."""

    epoch: LeaderEpoch
    start: Offset


class EpochBounds(NamedTuple):
    """Of which epochs batches can be, both included: epochs rise along the log."""

    floor: LeaderEpoch
    ceiling: LeaderEpoch


UNBOUNDED: Final = EpochBounds(LeaderEpoch(0), LeaderEpoch((1 << 31) - 1))


class LeaderEpochs:
    """The table of one partition, oldest first."""

    __slots__ = ("_rows", "changed", "lost_from")

    def __init__(self, rows: "list[EpochStart] | None" = None) -> None:
        """Start with the rows of a file, or empty."""
        self._rows = rows or []
        self.changed = False
        """Rows differ from what the owner last wrote."""
        self.lost_from: Offset | None = None
        """The start has found that from here on batches, their rows, or both are lost, both at the
        end; nobody has spoken for the table since: see `believe`. None: the end is there."""

    @property
    def rows(self) -> tuple[EpochStart, ...]:
        """Every row, oldest first."""
        return tuple(self._rows)

    def frozen(self) -> "LeaderEpochs":
        """Return the table as it is now, for another thread."""
        return LeaderEpochs(list(self._rows))

    @property
    def latest(self) -> LeaderEpoch | None:
        """The epoch of the newest record; None while there is none."""
        return self._rows[-1].epoch if self._rows else None

    def appended(self, epoch: LeaderEpoch, base_offset: Offset) -> None:
        """Note the epoch of a batch that is in the log now."""
        if self._rows:
            last = self._rows[-1]
            if epoch == last.epoch:
                return
            assert epoch > last.epoch, "LEADER_EPOCH_NEVER_FALLS"
            assert base_offset > last.start, "LEADER_EPOCH_STARTS_RISE"
        self._rows.append(EpochStart(epoch, base_offset))
        self.changed = True

    def end_of(self, epoch: LeaderEpoch, log_end: Offset) -> EpochStart | None:
        """Return the greatest epoch at or below `epoch`, and the offset where it ends here.

        That is where a follower whose last record is of `epoch` must cut its log at the latest
        (KIP-279). None: no record here is that old.
        """
        slot = bisect_right(self._rows, epoch, key=lambda row: row.epoch)
        if slot == 0:
            return None
        end = self._rows[slot].start if slot < len(self._rows) else log_end
        return EpochStart(self._rows[slot - 1].epoch, end)

    def epoch_at(self, offset: Offset) -> LeaderEpoch | None:
        """Return the epoch of the record at an offset; None below the first row."""
        slot = bisect_right(self._rows, offset, key=lambda row: row.start)
        return self._rows[slot - 1].epoch if slot else None

    def roll_back(self, offset: Offset) -> None:
        """Forget epochs that began at or above `offset`, which was cut off."""
        keep = [row for row in self._rows if row.start < offset]
        self.changed = self.changed or len(keep) != len(self._rows)
        self._rows = keep
        if self.lost_from is not None and offset <= self.lost_from:
            self.lost_from = None

    def believe(self) -> None:
        """Take the table as it is: a leader's log has its end, or this log is the leader's."""
        self.lost_from = None

    def learned(self, rows: Sequence[EpochStart], end: Offset) -> None:
        """Know the epochs of the batches from the first row to `end`, from who has them.

        Rows at or above `end` are none of this log any more; where others contradict the table, the
        rows that come first in the log stand. Rows: at least one.
        """
        before = (row for row in self._rows if row.start < rows[0].start)
        theirs = (row for row in rows if row.start < end)
        behind = (row for row in self._rows if row.start >= end)
        known: list[EpochStart] = []
        for row in (*before, *theirs, *behind):
            if not known or (row.epoch > known[-1].epoch and row.start > known[-1].start):
                known.append(row)
        self.changed = self.changed or known != self._rows
        self._rows = known

    def trim(self, log_start: Offset) -> None:
        """Forget epochs that ended at or below the log start; the one around it begins there."""
        slot = bisect_right(self._rows, log_start, key=lambda row: row.start) - 1
        if slot < 0 or (slot == 0 and self._rows[slot].start == log_start):
            return
        kept = self._rows[slot:]
        self._rows = [EpochStart(kept[0].epoch, log_start), *kept[1:]]
        self.changed = True


def bounds_of(table: LeaderEpochs | None, start: Offset, end: Offset) -> EpochBounds:
    """Return of which epochs the batches in [start, end) can be, by a table, if there is one."""
    if table is None:
        return UNBOUNDED
    first, last = table.epoch_at(start), table.epoch_at(Offset(end - 1))
    return EpochBounds(
        UNBOUNDED.floor if first is None else first, UNBOUNDED.ceiling if last is None else last
    )


def encode(table: LeaderEpochs) -> bytes:
    """Return the file's bytes."""
    head = _HEAD.pack(MAGIC, VERSION, 0, len(table.rows))
    rows = b"".join(_ROW.pack(*row) for row in table.rows)
    return b"".join((head, _CRC.pack(crc32c(head + rows)), rows))


def decode(file: bytes) -> LeaderEpochs:
    """Return the table that a file holds.

    Raises:
        MalformedError: another magic or version, a wrong checksum, length or order.
    """
    start = _HEAD.size + _CRC.size
    if len(file) < start:
        raise MalformedError("leader epochs", 0, f"{len(file)} bytes")
    magic, version, zero, count = _HEAD.unpack_from(file)
    if (magic, version, zero) != (MAGIC, VERSION, 0):
        raise MalformedError("leader epochs", 0, f"magic {magic!r} version {version}")
    if len(file) != start + count * _ROW.size:
        raise MalformedError("leader epochs", start, f"{len(file)} bytes for {count} rows")
    if _CRC.unpack_from(file, _HEAD.size)[0] != crc32c(file[: _HEAD.size] + file[start:]):
        raise MalformedError("leader epochs", _HEAD.size, "checksum")
    rows = [
        EpochStart(LeaderEpoch(epoch), Offset(offset))
        for epoch, offset in _ROW.iter_unpack(file[start:])
    ]
    for before, after in pairwise(rows):
        if after.epoch <= before.epoch or after.start <= before.start:
            raise MalformedError("leader epochs", start, f"{after} follows {before}")
    return LeaderEpochs(rows)
