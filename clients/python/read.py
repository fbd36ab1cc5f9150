"""Read exactly the records of a time range, on either clock."""

import grpc
from events import say, say_record
from google.protobuf.timestamp_pb2 import Timestamp

from tidelog.v1 import common_pb2, log_service_pb2, log_service_pb2_grpc

CLOCKS = {"event": common_pb2.CLOCK_EVENT, "append": common_pb2.CLOCK_APPEND}


def timestamp(time_ms: int) -> Timestamp:
    """Return a time of the log, in milliseconds, as the services take it."""
    time = Timestamp()
    time.FromMilliseconds(time_ms)
    return time


async def read(
    channel: grpc.aio.Channel, topic: str, clock: str, *, start_ms: int, end_ms: int
) -> None:
    """Print the records with start <= time < end; the call ends by itself."""
    log = log_service_pb2_grpc.LogServiceStub(channel)
    range_ = common_pb2.TimeRange(
        clock=CLOCKS[clock], start_time=timestamp(start_ms), end_time=timestamp(end_ms)
    )
    request = log_service_pb2.SubscribeRequest(topics=[topic], range=range_)
    count = 0
    async for response in log.Subscribe(request):
        match response.WhichOneof("event"):
            case "records":
                for step in response.records.partitions:
                    for batch in step.batches:
                        for record in batch.records:
                            say_record(step.next.partition, batch, record)
                            count += 1
            case "gap":  # retention was faster
                gap = response.gap
                say("gap", expected=gap.expected_offset, next=gap.next_offset)
            case _:
                pass  # `opened` tells the bounds; `caught_up` is of no interest here
    say("end", records=count)
