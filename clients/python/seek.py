"""Send a whole group to a moment, also while its members are at work."""

import grpc
from events import say, say_row_error
from read import CLOCKS, timestamp

from tidelog.v1 import common_pb2, group_service_pb2, group_service_pb2_grpc


async def seek(
    channel: grpc.aio.Channel, group: str, topic: str, *, clock: str, time_ms: int
) -> None:
    """Print the plan, carry it out, and print what was done.

    It is done in all partitions or in none. Members are fenced by it and join anew by themselves.
    """
    groups = group_service_pb2_grpc.ConsumerGroupServiceStub(channel)
    request = group_service_pb2.SeekOffsetsRequest(
        group=group,
        topics=[topic],
        seek=common_pb2.Seek(time=timestamp(time_ms), clock=CLOCKS[clock]),
        force=True,
    )
    request.validate_only = True
    plan = await groups.SeekOffsets(request, timeout=10)
    say_changes("planned", plan)
    request.validate_only = False
    done = await groups.SeekOffsets(request, timeout=10)
    say_changes("sought", done)
    say("seek", group_epoch=done.group_epoch, member_count=done.member_count)


def say_changes(event: str, response: group_service_pb2.SeekOffsetsResponse) -> None:
    """Print each partition's move."""
    for change in response.changes:
        if change.HasField("error"):
            say_row_error(change.partition.partition, change.error)
            continue
        say(
            event,
            partition=change.partition.partition,
            before=change.before if change.HasField("before") else None,
            after=change.after,
            redelivered=change.redelivered,
            skipped=change.skipped,
            truncated=change.truncated,
        )
