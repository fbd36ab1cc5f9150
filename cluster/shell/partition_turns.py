"""Whose turn it is to be looked at: each partition once within some beats, few with each.

With thousands of partitions one look at all of them would hold the loop for too long.
"""

from collections import deque
from typing import Final

from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.partitions import Partitions

LOOK_BEATS: Final = 5
"""Beats between two looks at a partition: several within `replica_lag_ms_max`."""
OPEN_LOOKS: Final = 2
"""Looks after which a leader that has not answered is asked again."""


class PartitionTurns:
    """Of all partitions of a node. Loop only."""

    __slots__ = ("_at_once", "_beats", "_looks", "_partitions", "_row", "_was_held")

    def __init__(self, partitions: Partitions) -> None:
        """Begin with the first."""
        self._partitions = partitions
        self._row: deque[HostedPartition] = deque()
        """Partitions that are still to be looked at."""
        self._beats = self._looks = self._at_once = 0
        self._was_held = False

    @property
    def opens(self) -> bool:
        """Whether leaders that have not answered are asked again in this look."""
        return self._looks % OPEN_LOOKS == 0

    def beat(self) -> None:
        """Note that a beat has gone by, also one with which nobody is looked at."""
        self._beats += 1

    def next(self, *, session_held: bool) -> list[HostedPartition]:
        """Return who is to be looked at with this beat.

        All of them, once the node's session is over: whoever produces to them is to be told.
        """
        lost, self._was_held = self._was_held and not session_held, session_held
        if lost or (self._beats % LOOK_BEATS == 0 and not self._row):
            self._row = deque(self._partitions)
            self._at_once = len(self._row) if lost else -(-len(self._row) // LOOK_BEATS)
            self._looks += 1
        turns = [self._row.popleft() for _ in range(min(self._at_once, len(self._row)))]
        return [one for one in turns if self._partitions.by_id(one.log.id) is one]  # not gone
