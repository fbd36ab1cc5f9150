"""How far a log may be trimmed: what no sync under way can lose, and no cut takes (pure)."""

from typing import Protocol

from model.ids import Offset


class Positions(Protocol):
    """How far a log has come: `logstore.partition_log.PartitionLog`."""

    written_end: Offset
    flushed_end: Offset
    filed_end: Offset


def settled_end(log: Positions) -> Offset:
    """Return how far the log is written, without what a sync under way may lose: it begins below.

    Where it began behind that, a power cut could leave a log that ends before it begins. What only
    the files have counts, synced or not: the checkpoint that makes a log start durable syncs them.
    While the log is cut, the files still have what is going.
    """
    return min(log.written_end, max(log.filed_end, log.flushed_end))
