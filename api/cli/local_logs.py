"""What the nodes of `tidelog local` have printed, and what they go on to print."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidelog.clock import SystemClock

CHUNK_BYTES: Final = 64 << 10
LOOK_S: Final = 0.2
"""Between two looks at files that are followed."""

Line = tuple[int, str]
"""The number of a node, and a line of its log."""


def tail(file: Path, lines: int) -> tuple[list[str], int]:
    """Return the last whole lines of a file, and where it ended then, in bytes."""
    try:
        with file.open("rb") as log:
            end = place = log.seek(0, os.SEEK_END)
            content = b""
            while place > 0 and content.count(b"\n") <= lines:
                size = min(CHUNK_BYTES, place)
                place -= size
                log.seek(place)
                content = log.read(size) + content
    except FileNotFoundError:
        return [], 0
    whole, _, begun = content.rpartition(b"\n")
    found = whole.decode("utf-8", "replace").splitlines() if whole else []
    return found[-lines:] if lines else [], end - len(begun)


def put_aside(file: Path) -> Path:
    """Return where a log is put that has become long: its older half."""
    return file.with_suffix(".log.1")


@dataclass(slots=True)
class Followed:
    """A log that grows, and is now and then put aside for a new one."""

    number: int
    file: Path
    place: int
    """How far it was read, in bytes: always to the end of a line."""
    inode: int | None = None
    """Which file that was; None: it was not looked at yet."""

    def more(self) -> Iterator[Line]:
        """Yield the whole lines that have been added, also before it was put aside."""
        try:
            found = self.file.stat()
        except FileNotFoundError:  # it is just put aside, or deleted
            return
        if self.inode not in {None, found.st_ino} or found.st_size < self.place:  # a new one
            yield from self._added(put_aside(self.file))
            self.place = 0
        self.inode = found.st_ino
        yield from self._added(self.file)

    def _added(self, file: Path) -> Iterator[Line]:
        try:
            with file.open("rb") as log:
                log.seek(self.place)
                content = log.read()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self.place += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            yield self.number, line


def follow(logs: Sequence[Followed], show: Callable[[Line], None]) -> None:
    """Show every line that is added, until Ctrl-C."""

    async def watch() -> None:
        clock = SystemClock()
        while True:
            for log in logs:
                for line in log.more():
                    show(line)
            await clock.sleep(LOOK_S)

    asyncio.run(watch())
