"""Appends a machine's records to its internal partition: one decision is one record batch.

It takes the way of every other batch: memory and disk are asked first, the append time is the
node's, and the round that writes it gives the memory back.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from cluster.replication.append import check_in_sync
from cluster.shell.hosted_partition import HostedPartition
from logstore.batch import Stamp
from logstore.batch_encoder import BatchEncoder
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset
from model.record import NewRecord

RecordT = TypeVar("RecordT")


class Intake(Protocol):
    """What a node asks and notes for every batch that it accepts. Loop only."""

    def append_time(self) -> AppendTimeMs:
        """Return the append time of a batch that is accepted now."""
        ...

    def check_room(self, size_bytes: int, *, into_reserve: bool) -> None:
        """Refuse a batch for which there is no memory or no disk.

        `into_reserve`: what goes on when a full disk refuses produced batches (P48).

        Raises:
            RequestError: OVERLOADED, DISK_FULL, STORAGE_ERROR: nothing was appended.
        """
        ...

    def accepted(self, size_bytes: int) -> None:
        """Note that a batch is in the tail now; it is written at the end of the tick."""
        ...


class PartitionStateLog(Generic[RecordT]):
    """A `StateLog` over a hosted partition. Loop only."""

    __slots__ = ("_encode", "_intake", "_partition")

    def __init__(
        self,
        partition: HostedPartition,
        intake: Intake,
        encode: Callable[[RecordT], tuple[bytes, bytes]],
    ) -> None:
        """Append what `encode` makes of records, key and value."""
        self._partition = partition
        self._intake = intake
        self._encode = encode

    def append(self, records: tuple[RecordT, ...]) -> Offset:
        """Take the records as one batch; return the new log end.

        Raises:
            RequestError: nothing was taken: LIMIT_EXCEEDED (too large a batch), OVERLOADED,
                DISK_FULL, STORAGE_ERROR, NOT_ENOUGH_REPLICAS, NOT_LEADER, LEADER_NOT_AVAILABLE.
        """
        partition, intake = self._partition, self._intake
        partition.check_leads()
        if not partition.enough_in_sync:
            check_in_sync(
                in_sync=len(partition.topic.partitions[partition.number].isr),
                min_insync_replicas=partition.rule.min_insync_replicas,
            )
        now = intake.append_time()
        encoder = BatchEncoder()
        encoder.add([NewRecord(now, *self._encode(record)) for record in records])
        limit = partition.log.settings.max_message_bytes
        if encoder.size_bytes > limit:
            raise RequestError(
                ErrorCode.LIMIT_EXCEEDED,
                f"the change makes a batch of {encoder.size_bytes} bytes in "
                f"{partition.topic.name}, at most {limit} are stored as one",
                size_bytes=str(encoder.size_bytes),
                limit=str(limit),
            )
        intake.check_room(encoder.size_bytes, into_reserve=True)
        partition.log.append(
            [encoder.seal(Stamp())],
            leader_epoch=partition.leader_epoch,
            append_time=now,
            bounds=encoder.bounds,
        )
        partition.appended(partition.log.log_end, now)
        intake.accepted(encoder.size_bytes)
        return partition.log.log_end
