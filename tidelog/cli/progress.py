"""Progress on stderr: after a second, on a terminal only, gone when the command ends.

    [=========>           ]  45 %  152003 records read  8120/s  23 s left

Nobody sees it who reads JSON, or has sent stderr into a file, or said `--no-progress`; nor does it
mix with records on the same terminal.
"""

import os
import stat
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

if TYPE_CHECKING:
    from tidelog.cli.run import Run

FIRST_S: Final = 1.0
EVERY_S: Final = 0.5
CLEAR: Final = "\r\x1b[K"
BAR: Final = 20
"""Columns of the bar: with everything else a line stays below 80."""

Share: TypeAlias = Callable[[], float | None]
"""How much of the work is done, 0 to 1; None: nobody knows how much there is."""


class Progress:
    """A line that counts, with a bar where the end is known."""

    def __init__(
        self,
        run: "Run",
        what: str,
        *,
        share: Share | None = None,
        now: Callable[[], float] = time.monotonic,  # noqa: TID251 - the terminal's door
    ) -> None:
        """Take what is counted (`records read`); `share` is asked each time a line is drawn."""
        self._run = run
        self._what = what
        self.share = share
        self._now = now
        self._shown = False
        self._began_s = now()
        self._due_s = self._began_s + FIRST_S
        seen = run.stderr.isatty() and not run.stdout.isatty()
        self._wanted = run.progress and seen and not run.is_json

    def show(self, count: int) -> None:
        """Show how far it is, if it is time to."""
        if self._wanted and self._now() >= self._due_s:
            self._due_s = self._now() + EVERY_S
            self._shown = True
            self._run.stderr.write(CLEAR + self._line(count))
            self._run.stderr.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            self._run.stderr.write(CLEAR)
            self._run.stderr.flush()

    def _line(self, count: int) -> str:
        spent_s = self._now() - self._began_s
        told = f"{count} {self._what}  {count / spent_s:.0f}/s"
        share = None if self.share is None else self.share()
        if share is None:
            return told
        share = min(max(share, 0.0), 1.0)
        full = int(share * BAR)
        arrow = ">" if full < BAR else ""
        bar = f"[{'=' * full}{arrow}{' ' * (BAR - full - len(arrow))}]"
        left = f"  {spent_s / share - spent_s:.0f} s left" if 0 < share < 1 else ""
        return f"{bar} {share * 100:3.0f} %  {told}{left}"


def share_of_file(stream: BinaryIO) -> Share | None:
    """Return how much of an input was read; None: it is no file, and ends when it ends."""
    try:
        descriptor = stream.fileno()
        about = os.fstat(descriptor)
        begun = os.lseek(descriptor, 0, os.SEEK_CUR)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(about.st_mode) or about.st_size <= begun:
        return None
    size = about.st_size - begun
    return lambda: (os.lseek(descriptor, 0, os.SEEK_CUR) - begun) / size
