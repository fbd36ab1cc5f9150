"""Settings of the log: of a log directory, and what a partition takes from its topic."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

from model.limits import BATCH_BYTES_DEFAULT
from model.settings import Setting, Unit, check_bounds

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000


class Flush(Enum):
    """When a record counts as committed (docs/GUARANTEES.md, P1)."""

    QUORUM = "quorum"
    """Once it is synced on enough replicas: it survives a power cut of all nodes."""

    ASYNC = "async"
    """Once it is written on all in-sync replicas; synced within `flush_ms`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionSettings:
    """What a partition log takes from its topic; the topic's settings have checked the bounds.

    Times are ms, sizes bytes; -1 stands for "none" in retention and in the time bounds.
    """

    flush: Flush = Flush.QUORUM
    flush_ms: int = 1_000
    segment_bytes: int = 256 * MIB
    segment_ms: int = 7 * 24 * HOUR_MS
    retention_ms: int = 7 * 24 * HOUR_MS
    retention_bytes: int = -1
    max_message_bytes: int = BATCH_BYTES_DEFAULT.value
    log_append_time: bool = False
    future_max_ms: int = -1
    past_max_ms: int = -1

    @property
    def bounds_event_times(self) -> bool:
        """Whether batches must be looked into before they are appended."""
        return not self.log_append_time and (self.future_max_ms != -1 or self.past_max_ms != -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How a log directory is written, cut, indexed and kept in memory."""

    index_interval_bytes: Annotated[
        int,
        Setting("Add an index row after at least so much of the log.", Unit.BYTES, 1, MIB),
    ] = 4 * KIB
    journal_file_bytes: Annotated[
        int,
        Setting(
            "Size of one journal file, written with zeros once.", Unit.BYTES, 16 * KIB, 256 * MIB
        ),
    ] = 64 * MIB
    journal_files_max: Annotated[
        int,
        Setting(
            "Journal files at most; when all wait for a checkpoint, appends wait too.",
            Unit.COUNT,
            2,
            64,
        ),
    ] = 8
    direct_append_bytes_min: Annotated[
        int,
        Setting("Longer runs skip the journal: own file, own sync.", Unit.BYTES, 4 * KIB, 16 * MIB),
    ] = 256 * KIB
    round_journal_bytes_max: Annotated[
        int,
        Setting("Journal bytes of one commit round at most.", Unit.BYTES, 16 * KIB, 64 * MIB),
    ] = 16 * MIB
    round_bytes_max: Annotated[
        int,
        Setting("Bytes of one commit round at most, direct runs included.", Unit.BYTES, KIB, GIB),
    ] = 64 * MIB
    checkpoint_bytes: Annotated[
        int,
        Setting(
            "Make partition files durable after so much of the journal: bounds recovery.",
            Unit.BYTES,
            KIB,
            GIB,
        ),
    ] = 64 * MIB
    checkpoint_ms: Annotated[
        int,
        Setting(
            "Make partition files durable at the latest so long after a journaled append.",
            Unit.MILLISECONDS,
            1,
            24 * HOUR_MS,
        ),
    ] = 30_000
    tail_bytes: Annotated[
        int,
        Setting(
            "Keep the newest bytes of a partition in memory after they are on disk.",
            Unit.BYTES,
            0,
            64 * MIB,
        ),
    ] = MIB
    tails_bytes_max: Annotated[
        int,
        Setting(
            "Beyond this sum over all partitions nothing stays in memory that is on disk.",
            Unit.BYTES,
            0,
            64 * GIB,
        ),
    ] = 64 * MIB
    open_files_max: Annotated[
        int,
        Setting(
            "Segment files open for writing, and as many for reading; a quarter of the descriptors "
            "that the process may have, if that is less.",
            Unit.COUNT,
            1,
            65_536,
        ),
    ] = 4_096
    loaded_segments_max: Annotated[
        int,
        Setting(
            "Sealed segments whose index and append times stay in memory.", Unit.COUNT, 1, 65_536
        ),
    ] = 64
    reserve_bytes: Annotated[
        int,
        Setting(
            "Refuse appends when less is free, unless the percentage allows more.",
            Unit.BYTES,
            0,
            1024 * GIB,
        ),
    ] = GIB
    reserve_percent: Annotated[
        int,
        Setting("Of the file system; the lesser of the two reserves counts.", Unit.PERCENT, 0, 50),
    ] = 5
    scrub_interval_ms: Annotated[
        int,
        Setting(
            "Read every closed segment again so often, to find what has rotted on the disk.",
            Unit.MILLISECONDS,
            MINUTE_MS,
            365 * 24 * HOUR_MS,
        ),
    ] = 7 * 24 * HOUR_MS
    scrub_bytes_per_second: Annotated[
        int,
        Setting(
            "How fast at least; a quarter of it while the node is busy, more if the interval needs "
            "it; 0 switches scrubbing off.",
            Unit.BYTES,
            0,
            16 * GIB,
        ),
    ] = 4 * MIB
    producer_ids_max: Annotated[
        int,
        Setting(
            "Producer ids remembered by one partition; of more, the idle longest are forgotten.",
            Unit.COUNT,
            1,
            10_000_000,
        ),
    ] = 100_000
    producer_expiration_ms: Annotated[
        int,
        Setting(
            "Forget a producer so long after its last batch.",
            Unit.MILLISECONDS,
            1,
            365 * 24 * HOUR_MS,
            kafka_name="producer.id.expiration.ms",
        ),
    ] = 24 * HOUR_MS

    def __post_init__(self) -> None:
        """Refuse out-of-range values at the door."""
        check_bounds(self)

    @property
    def direct_bytes_min(self) -> int:
        """From this size on a run goes to its own file.

        Four of the others fit a journal file, and each of them fits a round.
        """
        fits = min(self.journal_file_bytes // 4, self.round_journal_bytes_max // 2)
        return min(self.direct_append_bytes_min, fits)
