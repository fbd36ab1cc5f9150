"""How long and how often the SDK tries before an error reaches the user.

A `Retry` is what the user chooses; a `Budget` is what one call has left of it.
"""

from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Final

from tidelog.arguments import span_of
from tidelog.clock import Clock
from tidelog.errors import TidelogError

_DOUBLINGS_MAX: Final = 16  # 2**16 times the shortest wait is beyond every longest one


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try again for `total`, waiting `initial`, then twice as long each time, up to `maximum`.

    Every wait is made up to `jitter` (0 to 1) of itself shorter, so that clients do not come back
    all at once. `total` of zero tries once.
    """

    total: timedelta = timedelta(minutes=2)
    initial: timedelta = timedelta(milliseconds=100)
    maximum: timedelta = timedelta(seconds=5)
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: a negative time, or a jitter outside 0 to 1.
            TypeError: a time that is no timedelta.
        """
        for name in ("total", "initial", "maximum"):
            span_of(f"Retry.{name}", getattr(self, name))
        if self.total < timedelta(0) or not timedelta(0) < self.initial <= self.maximum:
            raise ValueError(
                f"Retry waits from {self.initial} to {self.maximum} within {self.total}: these "
                "must be positive, the first at most the second"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"Retry.jitter is {self.jitter}, it goes from 0 to 1")

    def wait_s(self, tries: int, chance: Random) -> float:
        """Return the seconds to wait after so many tries, the first being 1."""
        longest = self.initial.total_seconds() * 2.0 ** min(max(tries - 1, 0), _DOUBLINGS_MAX)
        longest = min(longest, self.maximum.total_seconds())
        return longest * (1 - self.jitter * chance.random())


class Budget:
    """What one call has left. The time begins when it is made."""

    def __init__(self, retry: Retry, clock: Clock, chance: Random) -> None:
        """Begin."""
        self._retry = retry
        self._clock = clock
        self._chance = chance
        self._began = clock.monotonic()
        self.tries = 0

    @property
    def spent_s(self) -> float:
        """Seconds since it began."""
        return self._clock.monotonic() - self._began

    @property
    def is_single(self) -> bool:
        """Whether it allows one try and no more, however long that takes."""
        return not self._retry.total

    @property
    def left_s(self) -> float:
        """Seconds that are left; never negative."""
        return max(0.0, self._retry.total.total_seconds() - self.spent_s)

    def failed(self, failure: TidelogError, retry_after_s: float | None = None) -> float:
        """Count a try that failed; return how long to wait before the next one.

        Raises:
            TidelogError: the failure, with how long and how often; there is no time for another.
        """
        self.tries += 1
        wait_s = self._retry.wait_s(self.tries, self._chance)
        if retry_after_s is not None:
            wait_s = max(wait_s, retry_after_s)
        if self.left_s <= wait_s:
            raise failure.after(gave_up(self.spent_s, self.tries)) from failure
        return wait_s


def gave_up(spent_s: float, tries: int) -> str:
    """Return the words: `gave up after 120 s and 31 tries`."""
    many = "1 try" if tries == 1 else f"{tries} tries"
    spent = f"{spent_s:.0f} s" if spent_s >= 10 else f"{spent_s:.1f} s"
    return f"gave up after {spent} and {many}"
