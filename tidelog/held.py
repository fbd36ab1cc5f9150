"""What a member of a group holds: its partitions, what has come of them, what is done with it.

A `Held` is one tenure: a partition that goes away and comes back is another one, so that what is
finished late of an earlier tenure is never taken for the new one's.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from tidelog.batch import CorruptBatchError, info_of, split
from tidelog.checkpoint import Key, Place
from tidelog.errors import TidelogError
from tidelog.steps import Advance, Raw, Step, Trouble, Within, behind_corrupt, take_steps
from tidelog.subscription import gap_error
from tidelog.types import TopicPartition
from tidelog.v1 import common_pb2 as common

EVERY_TIME: Final = Within(None)
RECORDS_AHEAD: Final = 10_000
"""Records that may be on their way or here, not handed out yet; the last batch may go beyond."""
BYTES_AHEAD: Final = 8 << 20
"""Likewise their bytes, as they travel."""
GRANT_SHARE: Final = 4
"""Credit goes back when this part of it, a quarter, has become free."""


class Parcel(NamedTuple):
    """Behind the steps of one message: what they take of the credit."""

    records: int
    size_bytes: int


Item: TypeAlias = Step | Parcel
Spot: TypeAlias = tuple[int, int | None]
"""The next offset, and the leader epoch of the record before it."""


class Held:
    """One tenure of one partition. Compared by identity."""

    __slots__ = (
        "announced", "asked", "asked_back_on", "at", "began", "committed", "done", "going",
        "had_time", "handed", "items", "kept", "next", "paused", "place", "revoke_by_s", "told",
        "untold",
    )  # fmt: skip

    def __init__(self, at: Key, offset: int, epoch: int | None, *, announced: bool) -> None:
        """Begin where delivery begins."""
        self.at = at
        self.place = Place(offset, epoch)
        """Up to where it was received."""
        self.items: deque[Item] = deque()
        """Received and not handed out."""
        self.began: Spot = (offset, epoch)
        """Where delivery began; another object for each time that it did: a seek begins anew."""
        self.next: Spot = (offset, epoch)
        """Behind what was handed out, and whatever lies behind that and is no record."""
        self.handed: Spot = self.began
        """Behind the last record that was handed out."""
        self.done: Spot | None = None
        """Behind what the program has finished; None: nothing of this tenure."""
        self.asked: Spot | None = None
        """What the last commit said; once that has failed, what one said before that was done."""
        self.committed: Spot | None = None
        """Up to where a commit was done since delivery began, as far as is known."""
        self.kept = offset
        """From this offset on it comes to whoever gets it next, as far as is known: a seek of this
        consumer alone commits nothing, and leaves it."""
        self.paused = False
        self.announced = announced
        """The program's callback knows of it; nothing is handed out before."""
        self.untold = not announced
        """Nor has that callback been called for it: the program cannot know of it."""
        self.revoke_by_s: float | None = None
        """Monotonic seconds by which it must be given back; None: it is kept."""
        self.asked_back_on: object = None
        """The stream over which it was asked back."""
        self.had_time = True
        """There was time to give it back when that was said first."""
        self.going = False
        """It is being given back."""
        self.told = False
        """The program knows that nothing more of it is committed."""

    @property
    def is_dirty(self) -> bool:
        """Something is finished that no commit has said yet, nor one that went beyond it."""
        return self.done is not None and (self.asked is None or self.done[0] > self.asked[0])

    @property
    def is_owed(self) -> bool:
        """Something was handed out that no commit covers, and the program does not know it."""
        return not self.told and self.handed is not self.began and self.handed[0] > self.kept

    def restart(self, offset: int) -> None:
        """Begin anew, elsewhere."""
        self.place = Place(offset)
        self.began = self.next = self.handed = (offset, None)
        self.done = self.asked = self.committed = None
        self.told = False

    def ask_back(self, stream: object, now_s: float, left_s: float) -> None:
        """Note that it is asked back over a stream; no time is left if it was taken."""
        if self.revoke_by_s is None:
            self.had_time = left_s > 0
        self.revoke_by_s = now_s + left_s
        self.asked_back_on = stream


