"""What readers of a log directory see: everything, as values that can be compared."""

from collections.abc import Iterator
from typing import Final

from logstore.partition_log import PartitionLog
from logstore.read_plan import ReadPlan
from logstore.segment import Segment
from model.ids import AppendTimeMs, Offset
from model.record import BatchHeader, iter_batches
from tests.crash.history import Batch, Found

READ_BYTES: Final = 1 << 20


def read_all(log: PartitionLog) -> Found:
    """Return everything between the log's ends, with its append times."""
    batches: list[Batch] = []
    offset = log.log_start
    while offset < log.log_end:
        result = log.read(offset, READ_BYTES, end=log.log_end)
        if isinstance(result, ReadPlan):
            result = result.blocking()
        for buffer in result.buffers:
            for view in iter_batches(memoryview(buffer)):
                header = BatchHeader(view)
                batches.append(
                    Batch(header.base_offset, header.end_offset, bytes(view), AppendTimeMs(0))
                )
        assert result.next_offset > offset
        offset = Offset(result.next_offset)
    return Found(
        log.log_start,
        log.log_end,
        tuple(_timed(log, batches)),
        producers_of(log),
        log.leader_epochs.rows,
        tuple(str(found) for segment in log.segment_list for found in _damage(segment)),
    )


def producers_of(log: PartitionLog) -> tuple[tuple[object, ...], ...]:
    """Return what the log knows of its producers, comparable."""
    return tuple(
        sorted((name, known.next_sequence, *known.window) for name, known in log.producers.items())
    )


def _damage(segment: Segment) -> tuple[object, ...]:
    """Return which append times had to be made up when the segment was read."""
    loaded = segment.loaded
    return segment.damage if loaded is None else (*segment.damage, *loaded.damage)


def _timed(log: PartitionLog, batches: list[Batch]) -> Iterator[Batch]:
    """Give each batch the append time that its segment knows."""
    for view in log.segments():
        if not view.size_bytes:
            continue
        times = view.times()
        if times is None:
            view.load_times()
            times = view.times()
        assert times is not None
        for batch in batches:
            if view.base_offset <= batch.base < view.end_offset:
                yield batch._replace(append_time=times.at(batch.base).append_time)
