"""What goes in and comes out: frozen values, the same for `tidelog` and `tidelog.sync`.

Datetimes are aware; naive ones are refused with ValueError. The log keeps milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, Literal, TypeAlias
from uuid import UUID

from typing_extensions import TypeVar

K = TypeVar("K", default=bytes)
V = TypeVar("V", default=bytes)
T = TypeVar("T", default=Any)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Clock: TypeAlias = Literal["event", "append"]
"""event: the record's own timestamp, in any order. append: when the leader took it, never falling.
Where a clock is not named: event."""


@dataclass(frozen=True, slots=True)
class FromEdge:
    """So many offsets after the earliest, or before the latest."""

    edge: Literal["earliest", "latest"]
    offsets: int


Start: TypeAlias = Literal["earliest", "latest"] | int | datetime | timedelta | FromEdge
"""A place in each partition: an edge, an offset, the first record at or after a time, or so long
before now by the server's clock."""
Order: TypeAlias = Literal["partition", "append", "event", "event_sorted"]
Isolation: TypeAlias = Literal["read_committed", "read_uncommitted"]
Outcome: TypeAlias = Literal["done", "not_done", "unknown"]
TopicKind: TypeAlias = Literal["log", "eventstore", "table"]
Compression: TypeAlias = Literal["none", "gzip", "snappy", "lz4", "zstd"]
HeadersIn: TypeAlias = Mapping[str, bytes | str] | Sequence[tuple[str, bytes | str | None]]


@dataclass(frozen=True, slots=True)
class TopicPartition:
    """One partition."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class RecordId:
    """One record."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """The next offset to read in one partition."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int | None = None
    """Of the record before `offset`; None: a log that was cut off is not noticed."""
    metadata: str = ""
    """Of a group's commit: whatever the program wants to keep with it, up to 4 KiB."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Exactly the records with start <= clock < end. A timedelta is so long before now.

    None: the log start; the log end now.
    """

    start: datetime | timedelta | None = None
    end: datetime | timedelta | None = None
    clock: Clock = "event"

    def __post_init__(self) -> None:
        """Refuse what is no time: it would be read as no bound at all.

        Raises:
            TypeError: a bound is a date, a number or a text.
        """
        for name, bound in (("start", self.start), ("end", self.end)):
            if bound is not None and not isinstance(bound, datetime | timedelta):
                raise TypeError(
                    f"TimeRange.{name} is {bound!r}; pass a datetime with a time zone, such as "
                    "datetime(2026, 1, 1, tzinfo=UTC), or a timedelta: so long before now"
                )


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where a Start lies in one partition."""

    partition: TopicPartition
    offset: int | Literal["end"]
    """"end" if no record at or after that time exists now."""
    time: datetime | None
    """The found record's, on the clock asked for; None: no record was looked at."""
    truncated: bool
    """History between the place asked for and the answer was removed, or may have been; of a time,
    a record of a time between the one asked for and that of the answer, both included."""
    log_start_offset: int
    high_watermark: int
    last_stable_offset: int
    closed_time: datetime
    """No record that is still to come will have an append time below this."""


@dataclass(frozen=True, slots=True)
class ReadBounds:
    """What a replay has left to read of one partition."""

    partition: TopicPartition
    start: int
    stop: int | None
    """Exclusive; None: it follows the log, or its end is not known yet."""
    truncated: bool
    """History between the start asked for and the first record was removed, or may have been."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far one partition's log reached when it was last heard of."""

    log_start_offset: int
    high_watermark: int
    last_stable_offset: int
    closed_time: datetime | None


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """What a stored batch says of itself beside its records."""

    base_offset: int
    record_count: int
    size_bytes: int
    compression: Compression
    crc32c: int
    producer_id: int
    """-1: the producer was not idempotent, and the next two say nothing."""
    producer_epoch: int
    base_sequence: int


