"""Stored batches together with when the leader took them."""

from collections.abc import Sequence
from typing import NamedTuple

from logstore.searchable import (
    Search,
    SearchableLog,
    SegmentGone,
    Visible,
    overlapping,
    read_times,
)
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from model.record import BatchHeader, iter_batches


class StoredBatch(NamedTuple):
    """One batch as it lies in the log, and its append time, which is kept beside it."""

    view: memoryview
    base_offset: Offset
    end_offset: Offset
    leader_epoch: LeaderEpoch
    append_time: AppendTimeMs


def append_runs(
    log: SearchableLog,
    buffers: Sequence[bytes | bytearray | memoryview],
    *,
    start: Offset,
    end: Offset,
) -> Search[list[StoredBatch]]:
    """Return the batches of `buffers`, which hold offsets from `start` to `end`, in order.

    Raises:
        SegmentGone: some of it was removed meanwhile; nobody knows its append times any more.
    """
    known = []
    for segment in overlapping(log, Visible(start, end)):
        times = yield from read_times(segment)
        known.append((segment.base_offset, segment.end_offset, times))
    slot = 0
    stored: list[StoredBatch] = []
    for buffer in buffers:
        for view in iter_batches(memoryview(buffer)):
            header = BatchHeader.of_checked(view)
            while slot + 1 < len(known) and header.base_offset >= known[slot][1]:
                slot += 1
            if not known or not known[slot][0] <= header.base_offset < known[slot][1]:
                raise SegmentGone
            stored.append(
                StoredBatch(
                    view,
                    header.base_offset,
                    header.end_offset,
                    header.leader_epoch,
                    known[slot][2].at(header.base_offset).append_time,
                )
            )
    return stored
