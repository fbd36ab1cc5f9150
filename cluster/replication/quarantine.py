"""A damaged segment: never served, fetched again from whoever has it whole.

Somebody has met a batch that does not match its checksum: a reader, the scrub, or this node when it
was asked for it by another one. Readers are told so from then on, whatever happens here. All
records of the segment are fetched again, batch by batch, from one replica after the other until one
has sent them all; only then the new file takes the place of the old one. A replica that is damaged
in the same place says so, and the next one is asked from where the last one ended: two copies that
are damaged in different places make a whole one. What has come is kept: who was away is asked for
the rest when it is back, after pauses that grow.

Only what lies below the high watermark is fetched, for only that is the same everywhere.

What the shell does with each effect:
    FetchRange   ask that replica for whole batches from `start` on, below `end`, as far as one
                 frame goes. It verifies what it reads (P6). Check what comes: checksum of each
                 batch, offsets without a gap, and for each the leader epoch that this partition's
                 own table has for it, unless that is a guess; append them, with their append
                 times, to a file beside the segment. Then tell `Fetched`; `FetchFailed` for
                 whatever else came, or nothing in time.
    Replace      sync the new files, keep the old `.log` under a name of its own for people, put
                 the new ones in its place by rename, sync the directory, forget what was cached of
                 the segment. Then tell `Replaced`; count and log it.
    NobodyHasIt  log it at the highest level, raise the alarm. Tell `Looked` at `again_at`.

Invariants:
    FETCHED_IN_ORDER    what comes continues what has come, and ends within the segment.
    REPLACED_IS_WHOLE   a segment is replaced by all of its records.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from model.ids import MonotonicMs, NodeId, Offset

AGAIN_MS_MIN: Final = 2_000
"""Nobody had what is missing: whoever was down may be back. Doubled until something comes."""
AGAIN_MS_MAX: Final = 60_000


class Looked(NamedTuple):
    """Begin; or, from time to time, go on with what failed."""


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


Event: TypeAlias = Fetched | FetchFailed | Replaced | Looked
Effect: TypeAlias = FetchRange | Replace | NobodyHasIt


class Quarantine:
    """One damaged segment, closed: what of it has come, and who is asked for the rest."""

    __slots__ = ("_again_ms", "_all", "_asked", "_at", "_base", "_end", "_untried", "again_at")

    def __init__(self, base: Offset, end: Offset) -> None:
        """Have nothing of the segment [base, end)."""
        assert base < end, "FETCHED_IN_ORDER"
        self._base = self._at = base
        """Everything below `_at` has come."""
        self._end = end
        self._all: Sequence[NodeId] = ()
        self._untried: list[NodeId] = []
        """Who has not been asked for what begins at `_at`."""
        self._asked: NodeId | None = None
        self._again_ms = AGAIN_MS_MIN
        self.again_at = MonotonicMs(0)
        """When `Looked` goes on."""

    def step(self, now: MonotonicMs, event: Event, replicas: Sequence[NodeId]) -> Effect | None:
        """Take one event in; return what to do.

        `replicas`: who can be asked now, best first: the leader, members of the ISR, others.
        """
        match event:
            case Looked():
                return self._look(now, replicas)
            case Fetched(start, end):
                return self._came(start, end)
            case FetchFailed(replica):
                return self._next(now) if replica == self._asked else None
            case Replaced(base):
                assert base == self._base and self._at == self._end, "REPLACED_IS_WHOLE"
                return None

    def _look(self, now: MonotonicMs, replicas: Sequence[NodeId]) -> Effect | None:
        if self._asked is not None or now < self.again_at:
            return None
        if self._at == self._end:  # it could not take the segment's place the last time
            return Replace(self._base, self._end)
        self._all, self._untried = replicas, list(replicas)
        return self._next(now)

    def _next(self, now: MonotonicMs) -> Effect:
        """Ask the next replica for what is missing; without one, all of them after a while."""
        if self._untried:
            self._asked = self._untried.pop(0)
            return FetchRange(self._asked, self._at, self._end)
        self._asked = None
        self.again_at = MonotonicMs(now + self._again_ms)
        self._again_ms = min(2 * self._again_ms, AGAIN_MS_MAX)
        return NobodyHasIt(self._base, self._at)

    def _came(self, start: Offset, end: Offset) -> Effect:
        """Go on with the replica that has sent something; behind that, others may do again."""
        asked = self._asked
        assert asked is not None, "FETCHED_IN_ORDER"
        assert start == self._at < end <= self._end, "FETCHED_IN_ORDER"
        self._at, self._again_ms = end, AGAIN_MS_MIN
        if end == self._end:
            self._asked = None
            return Replace(self._base, end)
        self._untried = [replica for replica in self._all if replica != asked]
        return FetchRange(asked, end, self._end)
