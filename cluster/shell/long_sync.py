"""Looks whether a round is written whose sync takes long, for those who wait for what is written.

The loop hears of a round when it is synced. Most syncs are over before anybody could be told of
anything; a slow disk's are not, and what is written already counts for something elsewhere: for a
leader that waits for all replicas in sync to have written a record, and for as many as it must to
have flushed it. So a round leaves a note when it is written, in its thread, and the loop looks for
it when the round has taken some time. One timer serves all rounds: while they are short, it goes
off without finding anything, once in a while.
"""

from collections.abc import Callable
from typing import Final

from model.ids import MonotonicMs
from model.ports import Clock

LONG_MS: Final = 3
"""A sync that takes longer is worth telling before its end; by a clock of whole milliseconds."""


class RoundUnderWay:
    """One round: what its thread notes of it, and the loop reads."""

    __slots__ = ("began", "told", "written")

    def __init__(self, began: MonotonicMs) -> None:
        """Begin, not written."""
        self.began = began
        self.written = False
        """Set in the thread, once; from then on a kill loses nothing of the round."""
        self.told = False


class LongSync:
    """See the module. Loop only."""

    def __init__(self, clock: Clock, written: Callable[[], None]) -> None:
        """`written` is called once for a round that takes long and is written."""
        self._clock = clock
        self._written = written
        self._round: RoundUnderWay | None = None
        self._looks = False

    def begin(self, now: MonotonicMs) -> RoundUnderWay:
        """Look after a round that begins; return where its thread is to note what it has done."""
        self._round = under_way = RoundUnderWay(now)
        if not self._looks:
            self._look_at(MonotonicMs(now + LONG_MS))
        return under_way

    def end(self) -> None:
        """The round has ended, in whichever way: nothing more is told of it."""
        self._round = None

    def _look_at(self, when: MonotonicMs) -> None:
        self._looks = True
        self._clock.call_at(when, self._look)

    def _look(self) -> None:
        self._looks = False
        under_way = self._round
        if under_way is None or under_way.told:
            return  # the next one that begins is looked after
        now = self._clock.monotonic_ms()
        due = MonotonicMs(under_way.began + LONG_MS)
        if now < due:  # of a round that began meanwhile
            self._look_at(due)
        elif not under_way.written:
            self._look_at(MonotonicMs(now + LONG_MS))
        else:
            under_way.told = True
            self._written()
