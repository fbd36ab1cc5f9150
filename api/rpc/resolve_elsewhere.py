"""The rows of ResolveOffsets that other nodes have to answer: those of partitions they lead."""

import asyncio
from collections.abc import Sequence
from typing import Final

from api.broker.broker import Broker
from api.broker.forward import Forwarding, passing
from api.broker.place import AtTime, Place
from api.rpc.answers import check_rows, passed, read_answer
from api.rpc.call import Call
from api.rpc.cluster_elsewhere import part_of
from api.rpc.convert import timestamp
from api.rpc.details import record_error
from model.errors import ErrorCode, RequestError
from model.ids import NodeId
from tidelog.v1 import common_pb2, log_service_pb2

RESOLVE: Final = "LogService/ResolveOffsets"
ONWARD: Final = f"{RESOLVE}#onward"
"""As another node asks for a group that is sent to a time (`AtTime.onward`)."""
PART_MS: Final = 10_000
"""For what a leader may have to search for, the way included."""


async def resolved_elsewhere(
    broker: Broker,
    seek: common_pb2.Seek,
    place: Place,
    *,
    call: Call,
    rows: Sequence[log_service_pb2.Resolved],
) -> None:
    """Let leaders fill in the rows that were refused here as theirs.

    Each has a time of its own: one that does not answer costs its own rows, not all of them.
    `place`: what `seek` means on this node's clock; a time before now is taken once.
    """
    forwarding = broker.context.forwarding
    if forwarding is None or not call.goes_on:
        return
    groups: dict[NodeId, list[log_service_pb2.Resolved]] = {}
    for row in filter(_is_led_elsewhere, rows):
        where = row.partition
        leader = forwarding.leader_elsewhere(broker.image, where.topic, where.partition)
        if leader is not None:
            call.leaders.note(where.topic, where.partition, leader)
            groups.setdefault(leader, []).append(row)
    asked = common_pb2.Seek()
    asked.CopyFrom(seek)
    if isinstance(place, AtTime):
        asked.time.CopyFrom(timestamp(place.time_ms))
    async with asyncio.TaskGroup() as tasks:
        for node, mine in groups.items():
            tasks.create_task(_ask(forwarding, node, asked, call=call, rows=mine))


async def _ask(
    forwarding: Forwarding,
    node: NodeId,
    seek: common_pb2.Seek,
    *,
    call: Call,
    rows: Sequence[log_service_pb2.Resolved],
) -> None:
    """Let one leader fill in its rows."""
    request = log_service_pb2.ResolveOffsetsRequest(
        partitions=[row.partition for row in rows], seek=seek
    )
    try:
        answer = await part_of(
            forwarding, node, RESOLVE, request=request, call=call, part_ms=PART_MS
        )
        told = read_answer(node, log_service_pb2.ResolveOffsetsResponse, answer)
        found = check_rows(node, told.resolved, len(rows))
    except RequestError as refusal:
        for row in rows:
            row.error.CopyFrom(record_error(passing(refusal)))
        return
    for row, one in zip(rows, found, strict=True):
        row.CopyFrom(one)
        if row.HasField("error"):
            row.error.CopyFrom(passed(one.error))


def _is_led_elsewhere(row: log_service_pb2.Resolved) -> bool:
    return row.HasField("error") and row.error.reason == ErrorCode.NOT_LEADER.name
