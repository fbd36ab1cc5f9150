"""What a simulated disk and its open files share: platter, rules of failure, trace, limits."""

from collections.abc import Callable
from threading import RLock
from typing import Final

from api.sim.faults import Faults, Operation
from api.sim.image import Image
from api.sim.platter import Platter
from api.sim.trace import Step

CAPACITY_BYTES: Final = 1 << 40
"""Size of the file system where nobody says otherwise: 1 TiB, never reached."""


class Device:
    """The state below the port.

    `before` is called with operation, name and bytes before each: it may raise, or let a simulated
    clock pass. `trace`, once it is a list, collects every change and every mark.
    """

    def __init__(self, image: Image, *, crashable: bool, capacity_bytes: int) -> None:
        """Begin with what an image holds, all of it durable."""
        self.platter = Platter(image, tracked=crashable)
        self.faults = Faults()
        self.capacity_bytes = capacity_bytes
        self.read_only = False
        self.before: Callable[[Operation, str, int], None] | None = None
        self.trace: list[Step] | None = None
        self.used_bytes = sum(map(len, image.files.values()))
        self.life = 0
        """Counts the processes that had this disk; a handle belongs to one of them."""
        self.guard = RLock()

    def announce(self, operation: Operation, name: str, size: int) -> None:
        """Tell the hook what is about to be done."""
        if self.before is not None:
            self.before(operation, name, size)

    def record(self, step: Step) -> None:
        """Add to the trace, if there is one."""
        if self.trace is not None:
            self.trace.append(step)

    def free_bytes(self) -> int:
        """Return the space left."""
        return max(0, self.capacity_bytes - self.used_bytes)

    def total_bytes(self) -> int:
        """Return the capacity."""
        return self.capacity_bytes

    def room(self, before: int, after: int, *, position: int) -> int:
        """Return how many bytes from a position on can be written if a file ends at `after`."""
        missing = after - before - self.free_bytes()
        return after - position - max(0, missing)
