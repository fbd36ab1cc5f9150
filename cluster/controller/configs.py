"""What a topic can be told: names, types, bounds, defaults.

Names are Kafka's; ours begin with `tidelog.`. Values travel as text, as Kafka's clients send them:
numbers are plain, in the unit that ends the name (`retention.ms=604800000`). A name that we do not
serve is refused, with a suggestion; a handful of Kafka's names that cannot matter here are kept and
shown, so that tools which always send them work.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

from logstore.settings import Flush, PartitionSettings
from model.errors import ErrorCode, RequestError
from model.limits import BATCH_BYTES_DEFAULT, BATCH_BYTES_MAX
from model.quantity import parse_quantity
from model.settings import Declaration, Setting, Unit, declarations
from model.suggest import did_you_mean

KIB: Final = 1 << 10
MIB: Final = 1 << 20
DAY: Final = 86_400_000
INT64_MAX: Final = (1 << 63) - 1
VALUE_CHARACTERS_MAX: Final = 1_024
"""No value that means something is longer."""


class TopicKind(Enum):
    """What a topic is for."""

    LOG = "log"
    EVENTSTORE = "eventstore"
    TABLE = "table"


class CleanupPolicy(Enum):
    """How old records go."""

    DELETE = "delete"
    COMPACT = "compact"
    COMPACT_AND_DELETE = "compact,delete"


class CompressionType(Enum):
    """How stored batches are compressed: as the producer did, since they are kept as they came."""

    PRODUCER = "producer"


class TimestampType(Enum):
    """Who sets a record's event time."""

    CREATE_TIME = "CreateTime"
    LOG_APPEND_TIME = "LogAppendTime"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """A topic's settings in force: its own, else the node's, else these defaults."""

    cleanup_policy: Annotated[
        CleanupPolicy, Setting("How old records go.", kafka_name="cleanup.policy")
    ] = CleanupPolicy.DELETE
    compression_type: Annotated[
        CompressionType,
        Setting("Batches are stored as the producer made them.", kafka_name="compression.type"),
    ] = CompressionType.PRODUCER
    flush: Annotated[
        Flush,
        Setting(
            "quorum: an acknowledged record is on disk; async: in the page cache.",
            kafka_name="tidelog.flush",
        ),
    ] = Flush.QUORUM
    flush_ms: Annotated[
        int,
        Setting(
            "With flush=async, sync after so long: what a power cut may take.",
            Unit.MILLISECONDS,
            1,
            DAY,
            kafka_name="tidelog.flush.ms",
        ),
    ] = 1_000
    kind: Annotated[
        TopicKind,
        Setting("What the topic is for; cannot be changed.", kafka_name="tidelog.kind"),
    ] = TopicKind.LOG
    max_message_bytes: Annotated[
        int,
        Setting(
            "Greatest record batch that is accepted.",
            Unit.BYTES,
            0,
            BATCH_BYTES_MAX.value,
            kafka_name="max.message.bytes",
        ),
    ] = BATCH_BYTES_DEFAULT.value
    min_insync_replicas: Annotated[
        int,
        Setting(
            "Replicas that acks=all needs in sync, and flush=quorum on disk; "
            "if not set, more than half of the replicas.",
            Unit.COUNT,
            1,
            32_767,
            kafka_name="min.insync.replicas",
        ),
    ] = 1
    retention_bytes: Annotated[
        int,
        Setting(
            "Delete old segments while a partition holds more; -1: never.",
            Unit.BYTES,
            -1,
            INT64_MAX,
            kafka_name="retention.bytes",
        ),
    ] = -1
    retention_ms: Annotated[
        int,
        Setting(
            "Delete segments whose newest record was appended longer ago; -1: never.",
            Unit.MILLISECONDS,
            -1,
            INT64_MAX,
            kafka_name="retention.ms",
        ),
    ] = 7 * DAY
    segment_bytes: Annotated[
        int,
        Setting(
            "Begin a new segment before one grows beyond.",
            Unit.BYTES,
            KIB,
            1_024 * MIB,
            kafka_name="segment.bytes",
        ),
    ] = 256 * MIB
    segment_ms: Annotated[
        int,
        Setting(
            "Begin a new segment so long after the first append to one.",
            Unit.MILLISECONDS,
            1,
            INT64_MAX,
            kafka_name="segment.ms",
        ),
    ] = 7 * DAY
    timestamp_future_max_ms: Annotated[
        int,
        Setting(
            "Refuse event times further ahead of the append time; -1: none.",
            Unit.MILLISECONDS,
            -1,
            INT64_MAX,
            kafka_name="tidelog.timestamp.future.max.ms",
        ),
    ] = -1
    timestamp_past_max_ms: Annotated[
        int,
        Setting(
            "Refuse event times further behind the append time; -1: none.",
            Unit.MILLISECONDS,
            -1,
            INT64_MAX,
            kafka_name="tidelog.timestamp.past.max.ms",
        ),
    ] = -1
    timestamp_type: Annotated[
        TimestampType,
        Setting(
            "CreateTime keeps the producer's event times; LogAppendTime stamps them over.",
            kafka_name="message.timestamp.type",
        ),
    ] = TimestampType.CREATE_TIME

    @property
    def log_append_time(self) -> bool:
        """Whether the leader stamps its append time over the producer's event times."""
        return self.timestamp_type is TimestampType.LOG_APPEND_TIME

    def partition_settings(self) -> PartitionSettings:
        """Return what the store needs to know of it."""
        return PartitionSettings(
            flush=self.flush,
            flush_ms=self.flush_ms,
            segment_bytes=self.segment_bytes,
            segment_ms=self.segment_ms,
            retention_ms=self.retention_ms,
            retention_bytes=self.retention_bytes,
            max_message_bytes=self.max_message_bytes,
            log_append_time=self.log_append_time,
            future_max_ms=self.timestamp_future_max_ms,
            past_max_ms=self.timestamp_past_max_ms,
        )


