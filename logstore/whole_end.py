"""What a start has found of the batches below its checkpoint: lost, damaged, or all there.

A log whose file is cut short ends where its row says: offsets are never given out again. But in an
election it must not count as a log that holds what it has lost (P3).
"""

from collections.abc import Set as AbstractSet

from logstore.partition_log import PartitionLog
from logstore.paths import LOG, PARTITIONS
from logstore.recovery_report import RecoveryReport
from model.ids import Offset


def lost_files(report: RecoveryReport) -> frozenset[str]:
    """Return the `.log` files that do not hold all that they should, as far as a start looks."""
    return frozenset(
        finding.file
        for finding in report.repaired
        if finding.file.startswith(f"{PARTITIONS}/") and finding.file.endswith(LOG)
    )


def whole_end(log: PartitionLog, lost: AbstractSet[str]) -> Offset:
    """Return the offset up to which a log is whole: where the first of its lost files begins."""
    if lost:
        for segment in log.segment_list:
            if segment.log_name in lost:
                return max(segment.base_offset, log.log_start)
    return log.log_end
