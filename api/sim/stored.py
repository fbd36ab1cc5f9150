"""What a log holds, read batch by batch as it is stored."""

from collections.abc import Iterator
from typing import Final

from logstore.partition_log import PartitionLog, ReadPlan
from model.ids import Offset
from model.record import iter_batches

READ_BYTES: Final = 1 << 20


def stored(
    log: PartitionLog, start: int | None = None, to: int | None = None
) -> Iterator[memoryview]:
    """Yield the batches from one offset, or the log's start, to another, or the log's end.

    Blocks. The first batch may begin below the start.

    Raises:
        RequestError: one of them is damaged.
    """
    offset = Offset(log.log_start if start is None else max(start, log.log_start))
    end = log.log_end if to is None else Offset(to)
    while offset < end:
        read = log.read(offset, READ_BYTES, end=end)
        if isinstance(read, ReadPlan):
            read = read.blocking()
        for buffer in read.buffers:
            yield from iter_batches(memoryview(buffer))
        offset = read.next_offset
