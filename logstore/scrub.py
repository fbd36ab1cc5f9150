"""Reading closed segments again, so that rot on the disk is found before a reader meets it (P6).

Every batch is compared with its checksum, with the offset that belongs there, and with the leader
epoch that `.times` has for it, which no checksum of the batch covers; every row of `.times` with
its own. A pass goes over one segment chunk by chunk; when, and how fast, is the caller's.

What is found is no error of the pass. It is returned, to be reported; readers of it are told
CORRUPT_LOG as ever, for the bytes count as not verified from then on.
"""

import struct
from typing import Final, NamedTuple

from logstore.crc32c import crc32c
from logstore.leader_epochs import LeaderEpochs, bounds_of
from logstore.recovery_report import Finding
from logstore.segment import Segment
from logstore.segment_loader import Source, load_times
from logstore.settings import LogSettings
from logstore.times import Times
from logstore.verified import Verified
from model.ids import Offset, Position
from model.ports import Disk, File
from model.record import COVERED_FROM, HEADER_BYTES, LENGTH_COUNTS_FROM, MAGIC

CHUNK_BYTES: Final = 256 << 10
"""Read at once: with the smallest batches 3 ms of Python, in a thread of the read pool."""
BUSY_FACTOR: Final = 4
"""A node that has something else to do scrubs at this fraction of the rate."""
_HEAD: Final = struct.Struct(">qiibIhi")
"""Base offset, length, epoch, magic, crc, attributes, last offset delta."""


def may_scrub(segment: Segment) -> bool:
    """Tell whether a segment is closed and all of it is in its files; not while it is being cut."""
    times = segment.times
    return (
        segment.sealed
        and not segment.shrinks
        and 0 < segment.size_bytes == segment.durable_bytes
        and segment.times_bytes == segment.durable_times_bytes
        and (times is None or not segment.times_whole or segment.times_filed == len(times))
    )


def pause_ms(read_bytes: int, settings: LogSettings, *, all_bytes: int, busy: bool) -> int:
    """Return how long to wait after so many bytes.

    `all_bytes`: of all segments. The rate is the setting's, or what reads all of them once in the
    interval if that is more; a fourth of it while the node is `busy`.
    """
    needed = all_bytes * 1_000 // settings.scrub_interval_ms
    rate = max(settings.scrub_bytes_per_second, needed, 1)
    pause = read_bytes * 1_000 // rate
    return max(1, pause * BUSY_FACTOR if busy else pause)


class Scrubbed(NamedTuple):
    """What one step has read and found."""

    read_bytes: int
    findings: tuple[Finding, ...]
    ended: bool
    """Nothing is left of the segment."""


