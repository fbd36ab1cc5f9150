"""Whether a group was served at least once, judged record by record by what its members printed.

A partition's life is a row of holds: a member was given it at an offset, printed records, and had
commits acknowledged. Holds are put in order by the group's epochs, not by any clock: a partition
changes hands only in a later epoch. In each era (before the group was sent elsewhere, and after)
    a hold begins no later than where deliveries have come to: nothing is lost;
    a hold begins no earlier than what was acknowledged before it: nothing else comes twice;
    within a hold, offsets follow each other;
    a commit covers only what its member had printed.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from tests.clients.program import Event
from tests.clients.stored import Log, told

BREAKS: Final = ("cut", "fenced", "left")


@dataclass(slots=True)
class Hold:
    """A partition in the hands of one stream of a member."""

    member: str
    partition: int
    epoch: int
    """The group's, when the partition was given."""
    start: int
    end: int
    """Behind the last record that was printed."""
    committed: list[int] = field(default_factory=list)
    """Acknowledged."""


class Era(NamedTuple):
    """A stretch of a group's life in which it goes on from where it is."""

    epoch: int
    """The first that belongs to it."""
    starts: Mapping[int, int]
    """Where each partition begins."""
    ends: Mapping[int, int]
    """Where each partition has come to when it is over."""


class Judgement(NamedTuple):
    """What is wrong, and what there was."""

    wrong: list[str]
    deliveries: int
    repeats: int
    """Deliveries of a record that had been delivered before in its era."""


def held(events: Sequence[Event]) -> set[int]:
    """Return the partitions that a member has."""
    found: set[int] = set()
    for event in events:
        if event["event"] == "assigned":
            found.add(event["partition"])
        elif event["event"] == "revoked":
            found.discard(event["partition"])
        elif event["event"] in BREAKS:
            found.clear()
    return found


def printed(events: Sequence[Event]) -> dict[int, int]:
    """Return, for each partition that a member ever had, the offset behind what it has printed."""
    found: dict[int, int] = {}
    for event in events:
        if event["event"] == "assigned":
            found[event["partition"]] = event["offset"]
        elif event["event"] == "record":
            found[event["partition"]] = event["offset"] + 1
    return found


def committed(events: Sequence[Event], epoch: int) -> set[tuple[int, int]]:
    """Return the partitions and offsets that a member has committed in this epoch or later."""
    found: set[tuple[int, int]] = set()
    now = -1
    for event in events:
        if event["event"] == "joined":
            now = event["member_epoch"]
        elif event["event"] == "committed" and now >= epoch:
            found.add((event["partition"], event["offset"]))
    return found


class Member:
    """Reads one member's events; notes its holds, and what is wrong in them alone."""

    def __init__(self, name: str, log: Log) -> None:
        self.holds: list[Hold] = []
        self.wrong: list[str] = []
        self._name = name
        self._log = log
        self._epoch = -1
        self._open: dict[int, Hold] = {}
        self._latest: dict[int, Hold] = {}

    def read(self, events: Sequence[Event]) -> "Member":
        """Take in events, in order."""
        for event in events:
            match event["event"]:
                case "joined":
                    self._epoch = event["member_epoch"]
                case "assigned":
                    self._assigned(event["partition"], event["offset"])
                case "revoked":
                    self._open.pop(event["partition"], None)
                case "record":
                    self._record(event)
                case "committed":
                    self._committed(event["partition"], event["offset"])
                case name if name in BREAKS:
                    self._open.clear()
                case "gap" | "row_error":
                    self.wrong.append(f"{self._name}: {event}")
                case _:
                    pass  # of no interest here
        return self

    def _assigned(self, partition: int, offset: int) -> None:
        hold = Hold(self._name, partition, self._epoch, offset, offset)
        self._open[partition] = self._latest[partition] = hold
        self.holds.append(hold)

    def _record(self, event: Event) -> None:
        record = told(event)
        where = f"{self._name}: record {record.partition}/{record.offset}"
        hold = self._open.get(record.partition)
        if hold is None:
            self.wrong.append(f"{where} of a partition that it does not hold")
            return
        if record.offset != hold.end:
            self.wrong.append(f"{where} comes where {hold.end} is next")
        if self._log[record.partition][record.offset : record.offset + 1] != [record]:
            self.wrong.append(f"{where} is not what the log has there")
        hold.end = record.offset + 1

    def _committed(self, partition: int, offset: int) -> None:
        hold = self._latest.get(partition)
        if hold is None or offset > hold.end:
            self.wrong.append(f"{self._name}: {partition}/{offset} committed and not yet printed")
        else:
            hold.committed.append(offset)


@dataclass(slots=True)
class _Way:
    """How far one partition has come in an era."""

    delivered: int
    committed: int
    repeats: int = 0

    def take(self, hold: Hold) -> Iterator[str]:
        """Add a hold; yield what is wrong with it."""
        where = f"{hold.member}, partition {hold.partition}, epoch {hold.epoch}"
        if hold.start > self.delivered:
            yield f"{where}: begins at {hold.start}, {self.delivered} was never delivered"
        if hold.start < self.committed:
            yield f"{where}: begins at {hold.start}, {self.committed} was committed"
        self.repeats += max(0, min(hold.end, self.delivered) - hold.start)
        self.delivered = max(self.delivered, hold.end)
        for offset in hold.committed:
            if offset < self.committed:
                yield f"{where}: commit of {offset} after {self.committed}"
            self.committed = max(self.committed, offset)


def judge(members: Mapping[str, Sequence[Event]], log: Log, eras: Sequence[Era]) -> Judgement:
    """Judge a group that has come to the end of each era, and has committed it."""
    read = [Member(name, log).read(events) for name, events in members.items()]
    wrong = [line for member in read for line in member.wrong]
    deliveries = repeats = 0
    for partition in log:
        holds = [hold for one in read for hold in one.holds if hold.partition == partition]
        holds.sort(key=lambda hold: hold.epoch)  # a member's own stay in their order
        wrong += _two_owners(holds)
        deliveries += sum(hold.end - hold.start for hold in holds)
        for era, until in zip(eras, [*(one.epoch for one in eras[1:]), sys.maxsize], strict=True):
            way = _Way(era.starts[partition], era.starts[partition])
            for hold in holds:
                if era.epoch <= hold.epoch < until:
                    wrong += way.take(hold)
            repeats += way.repeats
            end = era.ends[partition]
            if (way.delivered, way.committed) != (end, end):
                come = f"delivered to {way.delivered}, committed to {way.committed}"
                wrong.append(f"partition {partition}, from epoch {era.epoch}: {come}, not to {end}")
    return Judgement(wrong, deliveries, repeats)


def _two_owners(holds: Sequence[Hold]) -> Iterator[str]:
    for one, other in pairwise(holds):
        if one.epoch == other.epoch and one.member != other.member:
            both = f"{one.member} and {other.member}"
            yield f"partition {one.partition}, epoch {one.epoch}: {both} have it"
