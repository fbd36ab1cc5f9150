"""The partitions that a member has: where each stands, and which are delivered now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from api.broker.consume_events import Event, Named
from api.broker.read_on import Diverged, Gap, Step
from api.broker.subscribe import Bounds
from consumer_groups.native.credits import Credits
from consumer_groups.records import Owned
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, Offset, PartitionId
from model.record import COMPRESSION_MASK

UNTOLD: Final = Offset(0)
ENVELOPE_BYTES: Final = 32
"""What a batch, or a decoded record, has around it on the wire, at most; for the cut alone."""
_ATTRIBUTES_AT: Final = 22
"""Low byte of a batch's attributes (docs/formats/record_batch.md)."""


@dataclass(slots=True, eq=False)
class Held:
    """One partition that a member has been told of."""

    owned: Owned
    bounds: Bounds
    fresh: bool = True
    """Nothing was read since it stands there: gap and divergence show at the first read."""
    told_end: Offset = UNTOLD
    """How far it goes, as its leader said when it was read last: a replica here may be behind."""
    read_in: LeaderEpoch | None = None
    """In which leadership this node served when it was read last; None: it did not."""
    paused: bool = False
    stands_still: bool = False
    """It delivers nothing until its reader says where to go on, or until that place is found."""

    @property
    def named(self) -> Named:
        """The partition as its reader names it."""
        partition = self.bounds.partition
        return partition.topic.name, partition.number

    @property
    def delivers(self) -> bool:
        """Whether its reader wants more of it."""
        return not (self.paused or self.stands_still)

    @property
    def has_news(self) -> bool:
        """Whether a read would show something.

        It may stand above all that is committed as far as is known here: it has read elsewhere.
        Where this node serves, nothing comes before the mark passes its place, which `watch` tells,
        or another leadership begins. Else the leader may know more than this node: it is asked.
        """
        partition, start, end = self.bounds.partition, self.bounds.start, self.bounds.end
        if self.may_have_more or start <= end:
            return self.may_have_more or start < end
        return not partition.serves or partition.leader_epoch != self.read_in

    @property
    def may_have_more(self) -> bool:
        """Whether its leader has told of more than its reader has, or nothing yet."""
        return self.fresh or self.bounds.start < self.told_end

    def saw(self, step: Step) -> None:
        """Note what a read tells of how far the partition goes."""
        if step.is_told:
            self.fresh, self.told_end = False, step.high_watermark

    @property
    def serving_epoch(self) -> LeaderEpoch | None:
        """In which leadership this node serves now; None: it does not."""
        partition = self.bounds.partition
        return partition.leader_epoch if partition.serves else None


class Spent(NamedTuple):
    """What a delivery costs."""

    records: int
    size_bytes: int


class Cut(NamedTuple):
    """What was read, cut where a credit ends."""

    now: list[Step]
    """To be delivered."""
    later: list[Step]
    """What is left, in the same order; a step that was cut is in both."""
    spent: Spent
    """What `now` costs, about; what is sent is counted as it goes out."""


class Places:
    """All of one member. Loop only."""

    def __init__(self) -> None:
        """Begin without any."""
        self._held: dict[PartitionId, Held] = {}
        self._by_name: dict[Named, Held] = {}
        self._turn = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._held)

    def every(self) -> list[Held]:
        """Return all, in the order in which they came."""
        return list(self._held.values())

    def take(self, held: Held) -> None:
        """Add a partition, or let another stand take the former one's place."""
        self._held[held.owned.partition] = held
        self._by_name[held.named] = held

    def drop(self, held: Held) -> None:
        """Forget a partition."""
        if self.has(held):
            del self._held[held.owned.partition]
            if self._by_name.get(held.named) is held:
                del self._by_name[held.named]

    def has(self, held: Held) -> bool:
        """Tell whether this very stand is current: not given back, not sent elsewhere since."""
        return self._held.get(held.owned.partition) is held

    def of(self, owned: Owned) -> Held | None:
        """Return the partition of this very hold."""
        held = self._held.get(owned.partition)
        return held if held is not None and held.owned == owned else None

    def at(self, name: Named) -> Held | None:
        """Return the partition that the member has by this name."""
        return self._by_name.get(name)

    def named(self, names: Sequence[Named]) -> list[Held]:
        """Return those of some names that the member has; what it has lost meanwhile is left out.

        No names: all.
        """
        wanted = frozenset(names)
        return [held for held in self._held.values() if not names or held.named in wanted]

    def in_turn(self) -> list[Held]:
        """Return what is delivered, beginning with another one each time."""
        every = [held for held in self._held.values() if held.delivers]
        self._turn += 1
        first = self._turn % len(every) if every else 0
        return [*every[first:], *every[:first]]


def within_credit(steps: Sequence[Step], credit: Credits, *, decoded: bool) -> Cut:
    """Cut some steps where a credit ends, as far as can be told before they are sent.

    The batch that uses it up is delivered whole. Where records are sent `decoded`, nobody knows
    what a compressed batch costs before it is sent: nothing follows it at once.
    """
    left = Credits(records=credit.records, size_bytes=credit.size_bytes)
    now: list[Step] = []
    for at, step in enumerate(steps):
        for count, batch in enumerate(step.batches, 1):
            records = batch.end_offset - max(batch.base_offset, step.start_offset)
            around = ENVELOPE_BYTES * (records if decoded else 1)
            left.spend(records=records, size_bytes=len(batch.view) + around)
            unknown = decoded and batch.view[_ATTRIBUTES_AT] & COMPRESSION_MASK
            if unknown or not left.may_send():
                first, rest = _cut(step, count)
                return Cut([*now, first], [*rest, *steps[at + 1 :]], _cost(credit, left))
        now.append(step)
    return Cut(now, [], _cost(credit, left))


def _cut(step: Step, count: int) -> tuple[Step, list[Step]]:
    """Return a step's first batches, and what is left of it."""
    if count == len(step.batches):
        return step, []
    end = step.batches[count - 1].end_offset
    first = step._replace(batches=step.batches[:count], next_offset=end)
    return first, [step._replace(start_offset=end, batches=step.batches[count:])]


def _cost(before: Credits, after: Credits) -> Spent:
    return Spent(before.records - after.records, before.size_bytes - after.size_bytes)


def _diverged_at(held: Held) -> Diverged:
    """Return what a reader is told that stands beyond the end: what it read is gone (P18)."""
    partition = held.bounds.partition
    return Diverged(partition, partition.high_watermark, partition.leader_epoch)


def told(held: Held, found: Gap | Diverged | RequestError) -> list[Event]:
    """Return what a reader is told that got no records of a partition, and where it stands then.

    Raises:
        RequestError: the partition cannot be read.
    """
    if isinstance(found, RequestError):
        if found.code is ErrorCode.UNKNOWN_TOPIC:  # its deletion reaches the member by itself
            held.stands_still = True
            return []
        if held.bounds.start <= held.bounds.end or found.code is not ErrorCode.OFFSET_OUT_OF_RANGE:
            raise found
        found = _diverged_at(held)
    if isinstance(found, Gap):
        held.bounds.move(found)
        held.fresh = True  # elsewhere, a gap tells nothing of what lies behind it
        return [found]
    held.stands_still = True
    return [found]
