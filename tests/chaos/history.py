"""What clients and the run itself have written down: one file of JSON lines for each of them.

A file is named after its client, and a client is one producer, one reader or one member: who comes
back after a kill is another client. `t` is in microseconds of Linux's monotonic clock, which all
processes of a machine share. What a client is about to do is written down before it is sent, and
what it was told after it has come, so that a killed client has left out nothing that counts.
"""

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns
from typing import Final, TypeAlias

import msgspec

NS_PER_US: Final = 1_000

At: TypeAlias = str
"""Topic and partition: `orders/3`."""
Run: TypeAlias = tuple[int, str, int, int]
"""Offset of the first, producer, its number of the first, count: records that follow each other."""


class Event(
    msgspec.Struct,
    tag_field="f",
    tag=str.lower,
    frozen=True,
    forbid_unknown_fields=True,
    gc=False,
    omit_defaults=True,
):
    """Something that one client did or was told."""

    t: int


class Producer(Event, frozen=True, gc=False):
    """First line of a producer."""

    acks: str
    """all, leader or none."""
    idempotent: bool


class Send(Event, frozen=True, gc=False):
    """Values `n` to `n + count - 1` are about to be sent; the first of a partition is 0."""

    at: At
    n: int
    count: int = 1
    time: int | None = None
    """Event time of each, ms since 1970; None: no time query is to be judged by it."""


class Ack(Event, frozen=True, gc=False):
    """They are in the log, at `offset` and behind it; None: it was not told where."""

    at: At
    n: int
    count: int = 1
    offset: int | None = None
    epoch: int | None = None
    """Leader epoch of who answered."""


class Fail(Event, frozen=True, gc=False):
    """They are not in the log and will never be."""

    at: At
    n: int
    count: int = 1
    why: str = ""


class Unknown(Event, frozen=True, gc=False):
    """They may be in the log, or come to be."""

    at: At
    n: int
    count: int = 1
    why: str = ""


class Begin(Event, frozen=True, gc=False):
    """A reader goes to a place by its own will; None: to wherever its first record lies."""

    at: At
    offset: int | None = None


class Read(Event, frozen=True, gc=False):
    """One operation gave these records, in this order."""

    at: At
    runs: list[Run]
    epochs: list[int] | None = None
    """Leader epoch of each run."""
    appended: list[int] | None = None
    """Append time of each run, ms since 1970."""


class Passed(Event, frozen=True, gc=False):
    """A reader was told to go on at an offset: nothing for it lies before."""

    at: At
    offset: int


class Gap(Event, frozen=True, gc=False):
    """A reader was told that the log begins at `start` by now."""

    at: At
    start: int


class Diverged(Event, frozen=True, gc=False):
    """A reader was told to undo what it read, from `offset` on."""

    at: At
    offset: int


class Garbled(Event, frozen=True, gc=False):
    """A reader was given bytes that nobody has sent."""

    at: At
    offset: int
    text: str = ""


class Ask(Event, frozen=True, gc=False):
    """A client is about to ask for the edges of a log."""

    id: int
    at: At


class Shown(Event, frozen=True, gc=False):
    """A reply of any kind told where a log ends; `asked` names the Ask that it answers."""

    at: At
    hw: int | None = None
    lso: int | None = None
    start: int | None = None
    epoch: int | None = None
    asked: int | None = None


class Led(Event, frozen=True, gc=False):
    """Metadata from `node` named the leader of an epoch."""

    at: At
    epoch: int
    leader: int
    node: int


class Find(Event, frozen=True, gc=False):
    """A client is about to ask for the first record at or after a time, ms since 1970."""

    id: int
    at: At
    time: int
    clock: str = "event"


class Found(Event, frozen=True, gc=False):
    """The answer: the record's offset and time; or no offset: no record below `hw` is so late."""

    id: int
    offset: int | None = None
    time: int | None = None
    hw: int | None = None
    start: int | None = None
    """Where the log began for who answered."""


