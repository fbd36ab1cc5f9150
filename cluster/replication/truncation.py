"""Where two logs part, told by leader epochs only (KIP-101), also by empty ones (KIP-279).

An epoch has one leader, and a leader never appends twice at an offset; so two logs that hold a
record of the same epoch at the same offset are equal up to it. A follower says of which epoch its
last record is and where its log ends. The leader answers with the newest epoch that it has itself
and that is not newer, and with the end of that one; the follower cuts to there or to its own end of
that epoch, whichever is less, and asks again. Each answer names an older epoch or matches, so it
ends. Offsets alone, or the high watermark, decide nothing (P16): a high watermark is known late.

What goes with the records that are cut, in the same step and before anything is reported:
`PartitionLog.truncate` does it for its own part.
    the epoch table          rows that begin at or above the cut
    producer state           sequences of the batches that are gone; else their repetition would be
                             answered with an offset that somebody else has now
    append times             rows at or above the cut
    the tail                 batches in memory
    high watermark           the smaller of it and the cut
    key heads, machines      whatever was replayed speculatively is thrown away and built again
"""

from typing import NamedTuple

from cluster.peer.replica import NO_EPOCH
from cluster.replication.log_state import EpochTable, Extent
from model.ids import LeaderEpoch, Offset


class Parting(NamedTuple):
    """The newest epoch that both may have, and where it ends on the leader.

    NO_EPOCH and the leader's log start: nothing of the follower's log is worth keeping.
    """

    epoch: LeaderEpoch
    end_offset: Offset


def parting(
    table: EpochTable, extent: Extent, *, last_epoch: LeaderEpoch, log_end: Offset
) -> Parting | None:
    """Return where a follower's log parts from the leader's; None if it is a beginning of it.

    `table`, `extent`: the leader's; as the log start counts the first offset of the batch that
    holds it. `last_epoch`, `log_end`: as the follower opened. A follower that ends below the
    leader's log start has nothing that can be continued.
    """
    anew = Parting(NO_EPOCH, extent.log_start)
    if last_epoch == NO_EPOCH:  # nothing is left of what was deleted: it may go on anywhere here
        return None if extent.log_start <= log_end <= extent.log_end else anew
    if log_end < extent.log_start:
        return anew
    found = table.end_of(last_epoch, extent.log_end)
    if found is None:  # all that is here is newer, and may follow on where the log begins
        return None if log_end == extent.log_start else anew
    if found.epoch == last_epoch and log_end <= found.start:
        return None
    return Parting(found.epoch, found.start)


def cut_at(table: EpochTable, extent: Extent, at: Parting) -> Offset:
    """Return where a follower's log is to end, from the leader's answer; its own end: nowhere.

    `table`, `extent`: the follower's. If it lacks the epoch, the end of its next older one counts.
    """
    own = table.end_of(at.epoch, extent.log_end)
    return min(at.end_offset, extent.log_start if own is None else own.start)
