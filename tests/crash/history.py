"""What a workload said, and which recovered states that allows.

A partition is a list of batches that operations change one after the other. After a crash it must
be as it was after one of them: no earlier than the newest that was acknowledged as durable, and no
later than the newest that was begun. Of an append that was not acknowledged, a first part of its
batches may be there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from logstore.leader_epochs import EpochStart
from model.ids import AppendTimeMs, Offset, PartitionId
from tests.crash.derived import epochs_wrong, producers_wrong


class Batch(NamedTuple):
    """One record batch as it must lie on disk."""

    base: Offset
    end: Offset
    data: bytes
    append_time: AppendTimeMs


class Created(NamedTuple):
    """A partition was asked for; nothing is durable."""

    partition: PartitionId


class Appended(NamedTuple):
    """Batches were accepted into memory."""

    partition: PartitionId
    batches: tuple[Batch, ...]


class Truncated(NamedTuple):
    """Everything at and above an offset was taken away."""

    partition: PartitionId
    offset: Offset


class Trimmed(NamedTuple):
    """The log start moved."""

    partition: PartitionId
    offset: Offset


class Deleted(NamedTuple):
    """The partition was deleted."""

    partition: PartitionId


class Removed(NamedTuple):
    """The files of a deleted partition are gone for good: nobody has to look after them."""

    partition: PartitionId


class Durable(NamedTuple):
    """The first so many appends, truncations and deletions of a partition are durable."""

    partition: PartitionId
    operations: int


class Written(NamedTuple):
    """The first so many operations are in the files: a kill takes nothing of them, a cut may."""

    partition: PartitionId
    operations: int


class TrimDurable(NamedTuple):
    """The partition is in a checkpoint: it exists, and its log start never falls below this."""

    partition: PartitionId
    offset: Offset


class ClockDurable(NamedTuple):
    """No batch gets a lower append time, ever."""

    until: AppendTimeMs


class ClockStopped(NamedTuple):
    """The same of a lower time: nothing beyond it was used, and nobody reads the clock any more."""

    at: AppendTimeMs


class Registered(NamedTuple):
    """The directory remembers a registration epoch."""

    epoch: int


State: TypeAlias = tuple[Batch, ...]


class Found(NamedTuple):
    """One partition after recovery; what is read from the log start on."""

    log_start: Offset
    log_end: Offset
    batches: State
    producers: tuple[tuple[object, ...], ...] | None = None
    """Of each producer id its next sequence and its window; None: nobody looked."""
    epochs: tuple[EpochStart, ...] | None = None
    """The table of leader epochs; likewise."""
    damage: tuple[str, ...] = ()
    """What is not as it was written: a power cut alone damages nothing."""


class Reopened(NamedTuple):
    """A start has found this; all of it is durable, and nothing else comes back."""

    found: Mapping[PartitionId, Found]


Said: TypeAlias = (
    Created
    | Appended
    | Truncated
    | Trimmed
    | Deleted
    | Removed
    | Durable
    | Written
    | TrimDurable
    | ClockDurable
    | ClockStopped
    | Registered
    | Reopened
)


class Directory(NamedTuple):
    """What a start has found besides the partitions."""

    clock_floor: AppendTimeMs
    stray: frozenset[PartitionId] = frozenset()
    """Directories that nothing speaks of."""
    registration_epoch: int = 0
    repaired: tuple[str, ...] = ()
    """What had to be made good: a power cut alone damages nothing."""


@dataclass(slots=True)
class Expected:
    """One partition: its states since the newest durable one, oldest first."""

    states: list[State] = field(default_factory=lambda: [()])
    starts: list[Offset] = field(default_factory=lambda: [Offset(0)])
    durable: int = 0
    """Operations that led to the first of the states."""
    operations: int = 0
    rolled_back: bool = False
    """Something was cut off: an emptied log may not know the epoch of its last record any more."""
    shortened: bool = False
    """Something was taken away on request: not all that goes is a loss to be reported."""
    deleted_by: int | None = None
    must_exist: bool = False

    def change(self, state: State) -> None:
        """Note what an operation makes of it."""
        self.states.append(state)
        self.operations += 1

    def is_durable(self, operations: int) -> None:
        """Forget the states that can no longer come back."""
        del self.states[: max(0, operations - self.durable)]
        self.durable = max(self.durable, operations)
        self.must_exist = self.must_exist or operations > 0

    @property
    def must_be_gone(self) -> bool:
        """Whether the deletion is durable."""
        return self.deleted_by is not None and self.durable >= self.deleted_by

    def allows(self, found: Found) -> bool:
        """Tell whether a recovered partition is one of the states that are left."""
        return found.log_start in self.starts and any(
            _seen_from(found.log_start, state) == found.batches and _end(state) == found.log_end
            for state in self._all()
        )

    def forgotten(self, found: Found) -> str | None:
        """Say what is wrong with what a partition knows besides its batches."""
        if found.damage:
            return f"damaged: {found.damage}"
        state = self.state_of(found)
        data = [(batch.data, batch.append_time) for batch in state]
        wrong = None
        if found.producers is not None:
            wrong = producers_wrong(data, found.producers)
        if wrong is None and found.epochs is not None:
            wrong = epochs_wrong(data, found.epochs, found.log_start, may_lack=self.rolled_back)
        return wrong

    def state_of(self, found: Found) -> State:
        """Return the whole state of which a recovered partition shows what is not trimmed."""
        return next(
            state
            for state in self._all()
            if _seen_from(found.log_start, state) == found.batches and _end(state) == found.log_end
        )

    def reopened(self, found: Found) -> None:
        """Go on from what a start has found."""
        self.states = [self.state_of(found)]
        self.starts = [found.log_start]
        self.durable = self.operations
        self.must_exist = True

    def _all(self) -> Iterator[State]:
        """Yield each state, and between an append and the state before it each part of it."""
        before: State = self.states[0]
        yield before
        for state in self.states[1:]:
            if state[: len(before)] == before:
                for count in range(len(before) + 1, len(state)):
                    yield state[:count]
            yield state
            before = state


def _seen_from(start: Offset, state: State) -> State:
    return tuple(batch for batch in state if batch.end > start)


def _end(state: State) -> Offset:
    return state[-1].end if state else Offset(0)


class History:
    """What the marks until a crash demand."""

    def __init__(self, said: Sequence[object], *, killed: bool = False) -> None:
        """Read the marks in order. `killed`: the process went, and the power did not."""
        self._killed = killed
        self.partitions: dict[PartitionId, Expected] = {}
        self.clock_floor = AppendTimeMs(0)
        self.registration_epoch = 0
        self.removed: set[PartitionId] = set()
        for mark in said:
            self._read(mark)

    def violations(self, found: Mapping[PartitionId, Found], directory: Directory) -> Iterator[str]:
        """Yield what a recovered directory has that it may not have, and the other way round."""
        yield from self._of_all(directory)
        for partition in found.keys() - self.partitions.keys():
            yield f"{_name(partition)} was never created"
        for partition, expected in self.partitions.items():
            name, there = _name(partition), found.get(partition)
            if there is None:
                if expected.must_exist and expected.deleted_by is None:
                    yield f"{name} is gone"
            elif expected.must_be_gone:
                yield f"{name} was deleted and is back"
            elif not expected.allows(there):
                yield f"{name}: {_describe(there, expected)}"
            elif (wrong := expected.forgotten(there)) is not None:
                yield f"{name}: {wrong}"

    def _of_all(self, now: Directory) -> Iterator[str]:
        """Yield what is wrong with the directory as a whole."""
        if now.clock_floor < self.clock_floor:
            yield f"the append clock may fall: floor {now.clock_floor}, was {self.clock_floor}"
        if now.registration_epoch < self.registration_epoch:
            yield f"registered as {self.registration_epoch}, it knows {now.registration_epoch}"
        for finding in now.repaired:
            yield f"damaged: {finding}"
        for partition in sorted(now.stray & self.removed):
            yield f"{_name(partition)} was removed, and its files are back"

    def _read(self, mark: object) -> None:
        match mark:
            case ClockDurable(until):
                self.clock_floor = max(self.clock_floor, until)
            case ClockStopped(at):
                self.clock_floor = at
            case Registered(epoch):
                self.registration_epoch = epoch
            case Removed(partition):
                self.removed.add(partition)
            case Reopened(found):
                self.partitions = {partition: self.partitions[partition] for partition in found}
                for partition, there in found.items():
                    self.partitions[partition].reopened(there)
            case _:
                self._read_partition(mark)

    def _read_partition(self, mark: object) -> None:
        """Read a mark that concerns one partition."""
        assert isinstance(
            mark,
            Created | Appended | Truncated | Trimmed | Deleted | Durable | Written | TrimDurable,
        )
        each = self.partitions.setdefault(mark.partition, Expected())
        match mark:
            case Created():
                pass
            case Appended(_, batches):
                each.change(each.states[-1] + batches)
            case Truncated(_, offset):
                each.shortened = each.rolled_back = True
                each.change(tuple(b for b in each.states[-1] if b.end <= offset))
            case Trimmed(_, offset):
                each.shortened = True
                each.starts.append(offset)
            case Deleted():
                each.shortened = True
                each.change(each.states[-1])
                each.deleted_by = each.operations
            case Durable(_, operations):
                each.is_durable(operations)
            case Written(_, operations):
                if self._killed:
                    each.is_durable(operations)
            case TrimDurable(_, offset):
                each.starts = [start for start in each.starts if start >= offset]
                each.must_exist = True


def _name(partition: PartitionId) -> str:
    return f"{partition.topic.hex()[:8]}-{partition.number}"


def _describe(found: Found, expected: Expected) -> str:
    """Say what is there and what may be."""
    have = [(b.base, b.end, b.append_time) for b in found.batches]
    least, most = expected.states[0], expected.states[-1]
    text = (
        f"[{found.log_start}, {found.log_end}) with {have}; "
        f"log start in {expected.starts}, at least {[(b.base, b.end) for b in least]}, "
        f"at most {[(b.base, b.end) for b in most]}"
    )
    known = {batch for state in expected.states for batch in state}
    if strange := [(b.base, b.append_time) for b in found.batches if b not in known]:
        text += f"; never written so: {strange}"
    return text
