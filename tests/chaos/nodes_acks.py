"""What producers are told while the run goes on: which partitions take records, since when."""

from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tests.chaos.history import Ack, AnyEvent, Send
from tests.chaos.nodes_plan import PARTITIONS, TOPIC, WRITER

BEHIND_US: Final = 5_000_000
"""Whatever is acknowledged so long after a moment was taken after it: what had been on its way then
has had its answer. On a busy machine producers have records to send that are older than that."""
GAP_US: Final = 200_000
"""A shorter time without acks is not worth keeping."""
_DECODER: Final[msgspec.json.Decoder[AnyEvent]] = msgspec.json.Decoder(AnyEvent)
DOORS: Final = ("sdk", "kafka")


class Lane(NamedTuple):
    """A partition, through one door."""

    door: str
    at: str


class Silence(NamedTuple):
    """The longest time without acks."""

    seconds: float
    lane: Lane
    over_us: int
    """When it was over; the moment of the look if it is not."""


@dataclass(slots=True)
class Acked:
    """What is known of a lane."""

    last_us: int = 0
    """When the last ack came; 0: none has."""
    fresh_us: int = 0
    """When the newest record was sent that was acknowledged."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """Times between two acks that are worth keeping: from and to, in µs."""


class Acks:
    """Reads the producers' histories as they grow."""

    def __init__(self, folder: Path) -> None:
        """Begin with nothing read."""
        self._folder = folder
        self._read: dict[Path, int] = {}
        """Bytes of each file that were read: whole lines."""
        self._sent: defaultdict[tuple[str, str], array[int]] = defaultdict(lambda: array("q"))
        """When each value was sent, by client and partition."""
        self.lanes = {
            Lane(door, f"{TOPIC}/{number}"): Acked()
            for door in DOORS
            for number in range(PARTITIONS)
        }
        self.count = 0

    def look(self) -> None:
        """Read what was written since."""
        acks: list[tuple[int, Lane, int]] = []
        for path in self._folder.glob(f"{WRITER}*.jsonl"):
            begin = self._read.get(path, 0)
            with path.open("rb") as file:
                file.seek(begin)
                lines, _, _ = file.read().rpartition(b"\n")
            if lines:
                self._read[path] = begin + len(lines) + 1
                acks += self._acks(path.stem, _DECODER.decode_lines(lines))
        for at_us, lane, sent_us in sorted(acks):  # a lane has several producers
            self._take(self.lanes[lane], at_us, sent_us)

    def back_since(self, since_us: int) -> bool:
        """Tell whether every lane has taken a record after a time."""
        return not self.missing_since(since_us)

    def missing_since(self, since_us: int) -> list[Lane]:
        """Return the lanes that have not: none that was sent after it is acknowledged, nor any
        other so long after it that it was taken after it.
        """
        return [
            lane
            for lane, acked in self.lanes.items()
            if acked.fresh_us <= since_us and acked.last_us <= since_us + BEHIND_US
        ]

    def silence(self, since_us: int, now_us: int) -> Silence:
        """Return the longest time without acks in any lane, of what lies behind a time."""
        return max(
            Silence((to_us - max(from_us, since_us)) / 1e6, lane, to_us)
            for lane, acked in self.lanes.items()
            for from_us, to_us in (*acked.gaps, (max(acked.last_us, since_us), now_us))
            if to_us > since_us
        )

    def _acks(self, client: str, events: list[AnyEvent]) -> Iterator[tuple[int, Lane, int]]:
        """Yield when acks came, of which lane, and when their records were sent."""
        door = client.split("-")[1]
        for event in events:
            if isinstance(event, Send):
                self._sent[client, event.at].extend([event.t] * event.count)
            elif isinstance(event, Ack):
                self.count += event.count
                yield event.t, Lane(door, event.at), self._sent[client, event.at][event.n]

    @staticmethod
    def _take(acked: Acked, at_us: int, sent_us: int) -> None:
        if acked.last_us and at_us - acked.last_us >= GAP_US:
            acked.gaps.append((acked.last_us, at_us))
        acked.last_us = max(acked.last_us, at_us)
        acked.fresh_us = max(acked.fresh_us, sent_us)
