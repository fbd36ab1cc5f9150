"""From what the answers said to the oracle, and what the stored batches are like."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from model.record import BatchHeader
from tests.blind.lying_relay import TOO_HIGH, TOO_LOW
from tests.blind.oracle import Oracle, Row
from tests.blind.readers import Readers, rows_of
from tests.blind.workload import PARTITIONS, Stored

CLOCK_MS: Final = 20
"""Append times are of ticks of 10 ms; a client's times are rounded, too."""
CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(slots=True)
class Kinds:
    """What was found among the stored batches."""

    batches: int = 0
    out_of_order: int = 0
    """With a record whose time lies before that of the record before it."""
    lies: Counter[str] = field(default_factory=Counter)
    """Whose header claims another greatest time than its records have."""
    codecs: Counter[str] = field(default_factory=Counter)

    def add(self, batch: bytes, rows: Sequence[Row]) -> None:
        """Count one batch."""
        header = BatchHeader(memoryview(batch))
        times = [row.event_ms for row in rows if row.event_ms is not None]
        self.batches += 1
        self.codecs[CODECS[header.compression]] += 1
        self.out_of_order += any(after < before for before, after in pairwise(times))
        if header.event_time_max != max(times):
            self.lies[TOO_LOW if header.event_time_max < max(times) else TOO_HIGH] += 1

    def lacking(self) -> list[str]:
        """Return what a workload must have and this one has not."""
        needed = {
            "records out of order inside a batch": self.out_of_order,
            f"a batch that {TOO_LOW}": self.lies[TOO_LOW],
            f"a batch that {TOO_HIGH}": self.lies[TOO_HIGH],
            **{f"a batch of codec {codec}": self.codecs[codec] for codec in CODECS},
        }
        return [f"the log holds none of: {what}" for what, there in needed.items() if not there]

    def line(self) -> str:
        """Return the counts in one line."""
        codecs = ", ".join(f"{name} {self.codecs[name]}" for name in CODECS)
        return (
            f"{self.batches} batches ({codecs}); {self.out_of_order} with records out of order, "
            f"{self.lies[TOO_LOW]} that say a greatest time too low and {self.lies[TOO_HIGH]} "
            "too high"
        )


def _is_within(append_ms: int, between: tuple[int, int]) -> bool:
    """Tell whether a time can be of that span; both clocks are this machine's."""
    sent, heard = between
    return sent - CLOCK_MS <= append_ms <= heard + CLOCK_MS


async def read_back(readers: Readers, stored: Sequence[Stored]) -> tuple[Oracle, Kinds, list[str]]:
    """Return the oracle, what the batches are like, and where the log is not what answers said.

    Reads everything once by offset. Of a record that librdkafka produced it takes the append time,
    which must lie between when it was sent and when its answer came; of any other it makes sure
    that the log has the one that the answer gave.
    """
    kinds = Kinds()
    found: dict[tuple[int, int], Row] = {}
    wrong: list[str] = []
    async for batch, partition, append_ms in readers.everything(range(PARTITIONS)):
        rows = rows_of(batch, partition, append_ms)
        kinds.add(batch, rows)
        for row in rows:
            if found.setdefault((partition, row.offset), row) is not row:
                wrong.append(f"offset {row.offset} of partition {partition} was read twice")
    expected: list[Row] = []
    homes: dict[bytes, int] = {}
    for one in stored:
        place = (one.partition, one.offset)
        if place not in found:
            wrong.append(f"{one} is not in the log, or another has its place")
            continue
        row = found.pop(place)
        append_ms = row.append_ms if one.append_ms is None else one.append_ms
        if one.between is not None and not _is_within(append_ms, one.between):
            wrong.append(f"{one.door} sent and was answered in {one.between}, the log has {row}")
        flight = one.flight
        mine = Row(one.partition, one.offset, flight.time_ms, append_ms, flight.key, flight.value)
        expected.append(mine)
        if mine != row:
            wrong.append(f"{one.door} was told of {mine}, the log has {row}")
        if flight.key is not None and homes.setdefault(flight.key, mine[0]) != mine[0]:
            wrong.append(f"{flight.key!r} lies in two partitions, {homes[flight.key]} and {mine}")
    wrong += [f"the log has {row}, which no answer told of" for row in found.values()]
    wrong += kinds.lacking()
    if wrong:
        return Oracle([], PARTITIONS), kinds, wrong
    return Oracle(expected, PARTITIONS), kinds, []
