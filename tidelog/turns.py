"""Turns of the event loop for everybody else, between records that come without waiting."""

import asyncio
from typing import Final

from tidelog.clock import Clock

TURN_EVERY_S: Final = 0.05
"""Heartbeats, commits and cancellation wait no longer than this for a program that awaits nothing
itself, or than it takes for one record."""
TURNS: Final = 8
"""As many as a word takes from the timer that wanted it to the wire, and some more."""


class Turns:
    """Those of one consumer, whose program may be all that its event loop runs.

    Records that are here come without waiting. A program whose body awaits nothing either would
    keep its own heartbeats and commits from going out for as long as there are some.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin when others have just had theirs."""
        self._clock = clock
        self._given_s = clock.monotonic()

    def waited(self) -> None:
        """Note that somebody has waited, and everybody else had a turn meanwhile."""
        self._given_s = self._clock.monotonic()

    async def give(self) -> bool:
        """Let everybody else have turns, if the last ones were some time ago; tell whether so."""
        if self._clock.monotonic() - self._given_s < TURN_EVERY_S:
            return False
        for _ in range(TURNS):
            await asyncio.sleep(0)  # noqa: TID251 - turns of the loop; no time is waited for
        self.waited()
        return True
