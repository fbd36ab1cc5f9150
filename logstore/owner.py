"""What a partition log tells the log directory it belongs to."""

from typing import Protocol, TypeVar

from logstore.segment import Segment
from logstore.stretches import Stretches

LogT_contra = TypeVar("LogT_contra", contravariant=True)


class Owner(Protocol[LogT_contra]):
    """Whoever plans rounds and checkpoints of logs. Loop only."""

    @property
    def stretches(self) -> Stretches:
        """What searches remember of all its logs together."""
        ...

    def dirty(self, log: LogT_contra) -> None:
        """Something is to be written by the next round; called once until it is taken."""
        ...

    def checkpoint_wanted(self, log: LogT_contra) -> None:
        """Something waits for the next checkpoint, or is to be saved soon."""
        ...

    def reading(self, segment: Segment) -> None:
        """The segment's file is about to be read."""
        ...
