"""How much a member may be sent: credit in records and in bytes, as the reader grants it.

A reader that does not read grants nothing, and nothing piles up for it. Batches are sent whole: the
last one may be larger than what was left, once; the debt is paid from the next grant.
"""

from typing import Final

CREDIT_MAX: Final = (1 << 31) - 1
"""Of each kind at once: what one grant on the wire can say. More is no more than that."""


class Credits:
    """What one reader has granted and not yet been sent."""

    __slots__ = ("_bytes", "_records")

    def __init__(self, *, records: int = 0, size_bytes: int = 0) -> None:
        """Start with a first grant."""
        self._records = 0
        self._bytes = 0
        self.grant(records=records, size_bytes=size_bytes)

    @property
    def records(self) -> int:
        """Records that may still be sent; below zero: overdrawn."""
        return self._records

    @property
    def size_bytes(self) -> int:
        """Bytes that may still be sent; below zero: overdrawn."""
        return self._bytes

    def grant(self, *, records: int, size_bytes: int) -> None:
        """Add to what may be sent. The caller has refused what is negative."""
        assert min(records, size_bytes) >= 0, "CREDIT_IS_GIVEN"
        self._records = min(CREDIT_MAX, self._records + records)
        self._bytes = min(CREDIT_MAX, self._bytes + size_bytes)

    def may_send(self) -> bool:
        """Tell whether another batch may be sent: there is some of both."""
        return self._records > 0 and self._bytes > 0

    def spend(self, *, records: int, size_bytes: int) -> None:
        """Take off what was sent: one whole batch, or the part of it that was wanted."""
        assert self.may_send(), "CREDIT_BEFORE_SENDING"
        self._records -= records
        self._bytes -= size_bytes
