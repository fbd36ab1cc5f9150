"""Internal topics that hold a machine's records: names, partitions, settings, framing.

Partition of a name and framing of records: docs/formats/group_records.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from cluster.state_partition.machine import Machine
from logstore.crc32c import crc32c
from model.ids import TopicName
from model.limits import BATCH_BYTES_MAX

RecordT = TypeVar("RecordT")
MachineT = TypeVar("MachineT", bound=Machine[Any])

CONSUMER_OFFSETS: Final = TopicName("__consumer_offsets")
"""Kafka's name of it; ours has records of its own."""
PARTITIONS: Final = 8
"""Of each internal topic, for ever: a name's partition is its checksum modulo this."""
SEGMENT_BYTES: Final = 16 << 20
"""Whole segments are removed below a snapshot: small ones keep little beyond what is needed."""

CONFIG: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cleanup.policy": "delete",
        "max.message.bytes": str(BATCH_BYTES_MAX.value),
        "message.timestamp.type": "CreateTime",
        "retention.bytes": "-1",
        "retention.ms": "-1",
        "segment.bytes": str(SEGMENT_BYTES),
        "tidelog.flush": "quorum",
        "tidelog.timestamp.future.max.ms": "-1",
        "tidelog.timestamp.past.max.ms": "-1",
    }
)
"""Settings of an internal topic: what is below a snapshot goes, nothing else; a decision is one
batch, as large as a batch may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTopic(Generic[MachineT, RecordT]):
    """An internal topic, and the machine that each of its partitions holds the records of."""

    name: TopicName
    new_machine: Callable[[], MachineT]
    """Returns one without any state."""
    encode: Callable[[RecordT], tuple[bytes, bytes]]
    """Returns a record's key and value."""
    decode: Callable[[bytes | None, bytes | None], RecordT]
    """Raises MalformedError, or DirectoryRefused for what a newer release wrote."""
    subject: Callable[[RecordT], str | None]
    """Returns the name that listeners are told when a record is committed; None: nobody asks."""


def partition_of(name: str) -> int:
    """Return the partition that holds everything about a name."""
    return crc32c(name.encode()) % PARTITIONS
