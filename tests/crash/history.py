"""What a workload said, and which recovered states that allows.

A partition is a list of batches that operations change one after the other. After a crash it must
be as it was after one of them: no earlier than the newest that was acknowledged as durable, and no
later than the newest that was begun. Of an append that was not acknowledged, a first part of its
batches may be there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from logstore.leader_epochs import EpochStart, LeaderEpochs
from model.ids import AppendTimeMs, LeaderEpoch, Offset, PartitionId


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
    producers: tuple[object, ...] = ()
    """What was known of the producers afterwards."""


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


class Durable(NamedTuple):
    """The first so many appends, truncations and deletions of a partition are durable."""

    partition: PartitionId
    operations: int


class TrimDurable(NamedTuple):
    """The partition is in a checkpoint: it exists, and its log start never falls below this."""

    partition: PartitionId
    offset: Offset


class ClockDurable(NamedTuple):
    """No batch gets a lower append time, ever."""

    until: AppendTimeMs


Said: TypeAlias = (
    Created | Appended | Truncated | Trimmed | Deleted | Durable | TrimDurable | ClockDurable
)

State: TypeAlias = tuple[Batch, ...]


class Found(NamedTuple):
    """One partition after recovery; what is read from the log start on."""

    log_start: Offset
    log_end: Offset
    batches: State
    producers: tuple[object, ...] = ()
    epochs: tuple[EpochStart, ...] | None = None
    """The table of leader epochs; None: nobody looked."""


@dataclass(slots=True)
class Expected:
    """One partition: its states since the newest durable one, oldest first."""

    states: list[State] = field(default_factory=lambda: [()])
    starts: list[Offset] = field(default_factory=lambda: [Offset(0)])
    durable: int = 0
    """Operations that led to the first of the states."""
    operations: int = 0
    producers: dict[State, tuple[object, ...]] = field(default_factory=dict)
    """What is known of producers when the log is in a state that an append has left."""
    rolled_back: bool = False
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
        for state in self.states:
            if _seen_from(found.log_start, state) == found.batches and _end(state) == found.log_end:
                known = self.producers.get(state)
                if known is not None and known != found.producers:
                    return f"of producers it knows {found.producers}, not {known}"
                epochs = _epochs(state, found.log_start)
                # An empty log may or may not remember the epoch of what was trimmed.
                if found.epochs not in {None, epochs} and found.batches:
                    return f"leader epochs {found.epochs}, not {epochs}"
        return None

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


def _epochs(state: State, log_start: Offset) -> tuple[EpochStart, ...]:
    table = LeaderEpochs()
    for batch in state:
        epoch = LeaderEpoch(int.from_bytes(batch.data[12:16], "big", signed=True))
        if table.latest is None or epoch > table.latest:
            table.appended(epoch, batch.base)
    table.trim(log_start)
    return table.rows


def _seen_from(start: Offset, state: State) -> State:
    return tuple(batch for batch in state if batch.end > start)


def _end(state: State) -> Offset:
    return state[-1].end if state else Offset(0)


class History:
    """What the marks until a cut demand."""

    def __init__(self, said: Sequence[object]) -> None:
        """Read the marks in order."""
        self.partitions: dict[PartitionId, Expected] = {}
        self.clock_floor = AppendTimeMs(0)
        self.cuts = False
        """Something was taken away on request: not all that goes is a loss to be reported."""
        for mark in said:
            self._read(mark)

    def violations(
        self, found: Mapping[PartitionId, Found], clock_floor: AppendTimeMs
    ) -> Iterator[str]:
        """Yield what a recovered directory has that it may not have, and the other way round."""
        if clock_floor < self.clock_floor:
            yield f"the append clock may fall: floor {clock_floor}, was {self.clock_floor}"
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

    def _read(self, mark: object) -> None:
        if isinstance(mark, ClockDurable):
            self.clock_floor = max(self.clock_floor, mark.until)
            return
        assert isinstance(
            mark, Created | Appended | Truncated | Trimmed | Deleted | Durable | TrimDurable
        )
        each = self.partitions.setdefault(mark.partition, Expected())
        match mark:
            case Created():
                pass
            case Appended(_, batches, producers):
                each.change(each.states[-1] + batches)
                if not each.rolled_back:
                    each.producers[each.states[-1]] = producers
            case Truncated(_, offset):
                self.cuts = True
                each.change(tuple(b for b in each.states[-1] if b.end <= offset))
                # Rolling back shortens windows; recovery may find more of them in the log.
                each.producers.clear()
                each.rolled_back = True
            case Trimmed(_, offset):
                self.cuts = True
                each.starts.append(offset)
            case Deleted():
                self.cuts = True
                each.change(each.states[-1])
                each.deleted_by = each.operations
            case Durable(_, operations):
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