@dataclass(frozen=True, slots=True)
class Record(Generic[K, V]):
    """One record of a log."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    """Event time, ms since 1970 UTC; None: the record has none and is in no event range."""
    append_time_ms: int
    """When the leader took it: in steps of 10 ms, never falling within a partition."""
    key: K | None
    value: V | None
    headers: tuple[tuple[str, bytes | None], ...]
    """In their order; keys may repeat."""
    leader_epoch: int
    replay_id: str | None = None
    """The replay that this record is part of."""
    batch: BatchInfo | None = field(default=None, repr=False, compare=False)
    """Known where the client reads batches itself (the extra `speed`)."""

    @property
    def timestamp(self) -> datetime | None:
        """Event time.

        Raises:
            ValueError: a producer has written a time beyond the year 9999; see `timestamp_ms`.
        """
        return None if self.timestamp_ms is None else datetime_of(self.timestamp_ms)

    @property
    def append_time(self) -> datetime:
        """When the leader took it."""
        return datetime_of(self.append_time_ms)

    @property
    def is_replay(self) -> bool:
        """Whether this is history read again, and not a delivery to a group."""
        return self.replay_id is not None

    @property
    def id(self) -> RecordId:
        """Its place."""
        return RecordId(self.topic, self.partition, self.offset)

    @property
    def cursor(self) -> Cursor:
        """Of the record after this one."""
        return Cursor(self.topic, self.partition, self.offset + 1, self.leader_epoch)

    def header(self, name: str) -> bytes | None:
        """Return the value of the last header of a name, as Kafka's clients do; None: none."""
        for key, value in reversed(self.headers):
            if key == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class Ack:
    """Where a record is."""

    topic: str
    partition: int
    offset: int | None
    """The true offset. None with acks="none", or for a duplicate so old that it is not known."""
    append_time: datetime | None
    duplicate: bool
    """An earlier try had stored it already; it is in the log once."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of a topic."""

    id: int
    leader: int | None
    leader_epoch: int
    replicas: tuple[int, ...]
    in_sync_replicas: tuple[int, ...]
    log_start_offset: int | None
    """None, likewise below: the leader did not answer."""
    high_watermark: int | None
    size_bytes: int | None
    eligible_leaders: tuple[int, ...] = ()
    """Not in sync, yet complete enough to lead."""
    replica_log_ends: Mapping[int, int] = field(default_factory=dict)
    """Where the logs of replicas end, by node: the leader's, and of those that it hears."""


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic."""

    name: str
    topic_id: UUID
    kind: TopicKind
    partition_count: int
    replication_factor: int
    config: Mapping[str, str]
    """What differs from the defaults."""
    create_time: datetime
    partitions: tuple[Partition, ...]
    """Empty in a list of topics."""
    internal: bool = False


@dataclass(frozen=True, slots=True)
class ConfigValue:
    """A setting as it is."""

    name: str
    value: str | None
    """None = secret."""
    source: Literal["default", "static", "cluster", "resource"]
    default: str
    documentation: str
    restart_required: bool


@dataclass(frozen=True, slots=True)
class Broker:
    """A node that holds partitions."""

    id: int
    rack: str
    version: str
    state: Literal["unknown", "starting", "running", "draining", "drained", "fenced", "offline"]
    endpoints: Mapping[str, str]
    """Name of the listener to host:port."""
    directory_ids: tuple[str, ...] = ()
    """UUIDs of its log directories; number and directory together are its identity."""
    leaders: int = 0
    """Partitions that it leads."""
    replicas: int = 0
    """Partitions that it has a copy of."""
    disk_used_bytes: int | None = None
    """None, likewise below: the node did not say."""
    disk_total_bytes: int | None = None
    start_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """The map of the cluster."""

    cluster_id: str
    controller: int | None
    brokers: tuple[Broker, ...]
    status: Literal["unknown", "healthy", "degraded", "unhealthy"]
    reasons: tuple[str, ...]
    """Why it is not healthy, in sentences."""
    feature_level: int
    leaderless: tuple[TopicPartition, ...] = ()
    """Partitions that cannot be read or written."""
    under_replicated: tuple[TopicPartition, ...] = ()
    """Not all of their replicas are in sync."""
    under_min_isr: tuple[TopicPartition, ...] = ()
    """Fewer than min.insync.replicas are: acks=all is refused."""


def datetime_of(time_ms: int) -> datetime:
    """Return ms since 1970 as a datetime in UTC.

    Raises:
        ValueError: beyond the year 9999, where datetime ends.
    """
    try:
        return EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        raise ValueError(f"{time_ms} ms since 1970 is beyond what datetime can hold") from None
