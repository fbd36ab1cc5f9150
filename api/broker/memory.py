"""How many bytes the node holds for requests, and what happens above the budget (P53).

Counted are batches that were accepted and are not yet on the disk. Doors stop reading their sockets
while the node is congested and go on when it has relief; what arrives all the same is shed with
OVERLOADED, *not done*. So a slow disk costs waiting, never memory.

Invariants:
    MEMORY_NEVER_NEGATIVE    nothing is given back that was not taken.
"""

from collections.abc import Callable

from model.errors import ErrorCode, RequestError


class MemoryBudget:
    """Bytes taken against a limit; plain arithmetic and a list of those who wait."""

    __slots__ = ("_limit_bytes", "_relieved", "_taken_bytes")

    def __init__(self, limit_bytes: int) -> None:
        """Start with nothing taken."""
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._relieved: list[Callable[[], None]] = []

    @property
    def taken_bytes(self) -> int:
        """Bytes that are held now."""
        return self._taken_bytes

    @property
    def congested(self) -> bool:
        """Three quarters are taken: do not read more requests in."""
        return self._taken_bytes * 4 >= self._limit_bytes * 3

    def check(self, size_bytes: int) -> None:
        """Refuse what does not fit.

        Raises:
            RequestError: OVERLOADED, with the limit; retryable in a moment.
        """
        if self._taken_bytes + size_bytes > self._limit_bytes and self._taken_bytes:
            raise RequestError(
                ErrorCode.OVERLOADED,
                f"{self._taken_bytes} bytes wait for the disk, the budget is {self._limit_bytes}",
                taken_bytes=str(self._taken_bytes),
                limit_bytes=str(self._limit_bytes),
            )

    def take(self, size_bytes: int) -> None:
        """Count bytes that are held from now on."""
        self._taken_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count bytes that were let go; tell those who wait when there is room again."""
        self._taken_bytes -= size_bytes
        assert self._taken_bytes >= 0, "MEMORY_NEVER_NEGATIVE"
        if self._relieved and not self.congested:
            calls, self._relieved = self._relieved, []
            for call in calls:
                call()

    def when_relieved(self, call: Callable[[], None]) -> None:
        """Call once when the node is no longer congested."""
        self._relieved.append(call)
