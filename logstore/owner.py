"""What a partition log tells the log directory it belongs to."""

from typing import TYPE_CHECKING, Protocol

from logstore.segment import Segment

if TYPE_CHECKING:
    from logstore.partition_log import PartitionLog


class Owner(Protocol):
    """Whoever plans rounds and checkpoints. Loop only."""

    def dirty(self, log: "PartitionLog") -> None:
        """Something is to be written by the next round; called once until it is taken."""
        ...

    def checkpoint_wanted(self, log: "PartitionLog") -> None:
        """Something waits for the next checkpoint, or is to be saved soon."""
        ...

    def reading(self, segment: Segment) -> None:
        """The segment's file is about to be read."""
        ...
