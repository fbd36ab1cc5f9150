"""Batches for a follower: what a leader reads from its log, each with its append time.

From memory at once; from files in the read pool, verified as for any other reader (P6). Followers
are sent whole batches up to the log's end, committed or not, and from the first whole one that is
kept.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, NamedTuple

from cluster.peer.replica_frames import SentBatch
from logstore.partition_log import PartitionLog
from logstore.read_plan import ReadPlan, taken_away
from logstore.recovery_report import Finding
from logstore.replicated import whole_from
from logstore.segment import Segment
from logstore.tail import ReadResult
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset
from model.record import BatchHeader, iter_batches

_BASE: Final = Struct(">q")
"""What a batch begins with: its base offset."""


class Sent(NamedTuple):
    """Whole batches, one behind the other."""

    end: Offset
    size_bytes: int
    batches: Sequence[SentBatch]


class FileRead(NamedTuple):
    """Batches that are to be read from files."""

    job: Callable[[], ReadResult]
    """READ POOL THREAD. Raises RequestError (CORRUPT_LOG, OFFSET_OUT_OF_RANGE), StorageFailed."""
    segment: Segment
    generation: int

    def sent(self, found: ReadResult, *, guesses: bool) -> Sent:
        """Return what the job has read, with its times, up to the first that is made up. Loop only.

        `guesses`: those too, as this node's readers get them, for no other replica can have the
        rows that are lost (P37).

        Raises:
            RequestError: OFFSET_OUT_OF_RANGE, the segment was cut or removed meanwhile, or the rows
                with its times were given back; CORRUPT_LOG, the first batch's time is made up.
        """
        if self.segment.generation != self.generation:
            raise taken_away(found.first_offset)
        return _with_times(found, self.segment, guesses=guesses)


def read_batches(
    log: PartitionLog, offset: Offset, max_bytes: int, *, end: Offset | None = None
) -> Sent | FileRead:
    """Return the batches that begin at an offset, at least one; none at the log's end.

    `end`: what lies above it is not returned; the log's end.

    Raises:
        RequestError: OFFSET_OUT_OF_RANGE: retention was faster.
    """
    end = log.log_end if end is None else end
    found = log.read(offset, max_bytes, end=end, start=whole_from(log))
    if isinstance(found, ReadPlan):
        return _from_files(log, log.segment_of(offset), found)
    if not found.buffers:
        return Sent(offset, 0, ())
    return _from_tail(log, found)


def is_in_memory(log: PartitionLog, offset: Offset) -> bool:
    """Tell whether a read from an offset needs no file."""
    return offset >= log.tail.start


def _from_files(log: PartitionLog, segment: Segment, plan: ReadPlan) -> FileRead:
    view = None
    segment.adopt()
    if segment.size_bytes and not segment.times_whole:
        (view,) = (one for one in log.segments() if one.live is segment)

    def job() -> ReadResult:
        found = plan.blocking()
        if view is not None:
            view.load_times()
        return found

    return FileRead(job, segment, segment.generation)


def _from_tail(log: PartitionLog, found: ReadResult) -> Sent | FileRead:
    """Give each batch its time, segment by segment, as far as its rows are in memory."""
    bases: list[Offset] = [_BASE.unpack_from(raw)[0] for raw in found.buffers]
    time = _time_of_all(log, bases[0], bases[-1])
    if time is not None:
        same = [SentBatch(base, time, raw) for base, raw in zip(bases, found.buffers, strict=True)]
        return Sent(found.next_offset, found.size_bytes, same)
    batches: list[SentBatch] = []
    size, end = 0, found.first_offset
    for raw in found.buffers:
        header = BatchHeader(memoryview(raw))
        segment = log.segment_of(header.base_offset)
        row = segment.times_at(header.base_offset)
        if row is None or segment.guesses(header.base_offset):
            break
        batches.append(SentBatch(header.base_offset, row.append_time, raw))
        size += len(raw)
        end = header.end_offset
    if not batches:
        return _times_from_files(log, found)
    return Sent(end, size, batches)


def _time_of_all(log: PartitionLog, first: Offset, last: Offset) -> AppendTimeMs | None:
    """Return the append time of batches that have it from one row, as what came in a tick has.

    None: each must be looked at. `first`, `last`: where the first and the last of them begin.
    """
    segment = log.segment_of(first)
    row = segment.times_at(first)  # takes in what was read of the segment, guesses too
    if row is None or segment.guessed is not None:
        return None
    if first == last:
        return row.append_time
    if log.segment_of(last) is not segment or segment.times_at(last) != row:
        return None
    return row.append_time


def _times_from_files(log: PartitionLog, found: ReadResult) -> FileRead:
    """Read only the times: the batches are in memory still, their rows were given back."""
    segment = log.segment_of(found.first_offset)
    (view,) = (one for one in log.segments() if one.live is segment)
    end = view.end_offset
    kept = [raw for raw in found.buffers if BatchHeader(memoryview(raw)).base_offset < end]

    def job() -> ReadResult:
        view.load_times()
        size = sum(map(len, kept))
        behind = BatchHeader(memoryview(kept[-1])).end_offset
        return ReadResult(kept, found.first_offset, behind, size)

    return FileRead(job, segment, segment.generation)


def _with_times(found: ReadResult, segment: Segment, *, guesses: bool) -> Sent:
    batches: list[SentBatch] = []
    for buffer in found.buffers:
        for raw in iter_batches(memoryview(buffer)):
            base = BatchHeader(raw).base_offset
            row = segment.times_at(base)
            if row is None:  # given back again since, by a checkpoint or for another reader
                raise taken_away(base)
            if segment.guesses(base) and not guesses:
                if not batches:
                    raise _made_up(segment, base)
                return Sent(base, sum(len(batch.raw) for batch in batches), batches)
            batches.append(SentBatch(base, row.append_time, raw))
    return Sent(found.next_offset, found.size_bytes, batches)


def _made_up(segment: Segment, base: Offset) -> RequestError:
    """Return what another replica is told of a batch whose append time is lost here.

    It is noted on the segment: whoever has it may be there only now.
    """
    name = segment.times_name
    why = f"the append time of the batch at offset {base} is lost, and no replica is given a guess"
    finding = Finding(name, 0, 0, why)
    if finding not in segment.damage:
        segment.damage += (finding,)
    return RequestError(ErrorCode.CORRUPT_LOG, f"{name}: {why}", file=name, position="0")
