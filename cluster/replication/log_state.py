"""A replica's log as the cores are given it: offsets, and the table of its leader epochs."""

from typing import NamedTuple, Protocol

from cluster.replication.high_watermark import Ends
from logstore.leader_epochs import EpochStart
from model.ids import LeaderEpoch, Offset


class EpochTable(Protocol):
    """Which epoch began where: `logstore.leader_epochs.LeaderEpochs`; its rows are read only."""

    @property
    def latest(self) -> LeaderEpoch | None:
        """The epoch of the newest record; None while there is none."""
        ...

    @property
    def lost_from(self) -> Offset | None:
        """From here on nothing tells of which epochs batches were, and nobody has spoken for them.

        None: the end is there.
        """
        ...

    def believe(self) -> None:
        """Take the table as it is: the leader's log has this one's end."""
        ...

    def end_of(self, epoch: LeaderEpoch, log_end: Offset) -> EpochStart | None:
        """Return the greatest epoch at or below `epoch`, and where it ends in this log."""
        ...


class Extent(NamedTuple):
    """From where to where a log goes."""

    log_start: Offset
    log_end: Offset


class LogState(NamedTuple):
    """A log when its replica begins to lead or to follow."""

    ends: Ends
    epochs: EpochTable
    """The log's own: it follows appends and cuts by itself."""
    log_start: Offset
    high_watermark: Offset
    """As this replica was last told, or as the checkpoint has it."""
    settled_end: Offset
    """As `Persisted` tells it."""
    being_cut: bool = False
    """A truncation is not durable yet: whoever asked for it is gone, its end is still to come."""