class SegmentScrub:
    """One pass over one closed segment. Made and settled on the loop."""

    __slots__ = (
        "_disk",
        "_expected",
        "_file",
        "_generation",
        "_position",
        "_source",
        "_times",
        "guessed",
        "segment",
    )

    def __init__(
        self, disk: Disk, segment: Segment, *, interval_bytes: int, epochs: LeaderEpochs
    ) -> None:
        """Begin with a segment of which `may_scrub` holds. `epochs`: its log's."""
        self.segment = segment
        self.guessed: tuple[Offset, Offset] | None = None
        """Between these base offsets lies every batch whose row is lost; after the first step."""
        self._disk = disk
        self._generation = segment.generation
        self._source = Source(
            segment.log_name,
            segment.times_name,
            segment.index_name,
            segment.base_offset,
            segment.end_offset,
            segment.size_bytes,
            segment.times_bytes,
            segment.first_append_time,
            segment.last_append_time,
            interval_bytes,
            bounds_of(epochs, segment.base_offset, segment.end_offset),
        )
        self._file: File | None = None
        self._times: Times | None = None
        self._position = Position(0)
        self._expected: Offset | None = segment.base_offset

    def step(self) -> Scrubbed:
        """Read the next chunk, from the disk and not from the cache. READ POOL THREAD.

        A file that is missing or cannot be read is a finding, unless the segment went meanwhile.
        """
        try:
            found = self._open() if self._file is None else self._chunk(self._file)
        except FileNotFoundError:
            found = self._rest("the file is missing")
        except OSError as error:
            found = self._rest(f"the disk refused the read: {error.strerror or error}")
        if self._generation != self.segment.generation:
            found = Scrubbed(found.read_bytes, (), ended=True)
        if found.ended and self._file is not None:
            self._file.drop_cache()  # readers have read none of it, or will be quick again
            self._file = None
        return found

    def settle(self, found: Scrubbed) -> None:
        """Note on the segment what a step has found. LOOP."""
        if found.findings:
            self.segment.damage += found.findings
            self.segment.verified = Verified()

    def _open(self) -> Scrubbed:
        """Check the append times; forget what memory has of the batches."""
        loaded = load_times(self._disk, self._source)
        self._times, self.guessed = loaded.times, loaded.guessed
        file = self._disk.open(self._source.log_name)
        file.drop_cache()
        self._file = file
        return Scrubbed(self._source.times_bytes, loaded.damage, ended=False)

    def _chunk(self, file: File) -> Scrubbed:
        """Check the batches that begin in the next chunk; one larger than that is read whole."""
        begun, left = self._position, self._source.size_bytes - self._position
        data = file.pread(min(CHUNK_BYTES, left), begun)
        if len(data) < HEADER_BYTES:
            return self._rest("the file ends")
        size = int.from_bytes(data[8:12], "big", signed=True) + LENGTH_COUNTS_FROM
        if len(data) < size <= left:
            data = file.pread(size, begun)
        findings, stop, why = self._check(data)
        self._position = Position(begun + stop)
        if not why and not stop:
            why = "the file ends"
        if why:
            rest = self._rest(why)
            return rest._replace(read_bytes=len(data), findings=(*findings, *rest.findings))
        if self._position < self._source.size_bytes:
            return Scrubbed(len(data), tuple(findings), ended=False)
        if self._expected not in {None, self._source.end_offset}:
            why = f"ends at offset {self._expected} where {self._source.end_offset} belongs"
            findings.append(Finding(self._source.log_name, self._position, 0, why))
        return Scrubbed(len(data), tuple(findings), ended=True)

    def _check(self, data: bytes) -> tuple[list[Finding], int, str]:
        """Return what is damaged, where the last whole batch ends, and why nothing can follow."""
        findings: list[Finding] = []
        view, at = memoryview(data), 0
        left = self._source.size_bytes - self._position
        while at + HEADER_BYTES <= len(data):
            base, length, epoch, magic, crc, _, delta = _HEAD.unpack_from(data, at)
            stop = at + length + LENGTH_COUNTS_FROM
            if magic != MAGIC or not at + HEADER_BYTES <= stop <= left:
                return findings, at, "no record batch: nothing behind it can be told apart"
            if stop > len(data):
                break
            if crc32c(view[at + COVERED_FROM : stop]) != crc:
                why, following = "checksum", None
            else:
                why = self._misplaced(Offset(base), epoch)
                known = base if self._expected is None else self._expected
                following = Offset(known + delta + 1)
            if why:
                place = self._position + at
                findings.append(Finding(self._source.log_name, place, stop - at, why))
            self._expected = following
            at = stop
        return findings, at, ""

    def _misplaced(self, base: Offset, epoch: int) -> str:
        """Return what is wrong with the fields that a batch's checksum does not cover."""
        if self._expected not in {None, base}:
            return f"offset {base} where {self._expected} belongs"
        times = self._times
        if times is None or not self._source.base_offset <= base < self._source.end_offset:
            return f"offset {base} in the segment at {self._source.base_offset}"
        known = times.at(base).leader_epoch
        return "" if known == epoch else f"leader epoch {epoch} where {known} belongs"

    def _rest(self, why: str) -> Scrubbed:
        """Return what ends the pass early: everything from here on is unreadable."""
        size = self._source.size_bytes - self._position
        finding = Finding(self._source.log_name, self._position, size, why)
        return Scrubbed(0, (finding,), ended=True)
