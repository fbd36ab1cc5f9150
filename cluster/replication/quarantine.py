"""A damaged segment: never served, fetched again from whoever has it whole.

Somebody has met a batch that does not match its checksum: a reader, the scrub, or this node when it
was asked for it by another one. Readers are told CORRUPT_LOG from then on, whatever happens here.
All records of the segment are fetched again, batch by batch, from one replica after the other until
one has sent them all; only then the new file takes the place of the old one. A replica that is
damaged in the same place says so, and the next one is asked from where the last one ended: two
copies that are damaged in different places make a whole one.

Only what lies below the high watermark is fetched, for only that is the same everywhere. Above it a
damaged follower cuts its log at the damage and follows on; a damaged leader resigns. Both are the
shell's to do: closed segments lie below the mark, but for moments.

What the shell does with each effect:
    FetchRange   ask that replica for whole batches from `start` on, below `end`, as far as one
                 frame goes. It verifies what it reads (P6). Check what comes: checksum of each
                 batch, offsets without a gap, and for each the leader epoch that this partition's
                 own table has for it; append them, with their append times, to a file beside the
                 segment. Then tell `Fetched`; `FetchFailed` for whatever else came, or nothing in
                 time.
    Replace      sync the new files, keep the old `.log` under a name of its own for people, put
                 the new ones in its place by rename, sync the directory, forget what was cached of
                 the segment. Then tell `Replaced`; count and log it.
    NobodyHasIt  log it at the highest level, raise the alarm. It is tried again after a while.

Invariants:
    FETCHED_IN_ORDER    what comes continues what has come, and ends within the segment.
    REPLACED_IS_WHOLE   a segment is replaced by all of its records.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from model.ids import MonotonicMs, NodeId, Offset

AGAIN_MS: Final = MonotonicMs(10_000)
"""Nobody had all of it: whoever was down may be back."""


class Damaged(NamedTuple):
    """A batch of the segment [base, end) does not match its checksum."""

    base: Offset
    end: Offset


class Fetched(NamedTuple):
    """These batches came from a replica, are right, and lie beside the segment."""

    start: Offset
    end: Offset


class FetchFailed(NamedTuple):
    """This replica could not send what comes next: damaged, gone, wrong, or too slow."""

    replica: NodeId


class Replaced(NamedTuple):
    """The segment is whole again."""

    base: Offset


class Looked(NamedTuple):
    """From time to time: go on with what failed."""


class FetchRange(NamedTuple):
    """Effect: ask a replica for what lies in [start, end), as far as a frame goes."""

    replica: NodeId
    start: Offset
    end: Offset


class Replace(NamedTuple):
    """Effect: put the new files of a segment in the place of the damaged ones."""

    base: Offset
    end: Offset


class NobodyHasIt(NamedTuple):
    """Effect: no replica that could be asked has what begins here."""

    base: Offset
    at: Offset


Event: TypeAlias = Damaged | Fetched | FetchFailed | Replaced | Looked
Effect: TypeAlias = FetchRange | Replace | NobodyHasIt


class Quarantine:
    """The damaged segments of one partition, one repaired after the other."""

    __slots__ = ("_again_at", "_all", "_asked", "_at", "_row", "_untried")

    def __init__(self) -> None:
        """Know of no damage."""
        self._row: list[Damaged] = []
        self._at = Offset(0)
        """Of the first in the row everything below has come."""
        self._all: Sequence[NodeId] = ()
        self._untried: list[NodeId] = []
        """Who has not been asked for what begins at `_at`."""
        self._asked: NodeId | None = None
        self._again_at = MonotonicMs(0)

    @property
    def damaged(self) -> Sequence[Damaged]:
        """What is not whole, longest known first."""
        return tuple(self._row)

    def step(self, now: MonotonicMs, event: Event, replicas: Sequence[NodeId]) -> list[Effect]:
        """Take one event in; return what to do.

        `replicas`: who can be asked now, best first: the leader, members of the ISR, others.
        """
        match event:
            case Damaged(base):
                if any(one.base == base for one in self._row):
                    return []
                self._row.append(event)
                return self._begin(now, replicas) if len(self._row) == 1 else []
            case Fetched(start, end):
                return self._came(start, end)
            case FetchFailed(replica):
                return self._next(now) if replica == self._asked else []
            case Replaced(base):
                assert self._row and base == self._row[0].base, "REPLACED_IS_WHOLE"
                assert self._at == self._row.pop(0).end, "REPLACED_IS_WHOLE"
                return self._begin(now, replicas) if self._row else []
            case Looked():
                waits = self._row and self._asked is None and self._at < self._row[0].end
                return self._ask(now, replicas) if waits and now >= self._again_at else []

    def _begin(self, now: MonotonicMs, replicas: Sequence[NodeId]) -> list[Effect]:
        """Begin with the first in the row, from its first record."""
        self._at = self._row[0].base
        return self._ask(now, replicas)

    def _ask(self, now: MonotonicMs, replicas: Sequence[NodeId]) -> list[Effect]:
        self._all, self._untried = replicas, list(replicas)
        return self._next(now)

    def _next(self, now: MonotonicMs) -> list[Effect]:
        """Ask the next replica for what is missing; without one, all of them after a while."""
        first = self._row[0]
        if self._untried:
            self._asked = self._untried.pop(0)
            return [FetchRange(self._asked, self._at, first.end)]
        self._asked = None
        self._again_at = MonotonicMs(now + AGAIN_MS)
        return [NobodyHasIt(first.base, self._at)]

    def _came(self, start: Offset, end: Offset) -> list[Effect]:
        """Go on with the replica that has sent something; behind that, others may do again."""
        asked = self._asked
        assert self._row and asked is not None, "FETCHED_IN_ORDER"
        first = self._row[0]
        assert start == self._at < end <= first.end, "FETCHED_IN_ORDER"
        self._at = end
        if end == first.end:
            self._asked = None
            return [Replace(first.base, end)]
        self._untried = [replica for replica in self._all if replica != asked]
        return [FetchRange(asked, end, first.end)]
