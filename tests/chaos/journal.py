"""What members and the run itself write down, event by event; nothing of it is lost by SIGKILL.

Times are milliseconds of Linux's monotonic clock, which all processes of a machine share. What a
member says is written down before it is sent, what it hears after it has come.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Final, TypeAlias

import msgspec

NS_PER_MS: Final = 1_000_000


def now_ms() -> float:
    """Return the time that every process here shares, in ms."""
    return monotonic_ns() / NS_PER_MS


class Event(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Something that happened to one membership."""

    at: float
    who: str
    """The membership's client id: never used twice in a run. Empty: nobody's."""


class Joining(Event, frozen=True):
    """Join is about to be sent."""

    session_ms: int


class Joined(Event, frozen=True):
    """It is a member, or its epoch has risen."""

    member_id: str
    epoch: int


class Assigned(Event, frozen=True):
    """It has these partitions too, and begins there."""

    places: list[tuple[int, int]]
    """Partition and offset."""


class AskedBack(Event, frozen=True):
    """It is to give partitions back; or they were taken, where `left_ms` is 0."""

    partitions: list[int]
    left_ms: int


class GaveBack(Event, frozen=True):
    """Revoked is about to be sent."""

    partitions: list[int]


class Delivered(Event, frozen=True):
    """A run of records came."""

    partition: int
    first: int
    end: int
    """The offset behind the last one."""


class Committing(Event, frozen=True):
    """A commit is about to be sent."""

    number: int
    cursors: list[tuple[int, int]]


class Committed(Event, frozen=True):
    """A commit was answered; what was refused, and why."""

    number: int
    refused: list[tuple[int, str]]


class Silent(Event, frozen=True):
    """It has stopped to read and to speak; the node may have heard it until `at`."""

    said_at: float
    """When it began to say its last word."""


class Cut(Event, frozen=True):
    """Its connection is about to be closed without a word; for good."""


class Killed(Event, frozen=True):
    """Its process is about to be killed (SIGKILL)."""


class Broke(Event, frozen=True):
    """Its stream is about to be broken, to be resumed."""


class Resuming(Event, frozen=True):
    """It asks to go on over another stream."""


class Resumed(Event, frozen=True):
    """It goes on: Joined has come over the other stream."""


class Leaving(Event, frozen=True):
    """Leave is about to be sent."""


class Ended(Event, frozen=True):
    """The node has ended its stream."""

    reason: str


class Late(Event, frozen=True):
    """A membership that should be over has tried to commit; `reason` empty: it was answered."""

    reason: str


class Lag(Event, frozen=True):
    """Its process did nothing for so long, up to `at`."""

    ms: float


class Synced(Event, frozen=True):
    """The disk under the node took so long for a byte of somebody else, up to `at`."""

    ms: float


class Wrong(Event, frozen=True):
    """Something that is wrong by itself, whatever else happened."""

    text: str


class Produced(Event, frozen=True):
    """Records up to this end were acknowledged, counted from the partition's beginning."""

    partition: int
    end: int


AnyEvent: TypeAlias = (
    Joining
    | Joined
    | Assigned
    | AskedBack
    | GaveBack
    | Delivered
    | Committing
    | Committed
    | Silent
    | Cut
    | Killed
    | Broke
    | Resuming
    | Resumed
    | Leaving
    | Ended
    | Late
    | Lag
    | Synced
    | Wrong
    | Produced
)
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final[msgspec.json.Decoder[AnyEvent]] = msgspec.json.Decoder(AnyEvent)


class Journal:
    """A file that events are appended to, one line each, without a buffer of ours."""

    def __init__(self, path: Path) -> None:
        """Begin a file."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, event: AnyEvent) -> None:
        """Append an event; the kernel has it when this returns."""
        os.write(self._file, _ENCODER.encode(event) + b"\n")

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)


def read_all(folder: Path) -> list[AnyEvent]:
    """Return the events of all journals of a folder, in the order of their times."""
    found = [event for path in sorted(folder.glob("*.jsonl")) for event in _read(path)]
    return sorted(found, key=lambda event: event.at)


def _read(path: Path) -> Iterator[AnyEvent]:
    for line in path.read_bytes().splitlines():
        yield _DECODER.decode(line)
