"""Samples of what a node holds, and whether they stay flat: the judge of a long run."""

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import median
from typing import NamedTuple

from api.node.assemble import Node
from cluster.raft.entry_log import DIRECTORY as METADATA
from logstore.partition_log import PartitionLog

GROWTH_MAX = 0.01
"""Of the median: a day, and over all days that are judged."""
ERRORS = 3
STATM_RESIDENT = 1
ALLOCATED = "allocated blocks"
RESIDENT = "resident bytes"
FILES = "files"
METADATA_FILES = "files of the metadata"
DISK_BYTES = "bytes on disk"
DESCRIPTORS = "descriptors"

Sample = Mapping[str, float]


class Verdict(NamedTuple):
    """One measure over the window."""

    name: str
    median: float
    daily: float
    """Slope of the least-squares line, a day."""
    rise: float
    """What the line rises by from the first sample of the window to the last."""
    scatter: float
    """Three standard errors of that rise."""

    @property
    def flat(self) -> bool:
        """Whether the measure stays where it is; see `judge`."""
        sure = max(0.0, abs(self.rise) - self.scatter)
        slow = abs(self.daily) <= GROWTH_MAX * self.median or abs(self.rise) < 1
        return slow and sure <= GROWTH_MAX * self.median

    def __str__(self) -> str:
        share = self.rise / self.median if self.median else 0.0
        verdict = "flat" if self.flat else "NOT FLAT"
        return (
            f"{self.name:22} {self.median:14,.1f} {self.daily:+13,.3f} {self.rise:+14,.2f} "
            f"{share:+8.2%} {self.scatter:12,.2f}  {verdict}"
        )


HEADINGS = (
    f"{'':22} {'median':>14} {'slope/day':>13} {'rise in all':>14} {'share':>8} {'scatter':>12}"
)


def judge(series: Mapping[str, Sequence[float]], window: int) -> list[Verdict]:
    """Return the verdicts on the last `window` samples of each measure.

    The promise is a slope of at most 1 % of the median. A day is the unit, and that alone would let
    a node grow by a fifth in twenty days: so the rise over the whole window must not exceed 1 %
    either, but for what the samples scatter around their own line (three standard errors). Counts
    are whole: a line that rises by less than one in all days is as flat as one can be.
    """
    verdicts: list[Verdict] = []
    for name, samples in series.items():
        values = samples[-window:]
        daily, error = slope(values)
        days = len(values) - 1
        verdicts.append(Verdict(name, median(values), daily, daily * days, ERRORS * error * days))
    return verdicts


def slope(values: Sequence[float]) -> tuple[float, float]:
    """Return the least-squares slope of values that are one unit apart, and its standard error."""
    count = len(values)
    middle, mean = (count - 1) / 2, sum(values) / count
    spread = sum((at - middle) ** 2 for at in range(count))
    rise = sum((at - middle) * (value - mean) for at, value in enumerate(values)) / spread
    off = sum((value - mean - rise * (at - middle)) ** 2 for at, value in enumerate(values))
    return rise, sqrt(off / max(1, count - 2) / spread)


def sample(node: Node, directory: Path) -> Sample:
    """Look at everything that a node holds; call it when nothing is under way.

    Memory is told twice. Python's own count of allocated blocks is exact and sees every small
    object, but no large buffer; the resident size of the process sees all of it, and noise.
    """
    gc.collect()
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[STATM_RESIDENT])
    return {
        ALLOCATED: sys.getallocatedblocks(),
        RESIDENT: resident * os.sysconf("SC_PAGE_SIZE"),
        FILES: len(sizes),
        METADATA_FILES: len(os.listdir(directory / METADATA)),
        DISK_BYTES: sum(sizes),
        DESCRIPTORS: len(os.listdir("/proc/self/fd")),
        **dict(_tables(node)),
    }


def _tables(node: Node) -> Iterator[tuple[str, float]]:
    """Yield the sizes of the store's own tables, and of the metadata.

    Rows of indexes and append times are those of the segments that were used last: how many depends
    on which, and their memory is counted above.
    """
    state = node.directory._state
    logs = list(node.directory.partitions.values())
    image = node.broker.image
    yield "partitions", len(logs)
    yield "topics", len(image.topics)
    yield "deleted topics", len(image.deleted)
    yield "tasks", len(node._world.spawn)
    yield "damaged places", len(node.broker.context.damage.places)
    yield "checkpoint rows", len(state.rows)
    yield "tombstones", len(state.tombstones)
    yield "unsaved partitions", len(state.unsaved) + len(state.wanted) + len(state.waiting)
    yield "deletions under way", len(state.deleting) + len(state.deleted)
    yield "journal files", len(state.journal._free) + len(state.journal._used)
    yield "open segments", len(state.cache._open)
    yield "loaded segments", len(state.cache._loaded)
    yield "tail bytes counted", state.cache.tails_bytes
    yield "files of the writer", len(node.directory._writer._files)
    yield "names of the writer", len(node.directory._writer._named)
    for name in ("segments", "tail batches", "producers", "epochs"):
        yield name, sum(_of_log(log)[name] for log in logs)
    yield "producer snapshots", sum(len(log.upkeep.snapshots) for log in logs)
    yield "waiters", sum(len(one.committed_acks) + len(one.written_acks) for one in node.partitions)


def _of_log(log: PartitionLog) -> dict[str, int]:
    return {
        "segments": len(log.segment_list),
        "tail batches": len(log.tail._offsets),
        "producers": len(log.producers),
        "epochs": len(log.leader_epochs.rows),
    }
