"""What a member of the controller quorum needs of the world."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from cluster.raft.entry_log import DIRECTORY
from cluster.raft.messages import Message
from model.errors import StorageFailed
from model.ports import Clock, Disk, Rand

ResultT = TypeVar("ResultT")

Send: TypeAlias = Callable[[Message], None]
"""Puts a message on its way to `message.to.node`; it may be lost. It never raises."""


class RunBlocking(Protocol):
    """Runs a job that waits for the disk, off the loop; the tests' own runs it at once."""

    def __call__(self, job: Callable[[], ResultT], /) -> Awaitable[ResultT]:
        """Return the job's result, or raise what it raised."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Disk, time, chance, a thread that may wait, and the way to the other members."""

    disk: Disk
    clock: Clock
    rand: Rand
    run_blocking: RunBlocking
    send: Send | None = None
    """None: a node without peers, which is its own quorum or does not start."""


def storage_failed(error: OSError) -> StorageFailed:
    """Return how the node is told that the disk refused."""
    return StorageFailed(str(error.filename or DIRECTORY), error.errno or 0, "write metadata")
