"""Where a consumer's partitions would go on: places, found by the node."""

from collections.abc import Mapping, Sequence
from typing import Literal

from tidelog.calls import RESOLVE_OFFSETS
from tidelog.checkpoint import Key
from tidelog.connection import Connection
from tidelog.consumer_settings import ConsumerSettings
from tidelog.group_calls import LIST_GROUP_OFFSETS
from tidelog.places import isolation_of, seek_of
from tidelog.types import Clock, Isolation, Start
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import group_service_pb2 as groups
from tidelog.v1 import log_service_pb2 as log
from tidelog.wire_errors import failure_of_row


async def sought_offsets(
    connection: Connection,
    settings: ConsumerSettings,
    to: Start | Literal["committed"],
    *,
    keys: Sequence[Key],
    clock: Clock,
) -> Mapping[Key, int]:
    """Return the offset at which a consumer that is sent to a place goes on in each partition.

    At an offset itself, also below the log start: what is gone there is told as a gap.

    Raises:
        TidelogError: the first partition's failure.
    """
    if to == "committed":
        return await committed_offsets(connection, settings.group, keys)
    found = await find_offsets(connection, to, keys, clock=clock, isolation=settings.isolation)
    return dict.fromkeys(found, to) if isinstance(to, int) else found


async def find_offsets(
    connection: Connection, to: Start, keys: Sequence[Key], *, clock: Clock, isolation: Isolation
) -> Mapping[Key, int]:
    """Return the offset that a place means in each partition.

    Raises:
        TidelogError: the first partition's failure.
    """
    request = log.ResolveOffsetsRequest(
        partitions=[common.TopicPartition(topic=at[0], partition=at[1]) for at in keys],
        seek=seek_of(to, clock),
        isolation_level=isolation_of(isolation),
    )
    found: dict[Key, int] = {}
    for row in (await connection.call(RESOLVE_OFFSETS, request)).resolved:
        if row.HasField("error"):
            raise failure_of_row(row.error).error
        end = row.high_watermark if isolation == "read_uncommitted" else row.last_stable_offset
        at = (row.partition.topic, row.partition.partition)
        found[at] = row.offset if row.WhichOneof("at") == "offset" else end
    return found


async def committed_offsets(
    connection: Connection, group: str, keys: Sequence[Key]
) -> Mapping[Key, int]:
    """Return where a group stands in each partition; where nothing is committed, the log start.

    Raises:
        TidelogError: the first partition's failure.
    """
    request = groups.ListGroupOffsetsRequest(group=group, topics=sorted({at[0] for at in keys}))
    found = dict.fromkeys(keys, 0)
    for row in (await connection.call(LIST_GROUP_OFFSETS, request)).offsets:
        at = (row.partition.topic, row.partition.partition)
        if row.HasField("error") and at in found:
            raise failure_of_row(row.error).error
        found[at] = row.committed.offset if row.HasField("committed") else row.log_start_offset
    return {at: found[at] for at in keys}
