"""The leader's clock for append times: ticks of 10 ms that never fall, whatever the date does.

It follows monotonic progress from an anchor and leans towards the wall clock by at most 5 % of it
(P39). A wall clock that is more than a minute off is not believed: the time goes on by itself and
says that it is in doubt. Only a start takes the date as it is, and never below the floor.

Invariants:
    MONOTONIC_NEVER_FALLS     the port keeps its word; nothing here depends on the date alone.
    APPEND_TIME_NEVER_FALLS   neither within a run nor over a restart.
    CLOSED_TIME_IS_READ       what is told closed was read before, and is reserved on the disk.
    RESERVED_TIME_RISES       a reservation is never taken back.
"""

from typing import Final

from model.ids import AppendTimeMs, MonotonicMs, WallMs

TICK_MS: Final = 10
"""All batches of a tick share their append time."""
JUMP_MS: Final = 60_000
"""A wall clock further off than this is not followed."""
RESERVE_MS: Final = 2_000
"""So far ahead the closed time is reserved in the journal: entry CLOCK. After a crash the time goes
on from there: less means a round of the journal more often, more a time further ahead (0010)."""
_RESERVE_LEFT_MS: Final = RESERVE_MS // 2
_SLEW_US_PER_MS: Final = 50  # 5 %
_US_PER_MS: Final = 1_000
_TICK_US: Final = TICK_MS * _US_PER_MS


class AppendClock:
    """One node's append clock; pure: the caller reads both clocks of its `Clock` and hands them in.

    `floor` is the highest append time that was ever used or reserved in the log directory. The
    first time read lies above it, and so above everything that was ever told closed.
    """

    __slots__ = (
        "_asked",
        "_last",
        "_monotonic",
        "_reserved",
        "_time_us",
        "_told_us",
        "in_doubt",
        "stepped_ms",
    )

    def __init__(
        self,
        floor: AppendTimeMs,
        wall: WallMs,
        monotonic: MonotonicMs,
        *,
        reserved: AppendTimeMs,
    ) -> None:
        """Start at the date, or just above the floor if the date lies below it.

        `reserved`: what the disk will say after a crash, whatever happens until then; after a clean
        stop that may be less than the floor, or more.
        """
        start = max(floor + TICK_MS, wall)
        self._time_us = start * _US_PER_MS
        self._monotonic = monotonic
        """When `_time_us` was the time."""
        self._told_us = 0
        self._last = _tick(self._time_us)
        self._reserved = self._asked = reserved
        self.stepped_ms = start - wall
        """How far the start is ahead of the date; worth a warning when it is more than a little."""
        self.in_doubt = self.stepped_ms > JUMP_MS
        """The wall clock is more than a minute off; retention by age waits (P39)."""

    def read(self, monotonic: MonotonicMs, wall: WallMs) -> AppendTimeMs:
        """Return the append time of what is appended now."""
        passed_ms = monotonic - self._monotonic
        assert passed_ms >= 0, "MONOTONIC_NEVER_FALLS"
        self._monotonic = monotonic
        # What was told since the last look was read since: no time passes on top of it.
        time_us = max(self._time_us + passed_ms * _US_PER_MS, self._told_us)
        behind_us = wall * _US_PER_MS - time_us
        self.in_doubt = abs(behind_us) > JUMP_MS * _US_PER_MS
        if not self.in_doubt:
            slew_us = passed_ms * _SLEW_US_PER_MS
            time_us += max(-slew_us, min(behind_us, slew_us))
        self._time_us = max(time_us, self._told_us)
        now = _tick(self._time_us)
        assert now >= self._last, "APPEND_TIME_NEVER_FALLS"
        self._last = now
        return now

    @property
    def floor(self) -> AppendTimeMs:
        """What a clean stop writes: nothing was appended, or told closed, above it."""
        return self._last

    @property
    def reserved_until(self) -> AppendTimeMs:
        """Below this, no later start stamps anything; durable."""
        return self._reserved

    def not_below(self, time: AppendTimeMs) -> None:
        """Read no less than this from here on: another node has told it, or stamped with it."""
        self._told_us = max(self._told_us, time * _US_PER_MS)
        self._last = max(self._last, _tick(self._told_us))

    def needs_reserve(self, now: AppendTimeMs) -> bool:
        """Tell whether `reserve_until` should go into the journal with the next round.

        What is on its way to the disk counts: it need not be asked for again.
        """
        return self._asked - now < _RESERVE_LEFT_MS

    def reserve_until(self, now: AppendTimeMs) -> AppendTimeMs:
        """Return the time to reserve: a floor for every later start.

        Never less than before: the last one may be on its way to the disk, and `now` may be what
        another node told, whose clock is behind.
        """
        self._asked = max(self._asked, AppendTimeMs(now + RESERVE_MS))
        return self._asked

    def reserved(self, until: AppendTimeMs) -> None:
        """Note a reservation, once its journal entry is durable."""
        assert until >= self._reserved, "RESERVED_TIME_RISES"
        self._reserved = until

    def closed_time(self, now: AppendTimeMs) -> AppendTimeMs:
        """Return the time C such that nothing appended from here on lies below it.

        `now` is what `read` returned last. Ever: a later start begins above what is reserved.
        """
        assert now <= self._last, "CLOSED_TIME_IS_READ"
        return min(now, self._reserved)


def _tick(time_us: int) -> AppendTimeMs:
    return AppendTimeMs(time_us // _TICK_US * TICK_MS)
