"""Whom the partitions of a node follow: kept with each change, since it is asked with each beat.

Of a node that leads nothing here the clock matters to nobody, and may be wrong (P39).
"""

from collections import Counter

from model.ids import NodeId, PartitionId


class FollowedLeaders:
    """Of one node. A passive object."""

    __slots__ = ("_counts", "_leaders")

    def __init__(self) -> None:
        """Follow nobody yet."""
        self._leaders: dict[PartitionId, NodeId] = {}
        self._counts = Counter[NodeId]()

    def __contains__(self, node: NodeId) -> bool:
        """Tell whether a partition follows this node."""
        return self._counts[node] > 0

    def follow(self, where: PartitionId, leader: NodeId | None) -> None:
        """Note whom a partition follows from here on; None: nobody."""
        before = self._leaders.pop(where, None)
        if before is not None:
            self._counts[before] -= 1
        if leader is not None:
            self._leaders[where] = leader
            self._counts[leader] += 1
