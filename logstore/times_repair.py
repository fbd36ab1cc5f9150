"""Append times for batches whose row was lost on every copy: guessed, bounded, and reported (P37).

The guess is the running maximum of the timestamps that the batches claim, rounded down to a tick,
and never outside what the rows before and after allow; when the last batch was appended is known
without its row. Leader epochs are not guessed: each batch carries its own. No checksum covers it,
but epochs rise along the log: one that cannot stand between its neighbours' is damage as well.
There, and where batches are lost, the epoch before goes on; where they are lost up to the segment's
end, it is told.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from logstore.append_clock import TICK_MS
from logstore.leader_epochs import UNBOUNDED, EpochBounds
from logstore.times import DecodedTimes, Times, TimesRow
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from model.record import BatchHeader


class Repaired(NamedTuple):
    """The rows of a segment, and which of its batches have a guessed append time."""

    times: Times
    guessed: tuple[Offset, Offset] | None
    """Between these base offsets lies every one of them."""
    lost_from: Offset | None = None
    """The last batches cannot be read, and their rows are missing; here begins the first batch that
    has lost one of both. None: the end is there."""


def repair(
    decoded: DecodedTimes,
    batches: Iterable[BatchHeader],
    *,
    floor: AppendTimeMs,
    ceiling: AppendTimeMs,
    end: Offset,
    epochs: EpochBounds = UNBOUNDED,
) -> Repaired:
    """Return rows for all batches of the segment, in the order of the log.

    `floor`: no batch of the segment is older, such as the last append time of the one before.
    `ceiling`: none is newer, and the last one, which ends at `end`, is of that time. Where the
    batches stop early, before damage, the rows behind it stay, and reach that time too: whoever
    looks such a time up is led to the damage, and told of it. What may begin where a row is missing
    among them counts as guessed: an index file may still lead readers to it.

    `epochs`: what is known of the segment's without its rows.
    """
    times = Times(decoded.times.base_offset)
    guessed: list[Offset] = []
    holes: list[Offset] = []
    rows = _Rows(decoded, floor, ceiling, epoch_ceiling=epochs.ceiling)
    newest = TimesRow(times.base_offset, LeaderEpoch(-1), floor)
    reached = times.base_offset
    for header, following in _with_next(batches):
        offset = header.base_offset
        for row in rows.before(offset):  # of batches that are passed over: this one's offset lies
            newest = _add(times, row, newest)
        holes += rows.missing(reached, offset)
        reached = header.end_offset
        known = rows.known(offset)
        if known is None:
            guessed.append(offset)
            claimed = header.event_time_max // TICK_MS * TICK_MS
            time = max(newest.append_time, min(claimed, rows.ceiling))
            if header.end_offset == end:
                time = max(time, rows.ceiling)
            least = max(newest.leader_epoch, epochs.floor)
            epoch = _epoch(header, following, floor=least, ceiling=rows.epoch_ceiling)
            known = TimesRow(offset, epoch, AppendTimeMs(time))
        newest = _add(times, known._replace(offset=offset), newest)
    for row in rows.rest():
        newest = _add(times, row, newest)
    last = Offset(end - 1)
    if not len(times) and times.base_offset <= last:
        # Neither a row nor a batch can be read: there are two times, or one.
        time = floor if times.base_offset < last else rows.ceiling
        newest = TimesRow(times.base_offset, epochs.floor, time)
        times.append(*newest)
    if newest.append_time < rows.ceiling and newest.offset < last:
        times.append(last, newest.leader_epoch, rows.ceiling)
    unread = rows.missing(reached, end)
    stretch = [*guessed[:1], *guessed[-1:], *holes, *unread]
    lost_from = (*guessed, reached)[0] if unread and max(unread) == last else None
    return Repaired(times, (min(stretch), max(stretch)) if stretch else None, lost_from)


def _with_next(
    batches: Iterable[BatchHeader],
) -> Iterator[tuple[BatchHeader, BatchHeader | None]]:
    """Yield each batch, and the one behind it."""
    before: BatchHeader | None = None
    for header in batches:
        if before is not None:
            yield before, header
        before = header
    if before is not None:
        yield before, None


def _epoch(
    header: BatchHeader,
    following: BatchHeader | None,
    *,
    floor: LeaderEpoch,
    ceiling: LeaderEpoch,
) -> LeaderEpoch:
    """Return the epoch of a batch without a row: its own, if the neighbours do not contradict it.

    `following` says its own as well, without a row perhaps: one below `floor` says nothing. Of two
    that contradict each other the one behind is believed: one too low costs a few batches, which
    other replicas have; one too high would be that of everything behind it.
    """
    if following is not None and following.leader_epoch >= floor:
        ceiling = min(ceiling, following.leader_epoch)
    floor = min(floor, ceiling)
    return header.leader_epoch if floor <= header.leader_epoch <= ceiling else floor


def _add(times: Times, row: TimesRow, newest: TimesRow) -> TimesRow:
    """Note a row behind the newest one; but first where the segment begins, if no row does.

    An index file may know batches there, and whoever reads them asks for their times.
    """
    if not len(times) and row.offset > times.base_offset:
        epoch, time = (
            min(LeaderEpoch(0), row.leader_epoch),
            min(newest.append_time, row.append_time),
        )
        times.append(times.base_offset, epoch, time)
    row = row._replace(leader_epoch=max(newest.leader_epoch, row.leader_epoch))
    times.append(*row)
    return row


class _Rows:
    """The rows that are left, and behind which of them some are missing."""

    def __init__(
        self,
        decoded: DecodedTimes,
        floor: AppendTimeMs,
        ceiling: AppendTimeMs,
        *,
        epoch_ceiling: LeaderEpoch,
    ) -> None:
        self._rows = list(decoded.times.rows())
        # A damaged row stood behind as many whole ones as its number less the damaged before it.
        self._gaps = {number - before for before, number in enumerate(decoded.damaged)}
        self._ceiling = max(floor, ceiling)
        self._epoch_ceiling = epoch_ceiling
        self._next = 0

    def before(self, offset: Offset) -> Iterator[TimesRow]:
        """Yield the rows below a batch that begin behind the one that was asked for last."""
        while self._next < len(self._rows) and self._rows[self._next].offset < offset:
            self._next += 1
            yield self._rows[self._next - 1]

    def known(self, offset: Offset) -> TimesRow | None:
        """Return the row that surely covers a batch. Offsets rise from call to call."""
        while self._next < len(self._rows) and self._rows[self._next].offset <= offset:
            self._next += 1
        if self._next == 0:
            return None
        row = self._rows[self._next - 1]
        return row if row.offset == offset or self._next not in self._gaps else None

    def rest(self) -> Iterator[TimesRow]:
        """Yield the rows behind the batch that was asked for last."""
        while self._next < len(self._rows):
            self._next += 1
            yield self._rows[self._next - 1]

    def missing(self, start: Offset, end: Offset) -> list[Offset]:
        """Return the bounds of where in [start, end) a batch may begin whose row is missing."""
        bounds = list[Offset]()
        for gap in self._gaps:
            first = max(start, Offset(self._rows[gap - 1].offset + 1)) if gap else start
            last = Offset(min(end, self._rows[gap].offset if gap < len(self._rows) else end) - 1)
            if first <= last:
                bounds += first, last
        return bounds

    @property
    def ceiling(self) -> AppendTimeMs:
        """The latest append time that the batch asked for last can have."""
        if self._next < len(self._rows):
            return self._rows[self._next].append_time
        return self._ceiling

    @property
    def epoch_ceiling(self) -> LeaderEpoch:
        """The latest leader epoch that it can have."""
        if self._next < len(self._rows):
            return self._rows[self._next].leader_epoch
        return self._epoch_ceiling
