"""What goes wrong with a simulated disk, on request: rules that operations are held against."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, unique


@unique
class Operation(Enum):
    """What a caller asks of a disk, as fault rules and hooks name it."""

    OPEN = "open"
    READ = "read"
    WRITE = "write"
    RESIZE = "truncate"
    SYNC = "fdatasync"
    NAMES = "names"
    """Creations, renames and removals."""
    SYNC_DIRECTORY = "sync_directory"
    LIST = "list"


@dataclass(slots=True)
class Fault:
    """The next `times` operations of a kind on names with a prefix fail, after `skip` of them."""

    operation: Operation
    prefix: str = ""
    error: int = errno.EIO
    skip: int = 0
    times: int | None = 1
    """None: for ever."""
    arrived: int = 0
    """Of a failed write, the bytes that were written before it failed."""
    start: int = 0
    end: int | None = None
    """Only reads that touch these bytes; None: to the end of the file."""

    def strikes(self, operation: Operation, name: str, *, start: int, size: int) -> bool:
        """Tell whether this operation fails; count it if the rule is about it."""
        if operation is not self.operation or not name.startswith(self.prefix):
            return False
        if start + size <= self.start or (self.end is not None and start >= self.end):
            return False
        if self.times == 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


@unique
class Lie(Enum):
    """What a device does with a write that it reports as done."""

    LOST = "lost"
    MISDIRECTED = "misdirected"


@dataclass(slots=True)
class LyingWrite:
    """The next write to a name is reported as done and synced, but never reaches its place."""

    name: str
    lie: Lie
    sectors_off: int = 0
    """How far a misdirected write lands from its place."""


class Faults:
    """The rules that hold now."""

    def __init__(self) -> None:
        """Begin with a disk without fault."""
        self._rules: list[Fault] = []
        self._lies: list[LyingWrite] = []
        self.struck = 0
        """Operations that failed by a rule: a test that asked for a fault asserts it."""

    def add(self, rule: Fault) -> None:
        """Let a rule hold until it is used up."""
        self._rules.append(rule)

    def lie(self, rule: LyingWrite) -> None:
        """Let the device lie about one write."""
        self._lies.append(rule)

    def clear(self) -> None:
        """Let the disk be well again."""
        self._rules.clear()
        self._lies.clear()

    def strike(
        self, operation: Operation, name: str, *, start: int = 0, size: int = 1
    ) -> Fault | None:
        """Return the rule by which this operation fails, if there is one."""
        for rule in self._rules:
            if rule.strikes(operation, name, start=start, size=size):
                self.struck += 1
                return rule
        return None

    def lie_about(self, name: str) -> LyingWrite | None:
        """Return the lie that the next write of a file meets, once."""
        for rule in self._matching(name):
            self._lies.remove(rule)
            self.struck += 1
            return rule
        return None

    def _matching(self, name: str) -> Iterator[LyingWrite]:
        return (rule for rule in list(self._lies) if rule.name == name)


def failed(error: int, name: str) -> OSError:
    """Return the error that the system would raise."""
    return OSError(error, os.strerror(error), name)