class Assigned(Event, frozen=True, gc=False):
    """A member has these partitions too; it begins at the offset, or at its first record."""

    group: str
    places: dict[At, int | None]
    epoch: int | None = None
    """Of the member, or the generation."""


class Gave(Event, frozen=True, gc=False):
    """A member is about to give partitions back, or was told that it has them no longer."""

    group: str
    places: list[At]


class Commit(Event, frozen=True, gc=False):
    """A commit is about to be sent."""

    id: int
    group: str
    places: dict[At, int]


class Committed(Event, frozen=True, gc=False):
    """It was answered; what was refused, and why: of that nothing is claimed, for an error may be
    all that was told. Without an answer its outcome is unknown, and its client waits."""

    id: int
    refused: dict[At, str] = {}


class Look(Event, frozen=True, gc=False):
    """A client is about to ask for a group's committed offsets."""

    id: int
    group: str
    places: list[At]


class Looked(Event, frozen=True, gc=False):
    """The answer; what is not in it, or None, has no committed offset."""

    id: int
    places: dict[At, int | None]


class Reset(Event, frozen=True, gc=False):
    """A group is about to be sent elsewhere, or its offsets deleted; or that is `over`."""

    group: str
    places: list[At]
    over: bool = False


class Drained(Event, frozen=True, gc=False):
    """The run has seen everything read up to here, by a reader or by a group, and writes no more.

    Written after all producers have ended and everything has healed.
    """

    at: At
    end: int
    group: str | None = None


class Fault(Event, frozen=True, gc=False):
    """The run is about to break something."""

    what: str


class Healed(Event, frozen=True, gc=False):
    """Nothing is broken any longer: from here on there must be progress."""


class Lossy(Event, frozen=True, gc=False):
    """A lossy election is about to be ordered, or is `over`: its leader is known to all."""

    at: At
    over: bool = False


class Killed(Event, frozen=True, gc=False):
    """The run is about to kill or stop this client, or node: it owes nothing any longer."""

    who: str


class Closed(Event, frozen=True, gc=False):
    """The client has ended in order."""


class Exited(Event, frozen=True, gc=False):
    """A process of the product has ended; a negative code is a signal's number."""

    who: str
    code: int
    traceback: bool = False
    """Whether its log shows one."""
    mute: bool = False
    """Whether it said nothing on stderr though its code is not 0."""


AnyEvent: TypeAlias = (
    Producer
    | Send
    | Ack
    | Fail
    | Unknown
    | Begin
    | Read
    | Passed
    | Gap
    | Diverged
    | Garbled
    | Ask
    | Shown
    | Led
    | Find
    | Found
    | Assigned
    | Gave
    | Commit
    | Committed
    | Look
    | Looked
    | Reset
    | Drained
    | Fault
    | Healed
    | Lossy
    | Killed
    | Closed
    | Exited
)
_ENCODER: Final = msgspec.json.Encoder()


class HistoryError(ValueError):
    """A file is no history: its writer is at fault, not the log."""


def now_us() -> int:
    """Return the time that every process here shares, in µs."""
    return monotonic_ns() // NS_PER_US


class History:
    """A client's file; the kernel has a line when `note` returns, so that no kill takes it."""

    def __init__(self, folder: Path, client: str, clock: Callable[[], int] = now_us) -> None:
        """Begin a file.

        Raises:
            FileExistsError: a client of that name has one already.
        """
        self.client = client
        self.clock = clock
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL
        self._file = os.open(folder / f"{client}.jsonl", flags, 0o600)

    def note(self, event: AnyEvent) -> None:
        """Append a line."""
        os.write(self._file, _ENCODER.encode(event) + b"\n")

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)


def write_all(path: Path, events: list[AnyEvent]) -> None:
    """Write a client's whole history at once."""
    path.write_bytes(b"".join(_ENCODER.encode(event) + b"\n" for event in events))