SERVED: Final[Mapping[str, Declaration]] = {
    str(declaration.setting.kafka_name): declaration for declaration in declarations(TopicSettings)
}
"""Every setting that does something, by the name under which it is set."""

ALIASES: Final[Mapping[str, str]] = {
    "message.timestamp.after.max.ms": "tidelog.timestamp.future.max.ms",
    "message.timestamp.before.max.ms": "tidelog.timestamp.past.max.ms",
}
"""Kafka's names of settings of ours. Kafka says 2**63 - 1 for "no bound", we say -1 (KIP-937)."""

WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "delete.retention.ms": "86400000",
    "file.delete.delay.ms": "60000",
    "flush.messages": "9223372036854775807",
    "flush.ms": "9223372036854775807",
    "index.interval.bytes": "4096",
    "max.compaction.lag.ms": "9223372036854775807",
    "message.downconversion.enable": "true",
    "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0",
    "preallocate": "false",
    "segment.index.bytes": "10485760",
    "segment.jitter.ms": "0",
    "unclean.leader.election.enable": "false",
}
"""Kafka's names that are kept and shown and change nothing here, with Kafka's default."""


def parse(
    config: Mapping[str, str], *, defaults: Mapping[str, str], replication_factor: int
) -> TopicSettings:
    """Return the settings in force of a topic with that config on a node with those defaults.

    Both are by topic setting's name. Raises:
        RequestError: INVALID_CONFIG naming setting, value and what is accepted; NOT_IMPLEMENTED
            for what a later release will serve.
    """
    values: dict[str, object] = {"min_insync_replicas": replication_factor // 2 + 1}
    for name, text in defaults.items():
        value = read_value(name, text)
        values[SERVED[ALIASES.get(name, name)].name] = value
    said: dict[str, str] = {}
    for name, text in config.items():
        if name in WITHOUT_EFFECT:
            _check_without_effect(name, text)
            continue
        value = read_value(name, text)
        served = ALIASES.get(name, name)
        if served in said:
            raise _invalid(name, text, f"is the same setting as {said[served]}, which is given too")
        said[served] = name
        values[SERVED[served].name] = value
    if "min.insync.replicas" not in said:  # the node's default may ask for more than there are
        values["min_insync_replicas"] = min(
            int(str(values["min_insync_replicas"])), replication_factor
        )
    settings = TopicSettings(**values)  # type: ignore[arg-type]  # each was read by its declaration
    _check_together(settings, replication_factor)
    return settings


def check_default(name: str, text: str) -> None:
    """Accept what a node's configuration sets for topics that set none.

    Raises:
        RequestError: INVALID_CONFIG; NOT_IMPLEMENTED for what a later release will serve. Found
            only at the first topic, it would keep the node from reading its own metadata.
    """
    parse({}, defaults={name: text}, replication_factor=1)


def check_name(name: str) -> None:
    """Accept the name of a topic setting.

    Raises:
        RequestError: INVALID_CONFIG, with the likeliest name that was meant.
    """
    if name not in SERVED and name not in ALIASES and name not in WITHOUT_EFFECT:
        raise unknown_name(name, {*SERVED, *ALIASES, *WITHOUT_EFFECT})


def read_value(name: str, text: str) -> object:
    """Read one value of a setting that does something.

    Raises:
        RequestError: INVALID_CONFIG naming setting, value and what is accepted.
    """
    check_name(name)
    if len(text) > VALUE_CHARACTERS_MAX:
        raise _invalid(name, text[:40] + "...", f"has {len(text)} characters")
    if name in ALIASES and text == str(INT64_MAX):
        return -1
    declaration = SERVED[ALIASES.get(name, name)]
    if issubclass(declaration.kind, Enum):
        for member in declaration.kind:
            if str(member.value) == text:
                return member
        raise _invalid(name, text, f"must be one of: {declaration.range()}")
    number = parse_quantity(text, "")
    if number is None:
        unit = str(declaration.setting.unit)
        meant = parse_quantity(text, unit)
        hint = "" if meant is None else f"; write {meant}"
        raise _invalid(name, text, f"must be a whole number, {declaration.range()}{hint}")
    if declaration.problem(number) is not None:
        raise _invalid(name, text, f"is outside {declaration.range()}")
    return number


def _check_without_effect(name: str, text: str) -> None:
    if len(text) > VALUE_CHARACTERS_MAX:
        raise _invalid(name, text[:40] + "...", f"has {len(text)} characters")
    if name == "unclean.leader.election.enable" and text != "false":
        why = "must be false: an unclean election is an operator's command, never a setting (P14)"
        raise _invalid(name, text, why)


def _check_together(settings: TopicSettings, replication_factor: int) -> None:
    """Refuse what no single value tells."""
    if settings.min_insync_replicas > replication_factor:
        why = f"is more than its replication factor {replication_factor}: nothing could be appended"
        raise _invalid("min.insync.replicas", str(settings.min_insync_replicas), why)
    if settings.cleanup_policy is not CleanupPolicy.DELETE:
        raise _later("cleanup.policy", settings.cleanup_policy.value)
    if settings.kind is not TopicKind.LOG:
        raise _later("tidelog.kind", settings.kind.value)


def _later(name: str, value: str) -> RequestError:
    detail = f"{name}={value} is not served by this release"
    return RequestError(ErrorCode.NOT_IMPLEMENTED, detail, name=name, value=value)


def _invalid(name: str, value: str, why: str) -> RequestError:
    detail = f"{name}={value!r} {why}"
    return RequestError(ErrorCode.INVALID_CONFIG, detail, name=name, value=value, why=why)


def unknown_name(name: str, known: Iterable[str]) -> RequestError:
    """Return the refusal of a setting's name, with the likeliest one that was meant."""
    shown = name[:100].encode("unicode_escape").decode("ascii")
    error = RequestError(ErrorCode.INVALID_CONFIG, f'there is no setting "{shown}"', name=shown)
    meant = did_you_mean(shown, sorted(known))
    if meant is None:
        return error
    detail = f'{error.detail}; did you mean "{meant}"?'
    return RequestError(ErrorCode.INVALID_CONFIG, detail, name=shown, did_you_mean=meant)


def text_of(value: object) -> str:
    """Write a value as `read_value` reads it."""
    return str(value.value) if isinstance(value, Enum) else str(value)
