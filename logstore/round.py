"""Values that go to the writer and checkpointer threads and come back.

What a thread is given it may read and never changes. Partitions are named by their ids: the loop
finds its own objects again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from logstore.journal import Slot
from logstore.journal_entry import Buffer
from logstore.producer_replay import Replay
from logstore.producer_state import ProducerState
from model.ids import AppendTimeMs, LeaderEpoch, Offset, PartitionId, Position

LIGHT_PARTS_MAX: Final = 4
LIGHT_BYTES_MAX: Final = 64 << 10
"""The page cache takes so much in about as long as it takes to wake a thread, 20 to 50 us."""


class Carrier(Enum):
    """What makes a run durable."""

    JOURNAL = "journal"
    DIRECT = "direct"
    """Its own file, synced in the round; the journal has its checksum."""
    FILES = "files"
    """flush=async: nothing before the next checkpoint."""


@dataclass(slots=True)
class Run:
    """Consecutive batches of one partition, segment, leader epoch and append time.

    The loop adds to it until a round takes it; from then on nobody changes it.
    """

    log_name: str
    segment: Offset
    position: Position
    base_offset: Offset
    end_offset: Offset
    leader_epoch: LeaderEpoch
    append_time: AppendTimeMs
    carrier: Carrier
    named: bool = False
    """A checkpoint has made the name of the file durable; told of direct runs."""
    size_bytes: int = 0
    buffers: list[Buffer] = field(default_factory=list)


class FileWrite(NamedTuple):
    """Bytes for one place of one file."""

    name: str
    position: int
    content: bytes


class Cut(NamedTuple):
    """A partition ends at `offset`: once the journal says so, its files are cut."""

    directory: str
    offset: Offset
    kept: Offset | None
    """Base offset of the segment that holds what lies just below; None: nothing is left."""
    gone: tuple[Offset, ...]
    """Segments that go as a whole."""
    replay: Replay | None = None
    """How to find what is known of producers then; None: memory knows, or nobody asks."""


class CutDone(NamedTuple):
    """How long the files of the segment `kept` are now."""

    size_bytes: int
    times_bytes: int
    last_append_time: AppendTimeMs | None = None
    """Of the last row that is left; None: none is."""
    producers: ProducerState | None = None
    """What `Cut.replay` has found."""


@dataclass(slots=True)
class Part:
    """What a round does for one partition."""

    partition: PartitionId
    end_offset: Offset
    runs: list[Run]
    times: Sequence[FileWrite] = ()
    """flush=async: rows that cover the runs, written before them."""
    cut: Cut | None = None
    delete: bool = False
    make_directory: str = ""
    at_once: bool = False
    """Its files are written in this round; else a later one does it, from `Round.filing`."""


@dataclass(slots=True)
class Round:
    """What was accepted since the round before, or a part of it; what rounds before have put off.

    Mostly one of the two.
    """

    filing: list[list[Run]]
    """Runs that the journal of earlier rounds has, by partition: they go to their files, first."""
    parts: list[Part]
    slot: Slot | None
    """Where in the journal; None: nothing in it concerns the journal."""
    first_sequence: int
    end_sequence: int
    synced_sequence: int
    clock: AppendTimeMs | None
    forget: list[str]
    """Files that nobody writes to any more."""

    @property
    def is_light(self) -> bool:
        """Whether it only copies a few bytes into the page cache: no sync, no change of names."""
        parts = self.parts
        if self.slot is not None or self.filing or self.forget or len(parts) > LIGHT_PARTS_MAX:
            return False
        if any(part.make_directory or part.delete or part.cut for part in parts):
            return False
        return sum(run.size_bytes for part in parts for run in part.runs) <= LIGHT_BYTES_MAX


@dataclass(slots=True)
class RoundResult:
    """A round that was written, and synced where it had to be."""

    round: Round
    created: list[PartitionId]
    """Partitions whose directory exists now."""
    cuts: dict[PartitionId, CutDone]
    set_aside: list[str]
    """Directories with data of a partition that nothing knew of: renamed, for people to look at."""
    special: list[Part]
    """Parts that are more than runs for the journal: the others have nothing behind its sync."""


@dataclass(slots=True)
class PartitionCheckpoint:
    """What makes the files of one partition durable."""

    partition: PartitionId
    directory: str
    row: bytes
    end_offset: Offset
    sequence: int
    """Journal entries of the partition below it are reflected."""
    times: list[FileWrite] = field(default_factory=list)
    sync: list[str] = field(default_factory=list)
    """Files to sync, in order; those that do not exist are made."""
    small: list[tuple[str, bytes]] = field(default_factory=list)
    """Snapshots and tables that say what no segment does: written as a whole, and synced."""
    caches: list[tuple[str, bytes]] = field(default_factory=list)
    """Indexes, and what segments say as well: replaced as a whole, never synced, written last."""
    names_changed: bool = False
    unlink: list[str] = field(default_factory=list)
    """Once the checkpoint is durable."""


@dataclass(slots=True)
class CheckpointJob:
    """What one checkpoint does, as of the last finished round."""

    parts: list[PartitionCheckpoint]
    deletions: list[tuple[PartitionId, str]]
    """Partitions whose DELETE is durable, with their directories."""
    directories_changed: bool
    """A partition's directory was made or goes."""
    file: bytes | None
    """The new checkpoint file; None: it would say nothing new."""
    covered: int
    spare: int | None
    """A journal file to be made."""


class CheckpointResult(NamedTuple):
    """A checkpoint that is durable."""

    job: CheckpointJob
    spare: int | None
    """The journal file that was made; None also where the file system had no room for it."""
