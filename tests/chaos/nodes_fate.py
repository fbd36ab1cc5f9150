"""What became of acknowledged records, by who has read a whole topic when all was over.

A record is lost if another one stands in its place, or the log ends below it, and the log was read
to that end. A place of which nothing could be read proves nothing: its bytes may still be there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from tests.chaos.history import Ack, AnyEvent, At, Drained, Read
from tests.chaos.nodes_plan import READS_ALL

Value: TypeAlias = tuple[str, int]
"""Producer, and its number of the record."""


@dataclass(slots=True)
class Fate:
    """Of the acknowledged records of all partitions that were read to their ends."""

    kept: int = 0
    replaced: int = 0
    """Another record stands in its place."""
    cut: int = 0
    """The log ends below it."""
    unread: int = 0
    """Nothing could be read there."""

    @property
    def lost(self) -> int:
        """Return how many are lost for certain."""
        return self.replaced + self.cut

    def __str__(self) -> str:
        """Return it for people."""
        return (
            f"{self.lost} acknowledged records lost ({self.cut} above the logs' ends, in the place "
            f"of {self.replaced} another one), {self.unread} unreadable, {self.kept} kept"
        )


def fate_of(events: Iterable[tuple[str, AnyEvent]]) -> Fate:
    """Judge a run's events. Of a partition that was not read to its end nothing is claimed."""
    acked: list[tuple[tuple[At, int], Value]] = []  # where one is lost, another may be acknowledged
    found: dict[tuple[At, int], Value] = {}
    ends: dict[At, int] = {}
    for client, event in events:
        match event:
            case Ack(offset=int(first)):
                for at in range(event.count):
                    acked.append(((event.at, first + at), (client, event.n + at)))
            case Read() if client == READS_ALL:
                for first, producer, n, count in event.runs:
                    for at in range(count):
                        found[event.at, first + at] = (producer, n + at)
            case Drained(group=None):
                ends[event.at] = event.end
            case _:
                pass  # says nothing of where a record is
    fate = Fate()
    for place, value in acked:
        end = ends.get(place[0])
        if end is None:
            continue
        there = found.get(place)
        fate.kept += there == value
        fate.replaced += there is not None and there != value
        fate.cut += there is None and place[1] >= end
        fate.unread += there is None and place[1] < end
    return fate
