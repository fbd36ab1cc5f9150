"""Whose turn it is to be looked at: each that is awake once within some beats, few with each.

With thousands of partitions one look at all of them would hold the loop for too long. And most are
at rest: they lead, and every replica holds and knows all there is; or they follow, and wait for
nothing. These are woken when something happens; without that they are looked at now and then only.
"""

from collections import deque
from typing import Final

from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.partitions import Partitions
from model.ids import PartitionId

LOOK_BEATS: Final = 5
"""Beats between two looks at a partition: several within `replica_lag_ms_max`."""
OPEN_LOOKS: Final = 2
"""Looks after which a leader that has not answered is asked again."""
REST_LOOKS: Final = 60
"""Looks between two at who is at rest: half a minute."""


class PartitionTurns:
    """Of all partitions of a node. Loop only."""

    __slots__ = (
        "_all_awake", "_at_once", "_awake", "_beats", "_looks", "_partitions", "_row", "_was_held",
    )  # fmt: skip

    def __init__(self, partitions: Partitions) -> None:
        """Begin with the first."""
        self._partitions = partitions
        self._awake: dict[PartitionId, None] = {}
        self._all_awake = True
        """The next look is at everybody."""
        self._row: deque[PartitionId] = deque()
        """Partitions that are still to be looked at."""
        self._beats = self._looks = self._at_once = 0
        self._was_held = False

    @property
    def opens(self) -> bool:
        """Whether leaders that have not answered are asked again in this look."""
        return self._looks % OPEN_LOOKS == 0

    def wake(self, where: PartitionId) -> None:
        """Look at a partition with each look, until it is at rest."""
        self._awake[where] = None

    def wake_all(self) -> None:
        """Look at all of them with the next look."""
        self._all_awake = True

    def rest(self, where: PartitionId) -> None:
        """Look at a partition no more, before it is woken."""
        self._awake.pop(where, None)

    @property
    def beats_left(self) -> int:
        """Until somebody may be looked at: while all are at rest there are some without."""
        at_rest = not (self._row or self._awake)
        return LOOK_BEATS - self._beats % LOOK_BEATS if at_rest else 1

    def beat(self, beats: int) -> None:
        """Note that so many beats have gone by, also those with which nobody is looked at."""
        self._beats += beats

    def is_due(self, *, session_held: bool) -> bool:
        """Tell whether anybody may be looked at with this beat: with most of them nobody is."""
        is_lost = self._was_held and not session_held
        return is_lost or bool(self._row) or self._beats % LOOK_BEATS == 0

    def next(self, *, session_held: bool) -> list[HostedPartition]:
        """Return who is to be looked at with this beat, one that `is_due`.

        All of them, once the node's session is over: whoever produces to them is to be told.
        """
        lost, self._was_held = self._was_held and not session_held, session_held
        if lost or (self._beats % LOOK_BEATS == 0 and not self._row):
            self._looks += 1
            if lost or self._all_awake or self._looks % REST_LOOKS == 0:
                self._all_awake = False
                self._awake.update((one.log.id, None) for one in self._partitions)
            self._row = deque(self._awake)
            self._at_once = len(self._row) if lost else -(-len(self._row) // LOOK_BEATS)
        hosted: list[HostedPartition] = []
        for _ in range(min(self._at_once, len(self._row))):
            where = self._row.popleft()
            partition = self._partitions.by_id(where)
            if partition is None:
                self.rest(where)  # woken when it was gone, by what was under way for it
            else:
                hosted.append(partition)
        return hosted
