"""When a partition's state is written down, and what of its log may go then.

A state is frozen ahead of the high watermark, and written once the watermark has reached it: what
is lost with a leadership is never in a snapshot.

Invariants:
    STATE_SNAPSHOT_IS_COMMITTED    a snapshot holds nothing at or above the high watermark.
    STATE_TRIM_BELOW_SNAPSHOT      the log keeps whatever the older of the two snapshots lacks.
"""

from typing import Final, Generic, TypeVar

from cluster.state_partition.host import Frozen
from model.ids import Offset

RecordT = TypeVar("RecordT")
KEPT: Final = 2
"""Snapshots on disk: the newest, and the one before it in case that is damaged."""
LOG_SHARE: Final = 2
"""A start replays the newest snapshot and the log behind it; a snapshot writes the whole state. So
that neither costs more than what it stands beside, a snapshot is made once the log has grown by one
part in so many of the state: it is replayed in half the time that the state takes, and a snapshot
writes two records for each of the log, each of them about half as large as the log's."""


class SnapshotPlan(Generic[RecordT]):
    """One partition's snapshots. One is in the making at a time."""

    __slots__ = ("_every_min", "_frozen", "_held", "_kept", "_writing")

    def __init__(self, every_min: int, *, kept: tuple[Offset, ...] = (), held: int = 0) -> None:
        """Snapshot after so many records, or more where the state is large.

        What a start has found: `kept` snapshots, oldest first; `held` records in the newest.
        """
        self._every_min = every_min
        self._kept = kept
        self._held = held
        self._frozen: Frozen[RecordT] | None = None
        self._writing = False

    @property
    def kept(self) -> tuple[Offset, ...]:
        """Offsets of the snapshots that are durable, oldest first."""
        return self._kept

    @property
    def is_frozen(self) -> bool:
        """Whether a state waits for its commit, or is being written."""
        return self._frozen is not None

    @property
    def newest(self) -> Offset | None:
        """Offset of the newest snapshot that is durable."""
        return self._kept[-1] if self._kept else None

    @property
    def trim_to(self) -> Offset | None:
        """What is below it is not needed any more; None: everything is."""
        return self._kept[0] if len(self._kept) == KEPT else None

    def wants(self, end: Offset) -> bool:
        """Tell whether the state should be frozen now."""
        every = max(self._every_min, self._held // LOG_SHARE)
        return self._frozen is None and end - (self.newest or 0) >= every

    def took(self, frozen: Frozen[RecordT]) -> None:
        """Keep a frozen state until it is committed."""
        self._frozen = frozen

    def forget(self) -> None:
        """Give up what was frozen and is not committed: its leadership is over."""
        if not self._writing:
            self._frozen = None

    def due(self, high_watermark: Offset) -> Frozen[RecordT] | None:
        """Return what is to be written now, once."""
        frozen = self._frozen
        if frozen is None or self._writing or frozen.offset > high_watermark:
            return None
        self._writing = True
        return frozen

    def written(self, *, high_watermark: Offset) -> None:
        """Note that what was due is durable."""
        assert self._frozen is not None, "STATE_SNAPSHOT_IS_COMMITTED"
        offset, self._held = self._frozen.offset, len(self._frozen.records)
        assert offset <= high_watermark, "STATE_SNAPSHOT_IS_COMMITTED"
        self._frozen, self._writing = None, False
        self._kept = (*self._kept, offset)[-KEPT:]
        assert self.trim_to is None or self.trim_to < offset, "STATE_TRIM_BELOW_SNAPSHOT"
