"""What one partition takes at the end of a tick: batches appended in order, and who hears of which.

Batches that say no more than their records are appended all at once; the others one by one, behind
those that came before them.
"""

from api.broker.acks import Accepted, Acks, Done
from cluster.shell.hosted_partition import HostedPartition
from logstore.event_bounds import Bounds
from logstore.producer_state import Duplicate
from model.ids import AppendTimeMs


class Taking:
    """One tick of one partition: begun, filled, ended. Loop only."""

    __slots__ = ("_before", "_epoch", "_log", "_now", "_rows", "partition", "plain")

    def __init__(self, partition: HostedPartition, now: AppendTimeMs) -> None:
        """Append to a partition under one append time."""
        self.partition = partition
        self._log, self._epoch, self._now = partition.log, partition.leader_epoch, now
        self._before = partition.log.log_end
        self._rows: list[Accepted] = []
        self.plain: list[bytearray] = []
        """Batches of the newest row that are still to be appended; whoever adds one has added to
        `told` whom to tell."""

    def begin(self, acks: Acks, timeout_ms: int) -> Accepted:
        """Return a row for those who wait for the same; the one before is whole."""
        self._end_row()
        row = Accepted(self.partition, self._now, (acks, timeout_ms))
        self._rows.append(row)
        return row

    def append_plain(self) -> None:
        """Append what is still to be appended."""
        if self.plain:
            self._rows[-1].offsets += self._log.append_plain(self.plain, self._epoch, self._now)
            self.plain = []

    def append_one(self, batch: bytearray, bounds: Bounds | None) -> None:
        """Append a batch that is not like the others, behind them. `bounds`: its event times."""
        self.append_plain()
        offset = self._log.append_one(batch, self._epoch, self._now, bounds=bounds)
        self._rows[-1].offsets.append(offset)

    def repeated(self, known: Duplicate, acks: Acks, timeout_ms: int, *, done: Done) -> None:
        """Let somebody wait for a batch that is in the log already.

        Acks leave in offset order: one for a batch that is still on its way waits with the newest.
        The first write's own ack is parked at its true end.
        """
        row = self.begin(acks, timeout_ms)
        row.repeats(known, done)
        committed = known.end_offset <= self.partition.high_watermark
        row.end_offset = known.end_offset if committed else self._log.log_end

    def end(self) -> list[Accepted]:
        """Append the rest; return the rows, in the order in which they wait."""
        self._end_row()
        if self._log.log_end > self._before:
            self.partition.appended(self._log.log_end, self._now)
        return self._rows

    def _end_row(self) -> None:
        self.append_plain()
        if self._rows and not self._rows[-1].duplicate:
            self._rows[-1].end_offset = self._log.log_end
