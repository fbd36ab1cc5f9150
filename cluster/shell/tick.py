"""The end of a tick: what arrived together goes out together.

A tick is one pass of the event loop over everything that was ready. Handlers only gather: accepted
batches, finished responses. What they gathered leaves at the tick's end: one round for the writer
thread, one socket write for each connection. So a flood of small requests shares system calls and
wake-ups, and a lone request waits for nothing: no timer is involved.
"""

from collections import deque
from collections.abc import Callable


class Tick:
    """Calls that wait for the end of the current tick. Loop only."""

    __slots__ = ("_call_soon", "_calls")

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """Take the loop's `call_soon`: it runs a call after all that is ready now."""
        self._call_soon = call_soon
        self._calls: deque[Callable[[], None]] = deque()

    def at_end(self, call: Callable[[], None]) -> None:
        """Run `call` once, when everything that arrived in this tick has been handled.

        The caller asks once a tick: it keeps a flag of its own. What is asked for while the calls
        run belongs to the next tick.
        """
        self._calls.append(call)
        if len(self._calls) == 1:
            self._call_soon(self._end)

    def _end(self) -> None:
        calls, self._calls = self._calls, deque()
        try:
            while calls:
                calls.popleft()()
        finally:  # one that raises is the loop's to report; it takes no other call with it
            if calls:
                if not self._calls:
                    self._call_soon(self._end)
                self._calls.extendleft(reversed(calls))