class Holdings:
    """Every partition held, and the credit that what has come of them takes."""

    def __init__(self) -> None:
        """Hold nothing."""
        self.by_key: dict[Key, Held] = {}
        self._ready: deque[Held] = deque()
        """With something to hand out, in turns."""
        self._here = [0, 0]
        """Records and bytes that are here and take credit."""
        self._granted = [0, 0]
        """Likewise on their way: granted to the node and not received."""
        self.buffered = 0
        """Records that are here already, and not paused."""
        self.owed: dict[Key, Held] = {}
        """Went with something that was handed out and not committed, and may come again. Until the
        program is told, or a commit that was under way turns out to be done."""

    def add(self, held: Held) -> None:
        """Hold a partition; an earlier tenure of it is over."""
        earlier = self.by_key.get(held.at)
        if earlier is not None:
            self.drop(earlier)
        self.by_key[held.at] = held

    def chosen(self, partitions: Sequence[TopicPartition]) -> Sequence[Held]:
        """Return what is held of these partitions; of none: everything that is kept.

        Raises:
            ValueError: one is not held.
            TypeError: one is no `TopicPartition`.
        """
        if not partitions:
            return [held for held in self.by_key.values() if held.revoke_by_s is None]
        for each in partitions:
            if not isinstance(each, TopicPartition):
                raise TypeError(f"a partition is {each!r}; pass TopicPartition(topic, number)")
            if (each.topic, each.partition) not in self.by_key:
                raise ValueError(f"{each.topic}/{each.partition} is not assigned to this consumer")
        return [self.by_key[each.topic, each.partition] for each in partitions]

    def drop(self, held: Held) -> None:
        """Hold it no longer; what was not handed out is forgotten."""
        if self.by_key.get(held.at) is held:
            del self.by_key[held.at]
            if held.is_owed:
                self.owed[held.at] = held
        self.forget(held)

    def forget(self, held: Held) -> None:
        """Throw away what has come and was not handed out."""
        for item in held.items:
            if isinstance(item, Parcel):
                self._free(item)
        if not held.paused:
            self.buffered -= _records_of(held.items)
        held.items.clear()

    def is_of_now(self, held: Held, began: Spot) -> bool:
        """Tell whether a partition is still held as it was when its delivery began there."""
        return self.by_key.get(held.at) is held and held.began is began

    def take_owed(self) -> Sequence[tuple[Key, int]]:
        """Return what went uncommitted and from which offset on it may come again; once."""
        owed, self.owed = self.owed, {}
        return [(at, held.kept) for at, held in owed.items() if held.is_owed]

    def clear(self) -> Sequence[Held]:
        """Hold nothing any more; return what was held."""
        gone = list(self.by_key.values())
        for held in gone:
            self.drop(held)
        return gone

    def pause(self, held: Held, *, paused: bool) -> None:
        """Hold a partition's records back, or no longer.

        What is here of it takes no credit meanwhile: the others are not to wait for it.
        """
        if paused != held.paused:
            records = _records_of(held.items)
            self.buffered += -records if paused else records
        held.paused = paused
        if paused:
            for place, item in enumerate(held.items):
                if isinstance(item, Parcel):
                    self._free(item)
                    held.items[place] = Parcel(0, 0)
        else:
            self.wake(held)

    def wake(self, held: Held) -> None:
        """Let a partition take its turns, if there is something of it."""
        if held.items and held not in self._ready:
            self._ready.append(held)

    def take(self, message: common.PartitionRecords) -> None:
        """Put a message's steps behind those of its partition.

        Raises:
            CodecMissing: a batch that only a node can expand; what came before it is kept.
        """
        parcel = _parcel_of(message)
        self._granted[0] -= parcel.records
        self._granted[1] -= parcel.size_bytes
        held = self.by_key.get((message.next.topic, message.next.partition))
        if held is None or held.revoke_by_s is not None:
            return
        steps: list[Step] = []
        try:
            take_steps(message, held.place, within=EVERY_TIME, steps=steps)
        except BaseException:
            last = next((step for step in reversed(steps) if isinstance(step, Raw)), None)
            if last is not None:
                held.place = Place(last.offset + 1, last.leader_epoch)
            self._put(held, steps, parcel)
            raise
        epoch = message.next.leader_epoch if message.next.HasField("leader_epoch") else None
        held.place = Place(message.next.offset, epoch)
        self._put(held, steps, parcel)

    def gap(self, gap: common.Gap) -> None:
        """Go on behind what was removed; the program is told in its turn."""
        held = self.by_key.get((gap.partition.topic, gap.partition.partition))
        if held is not None and held.revoke_by_s is None:
            self._go_on(held, gap.next_offset, Trouble(gap_error(gap)))

    def damaged(self, error: TidelogError) -> bool:
        """Go on behind batches that no node can serve; tell whether that is what happened.

        They begin where the partition stands. What is said of elsewhere moves nothing: whatever
        lies between would be passed over untold.
        """
        found = behind_corrupt(error)
        held = None if found is None else self.by_key.get(found[0])
        if found is None or held is None or found[1] <= held.place.offset:
            return False
        if error.metadata.get("offset") not in {None, str(held.place.offset)}:
            return False
        if held.revoke_by_s is None:
            self._go_on(held, found[1], Trouble(error))
        return True

    def trouble(self, key: Key, trouble: Trouble) -> None:
        """Tell the program something in its turn."""
        held = self.by_key.get(key)
        if held is not None:
            self._put(held, [trouble], Parcel(0, 0))

    def next(self, parcels: list[tuple[Held, Item]] | None = None) -> tuple[Held, Step] | None:
        """Return the next step; None: nothing may be handed out now.

        Partitions take turns, a message each. `parcels` gets those that were passed on the way.
        """
        while self._ready:
            held = self._ready[0]
            if held.paused or not held.announced or not held.items:
                self._ready.popleft()
                continue
            item = held.items.popleft()
            if isinstance(item, Parcel):
                self._free(item)
                self._ready.rotate(-1)
                if parcels is not None:
                    parcels.append((held, item))
                continue
            if isinstance(item, Raw):
                self.buffered -= 1
            return held, item
        return None

    def put_back(self, held: Held, items: Sequence[Item]) -> None:
        """Hand out later after all what was taken; it takes its credit again."""
        if held.paused:
            items = [Parcel(0, 0) if isinstance(item, Parcel) else item for item in items]
        else:
            self.buffered += _records_of(items)
        for item in items:
            if isinstance(item, Parcel):
                self._here[0] += item.records
                self._here[1] += item.size_bytes
        held.items.extendleft(reversed(items))
        if held not in self._ready:
            self._ready.appendleft(held)

    def begin(self) -> common.Credit:
        """Return the first credit of a new stream: what is on its way on the old one is lost."""
        self._granted = [0, 0]
        return self.grant() or common.Credit()

    def cursors(self) -> Iterator[common.Cursor]:
        """Yield where each partition that is kept stands, for a new stream to go on there."""
        for held in self.by_key.values():
            if held.revoke_by_s is None:
                topic, partition = held.at
                cursor = common.Cursor(topic=topic, partition=partition, offset=held.place.offset)
                if held.place.leader_epoch is not None:
                    cursor.leader_epoch = held.place.leader_epoch
                yield cursor

    def grant(self) -> common.Credit | None:
        """Return credit that has become free, once it is worth a message."""
        records = RECORDS_AHEAD - self._here[0] - self._granted[0]
        size_bytes = BYTES_AHEAD - self._here[1] - self._granted[1]
        few = records < RECORDS_AHEAD // GRANT_SHARE and size_bytes < BYTES_AHEAD // GRANT_SHARE
        if few:
            return None
        records, size_bytes = max(0, records), max(0, size_bytes)
        self._granted[0] += records
        self._granted[1] += size_bytes
        return common.Credit(records=records, bytes=size_bytes)

    def _go_on(self, held: Held, offset: int, why: Trouble) -> None:
        held.place = Place(offset)
        self._put(held, [why, Advance(held.at, offset, None)], Parcel(0, 0))

    def _put(self, held: Held, steps: Sequence[Step], parcel: Parcel) -> None:
        held.items.extend(steps)
        if held.paused:
            parcel = Parcel(0, 0)
        else:
            self.buffered += _records_of(steps)
        self._here[0] += parcel.records
        self._here[1] += parcel.size_bytes
        held.items.append(parcel)
        self.wake(held)

    def _free(self, parcel: Parcel) -> None:
        self._here[0] -= parcel.records
        self._here[1] -= parcel.size_bytes


def _parcel_of(message: common.PartitionRecords) -> Parcel:
    """Return what a message takes of the credit, exactly as the node counts it (`Credit`)."""
    records = size_bytes = 0
    for batch in message.batches:
        size_bytes += batch.ByteSize()
        records += len(batch.records)
        if batch.encoded:
            records += sum(info_of(whole).record_count for whole in _whole(batch.encoded))
    return Parcel(records, size_bytes)


def _records_of(items: Iterable[Item]) -> int:
    return sum(isinstance(item, Raw) for item in items)


def _whole(encoded: bytes) -> Sequence[memoryview]:
    """Return the stored batches of a message; of one that is damaged, which is told later, none."""
    try:
        return list(split(encoded))
    except CorruptBatchError:
        return ()
