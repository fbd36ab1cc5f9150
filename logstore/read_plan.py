"""Reading batches from a segment file: on the loop if the page cache has them, else in the pool.

Bytes are served only from spans whose batches were verified since the segment was opened (P6); the
first read of each verifies. A mismatch is CORRUPT_LOG, never other data and never a gap.
"""

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

from logstore.crc32c import crc32c
from logstore.leader_epochs import LeaderEpochs, bounds_of
from logstore.recovery_report import Finding
from logstore.segment import Segment
from logstore.segment_loader import Source, load
from logstore.tail import ReadResult
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import Offset, Position
from model.ports import Disk
from model.record import COVERED_FROM, HEADER_BYTES, LENGTH_COUNTS_FROM, MAGIC

_HEAD: Final = struct.Struct(
    ">qiibIhi"
)  # base offset, length, epoch, magic, crc, attributes, delta

SLACK_BYTES: Final = 8 << 10
"""Read beyond what was asked for: a row of the index leads to a block, not to a batch."""

_NO_EPOCHS: Final = LeaderEpochs()
Pread: TypeAlias = Callable[[int, Position], bytes | bytearray | None]


class ReadPlan:
    """Batches that are on disk and no longer in memory. Made on the loop, used once or twice."""

    __slots__ = (
        "_block", "_disk", "_end", "_generation", "_limit", "_max_bytes", "_offset", "_segment",
        "_source", "_verified",
    )  # fmt: skip

    def __init__(
        self,
        disk: Disk,
        segment: Segment,
        *,
        offset: Offset,
        end: Offset,
        max_bytes: int,
        interval_bytes: int,
    ) -> None:
        """Plan to read from the batch that holds `offset`, up to the offset `end` at most."""
        self._disk = disk
        self._segment = segment
        self._generation = segment.generation
        self._verified = segment.verified
        self._offset = offset
        self._end = end
        self._max_bytes = max_bytes
        self._limit = segment.written_bytes
        self._block = segment.block_of(offset)
        self._source = (
            None if self._block is not None else source(segment, interval_bytes, segment.epochs)
        )

    def now(self) -> ReadResult | None:
        """Read if no disk is needed; None: use `blocking` in the read pool. Loop only.

        Raises:
            RequestError: as `blocking`.
            StorageFailed: the disk refused the read.
        """
        reader = self._segment.reader
        if reader is None:
            return None
        if self._block is None:
            self._block = self._segment.block_of(self._offset)
            if self._block is None:
                return None
        return self._read(reader.pread_cached, self._block)

    def blocking(self) -> ReadResult:
        """Read, waiting for the disk if need be. READ POOL THREAD.

        Raises:
            RequestError: CORRUPT_LOG; OFFSET_OUT_OF_RANGE: what was to be read was cut off, or the
                segment removed, meanwhile.
            StorageFailed: the disk refused the read.
        """
        segment = self._segment
        try:
            reader = segment.reader
            if reader is None:
                reader = self._disk.open(segment.log_name)
                if segment.verified is self._verified:  # else a repair has replaced the file
                    segment.reader = reader
            block = self._block
            if block is None:
                assert self._source is not None, "READ_PLAN_HAS_POSITION"
                loaded = load(self._disk, self._source, with_index=True)
                assert loaded.index is not None, "READ_PLAN_HAS_POSITION"
                block = loaded.index.block_of(self._offset)
                if segment.verified is self._verified:
                    segment.loaded = loaded
            result = self._read(reader.pread, block)
        except FileNotFoundError as gone:
            missing = self._damaged(Position(0), "the file is missing")
            if missing.code is ErrorCode.CORRUPT_LOG:
                missing.metadata["missing"] = "true"
            raise missing from gone
        except OSError as error:
            raise StorageFailed(segment.log_name, error.errno or 0, "read") from error
        assert result is not None, "BLOCKING_READ_RETURNS"
        return result

    def _read(self, pread: Pread, block: tuple[Position, Offset]) -> ReadResult | None:
        """Return whole batches; None if `pread` would have to wait."""
        position = block[0]
        begins: Offset | None = block[1]
        follows: Offset | None = None
        size, begun = self._max_bytes + SLACK_BYTES, position
        while position < self._limit:
            asked = min(size, self._limit - position)
            data = pread(asked, position)
            if data is None:
                return None
            valid, why = verify(self._segment, data, position, begins=begins, follows=follows)
            result, stop, end = self._find(data, valid)
            if result is not None:
                return result
            if why:
                raise self._damaged(Position(position + valid), why)
            if stop < len(data) and position + len(data) == self._limit:
                # Reading on would read the same again, for ever.
                why = "a batch claims to end behind what was written"
                raise self._damaged(Position(position + stop), why)
            # The next batch is longer than what was read: the reader gets at least one (P12).
            position = Position(position + stop)
            if stop:
                begins, follows = None, end
            size = _batch_bytes(data, stop) or HEADER_BYTES + self._max_bytes
            if len(data) < asked or asked - stop >= size:
                raise self._damaged(position, "the file ends")
        if position > begun:
            raise self._misplaced(None)
        return ReadResult([], self._offset, self._offset, 0)

    def _misplaced(self, base: int | None) -> RequestError:
        """Return what a reader is told where the batch of its offset should be and is not.

        The checksum of a batch does not cover its base offset; the offsets around it tell.
        """
        why = "the segment ends" if base is None else f"a batch begins at offset {base}"
        return self._damaged(Position(0), f"{why} where offset {self._offset} belongs")

    def _damaged(self, position: Position, why: str) -> RequestError:
        """Return what a reader is told of bytes that are not what belongs there."""
        is_current = self._segment.generation == self._generation
        return corrupt(self._segment, position, why) if is_current else taken_away(self._offset)

    def _find(self, data: bytes | bytearray, valid: int) -> tuple[ReadResult | None, int, Offset]:
        """Return the wanted batches among the verified ones, or where to go on looking.

        With the offset that follows the last batch before that place.
        """
        start, at, end = -1, 0, 0
        first = following = self._offset
        while at < valid:
            base, length, _, _, _, _, delta = _HEAD.unpack_from(data, at)
            stop = at + length + LENGTH_COUNTS_FROM
            end = base + delta + 1
            if base > self._offset and start < 0:
                raise self._misplaced(base)
            if end > self._offset:
                if end > self._end:
                    if start < 0:
                        return ReadResult([], first, following, 0), at, following
                    break
                if start < 0:
                    start, first = at, base
                elif stop - start > self._max_bytes:
                    break
                following = end
            at = stop
        if start < 0:
            return None, at, Offset(end)
        view = memoryview(data)[start:at]
        return ReadResult([view], first, following, len(view)), at, following


