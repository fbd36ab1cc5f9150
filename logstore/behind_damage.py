"""Where reading goes on behind a batch that cannot be served: with the next block of the index.

Batches in front of it in its own block are served, those behind it are not: nothing says where the
next one begins but the block that follows. So whoever was refused what lies at an offset can be
told exactly what is out of reach, and where to go on.
"""

from logstore.partition_log import PartitionLog
from model.errors import ErrorCode, RequestError
from model.ids import Offset, Position


def behind_damage(log: PartitionLog, offset: Offset, refusal: RequestError) -> Offset | None:
    """Return where to read on for whom the batch at `offset` was refused. Loop only.

    Nothing between the two can be served. None: the refusal is none of damage, or it cannot be
    told, for the rows of the segment cannot be read either.
    """
    position = refusal.metadata.get("position")
    if refusal.code is not ErrorCode.CORRUPT_LOG or position is None:
        return None
    segment = log.segment_of(offset)
    if refusal.metadata.get("file") != segment.log_name:
        return None
    block = segment.block_of(offset)
    if "missing" in refusal.metadata:
        found = segment.end_offset
    elif block is not None:
        found = segment.block_behind(Position(max(int(position), block[0])))
    else:
        return None
    if log.tail.start > offset:  # from there on it is in memory
        found = min(found, log.tail.start)
    return found if found > offset else None
