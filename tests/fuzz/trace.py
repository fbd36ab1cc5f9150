"""What a fuzzing process leaves for the one that watches it, also when it dies or hangs.

A mapped file: the numbers below, then the input that is being read.
"""

import mmap
import struct
from pathlib import Path
from typing import Final, NamedTuple

from tests.fuzz.mutation import INPUT_BYTES_MAX

_HEAD: Final = struct.Struct(">QQQQQI")
FILE_BYTES: Final = _HEAD.size + INPUT_BYTES_MAX


class Progress(NamedTuple):
    """How far a process has come."""

    executions: int = 0
    slowest_ns: int = 0
    """CPU time of the slowest input."""
    growth_bytes: int = 0
    """Resident memory at its highest, above what it was before the first input."""
    paths: int = 0
    """Steps between lines of our code that inputs took."""
    kept: int = 0
    """Inputs that took a new one."""


class Trace:
    """The mapped file, of either side."""

    def __init__(self, path: Path) -> None:
        """Map a file, which is made if it is absent."""
        with path.open("a+b") as file:
            file.truncate(FILE_BYTES)
            self._map = mmap.mmap(file.fileno(), FILE_BYTES)

    def begin(self, data: bytes, progress: Progress) -> None:
        """Note an input before it is read."""
        _HEAD.pack_into(self._map, 0, *progress, len(data))
        self._map[_HEAD.size : _HEAD.size + len(data)] = data

    @property
    def progress(self) -> Progress:
        """What was noted last."""
        return Progress(*_HEAD.unpack_from(self._map)[:-1])

    @property
    def input(self) -> bytes:
        """The input that was begun last."""
        size = _HEAD.unpack_from(self._map)[-1]
        return self._map[_HEAD.size : _HEAD.size + size]
