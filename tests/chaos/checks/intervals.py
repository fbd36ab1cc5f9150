"""Sets of offsets as few runs: their memory follows the holes, not the offsets."""

from bisect import bisect_left, bisect_right


class Intervals:
    """A set of integers that grows by whole runs."""

    __slots__ = ("ends", "firsts")

    def __init__(self) -> None:
        """Begin empty."""
        self.firsts: list[int] = []
        self.ends: list[int] = []

    def add(self, first: int, end: int) -> None:
        """Add [first, end)."""
        if first >= end:
            return
        if self.ends and self.firsts[-1] <= first <= self.ends[-1]:  # as reading goes
            self.ends[-1] = max(end, self.ends[-1])
            return
        left = bisect_left(self.ends, first)
        right = bisect_right(self.firsts, end)
        if left < right:
            first = min(first, self.firsts[left])
            end = max(end, self.ends[right - 1])
        self.firsts[left:right] = [first]
        self.ends[left:right] = [end]

    def reach(self, first: int) -> int:
        """Return the end of the run without a hole that begins at `first`, or `first`."""
        index = bisect_right(self.firsts, first) - 1
        return max(first, self.ends[index]) if index >= 0 else first

    def __contains__(self, value: int) -> bool:
        """Tell whether it is in the set."""
        index = bisect_right(self.firsts, value) - 1
        return index >= 0 and value < self.ends[index]
