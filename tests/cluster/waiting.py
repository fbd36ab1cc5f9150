"""Waiting for what must come by itself, for so long and no longer."""

import asyncio
from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Final, TypeVar

T = TypeVar("T")

LOOK_S: Final = 0.1
TURN_S: Final = 0.01
"""Until a task looks again."""
PATIENCE_S: Final = 60.0
"""For what must come by itself."""


class Broken(Exception):  # noqa: N818 - says what happened
    """What must hold does not; the text has the evidence."""


class NotInTime(Broken):
    """What had to come by itself did not come."""


def until(
    look: Callable[[], T | None],
    what: str,
    *,
    patience_s: float = PATIENCE_S,
    every_s: float = LOOK_S,
) -> T:
    """Return what `look` finds, once it does: anything but None and False.

    Raises:
        NotInTime: it does not.
    """
    end = monotonic() + patience_s
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if monotonic() > end:
            raise NotInTime(f"not within {patience_s:.0f} s: {what}")
        Event().wait(every_s)


async def holds(look: Callable[[], bool], what: Callable[[], str]) -> None:
    """Wait until something holds that other tasks bring about.

    Raises:
        NotInTime: it does not; `what` says how far it is.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not look():  # noqa: ASYNC110 - what is waited for happens elsewhere
                await asyncio.sleep(TURN_S)
    except TimeoutError:
        raise NotInTime(f"not within {PATIENCE_S:.0f} s: {what()}") from None
