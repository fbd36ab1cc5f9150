"""Progress on stderr: after a second, on a terminal only, gone when the command ends."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tidelog.cli.run import Run

FIRST_S: Final = 1.0
EVERY_S: Final = 0.5
CLEAR: Final = "\r\x1b[K"


class Progress:
    """A line that counts."""

    def __init__(
        self,
        run: "Run",
        what: str,
        *,
        now: Callable[[], float] = time.monotonic,  # noqa: TID251 - the terminal's door
    ) -> None:
        """Take what is counted: `records read`."""
        self._run = run
        self._what = what
        self._now = now
        self._shown = False
        self._due_s = now() + FIRST_S
        self._wanted = run.progress and run.stderr.isatty() and not run.stdout.isatty()

    def show(self, count: int) -> None:
        """Show how far it is, if it is time to."""
        if self._wanted and self._now() >= self._due_s:
            self._due_s = self._now() + EVERY_S
            self._shown = True
            self._run.stderr.write(f"{CLEAR}{count} {self._what}")
            self._run.stderr.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            self._run.stderr.write(CLEAR)
            self._run.stderr.flush()