def verify(
    segment: Segment,
    data: bytes | bytearray,
    position: Position,
    *,
    begins: Offset | None = None,
    follows: Offset | None = None,
) -> tuple[int, str]:
    """Return how many bytes of what was read are whole, verified batches, and what follows.

    Nothing follows (an empty text) but a batch that was not read to its end. `position` is where
    a batch begins in the segment, at the offset `begins` or below it, if that is known, or exactly
    at `follows`. No checksum covers the offset and the leader epoch that a batch says of itself.
    """
    verified = segment.verified
    trusted = verified.covers(position, position + len(data))
    epochs = _NO_EPOCHS if trusted or segment.epochs is None else segment.epochs.frozen()
    view = memoryview(data)
    at = sure = 0
    why, expected = "", -1 if follows is None else follows
    while at + HEADER_BYTES <= len(data):
        base, length, epoch, magic, crc, _, delta = _HEAD.unpack_from(data, at)
        stop = at + length + LENGTH_COUNTS_FROM
        if magic != MAGIC or length < HEADER_BYTES - LENGTH_COUNTS_FROM or delta < 0:
            why = "no record batch"
            break
        if stop > len(data):
            break
        if not trusted and crc32c(view[at + COVERED_FROM : stop]) != crc:
            why = "checksum"
            break
        if expected not in {-1, base}:
            why = f"offset {base} where {expected} belongs"
            at = sure  # of two that disagree, and nothing before them, either may be wrong
            break
        if begins is not None and base > begins:
            why = f"offset {base} where {begins} belongs"
            break
        if not trusted and epochs.epoch_at(Offset(base)) not in {None, epoch}:
            why = f"leader epoch {epoch} where {epochs.epoch_at(Offset(base))} belongs"
            break
        if at or base in {begins, follows}:
            sure = stop
        begins, expected, at = None, base + delta + 1, stop
    if not trusted and at:
        verified.add(position, position + at)
    return at, why


def corrupt(segment: Segment, position: Position, why: str) -> RequestError:
    """Return what a reader of a damaged batch is told: CORRUPT_LOG, with the place.

    It is noted on the segment too, for the operator.
    """
    name = segment.log_name
    finding = Finding(name, position, 0, f"{why}; a reader was refused")
    if finding not in segment.damage:
        segment.damage += (finding,)
    return RequestError(
        ErrorCode.CORRUPT_LOG,
        f"{name} at byte {position}: {why}: the batch there cannot be served",
        file=name,
        position=str(position),
    )


def taken_away(offset: Offset) -> RequestError:
    """Return what a reader is told whose batches were cut off or removed meanwhile."""
    return RequestError(
        ErrorCode.OFFSET_OUT_OF_RANGE,
        f"offset {offset} was taken away while it was being read; the next try finds what is there",
        offset=str(offset),
    )


def out_of_range(offset: Offset, start: Offset, end: Offset) -> RequestError:
    """Return what a reader is told who asks for what a log does not hold."""
    return RequestError(
        ErrorCode.OFFSET_OUT_OF_RANGE,
        f"offset {offset} is outside [{start}, {end}]",
        offset=str(offset),
        log_start=str(start),
        end=str(end),
    )


def source(segment: Segment, interval_bytes: int, epochs: LeaderEpochs | None) -> Source:
    """Return what the pool needs to load the rows of a segment. `epochs`: its log's. Loop only."""
    return Source(
        segment.log_name,
        segment.times_name,
        segment.index_name,
        segment.base_offset,
        segment.opened_offset,
        segment.opened_bytes,
        segment.opened_times_bytes,
        segment.first_append_time,
        segment.last_append_time,
        interval_bytes,
        bounds_of(epochs, segment.base_offset, segment.opened_offset),
    )


def _batch_bytes(data: bytes | bytearray, at: int) -> int:
    """Return the size of the batch that begins there; 0 if not even that was read."""
    if at + LENGTH_COUNTS_FROM > len(data):
        return 0
    return int.from_bytes(data[at + 8 : at + 12], "big") + LENGTH_COUNTS_FROM
