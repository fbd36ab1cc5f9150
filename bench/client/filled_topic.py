"""Makes a topic, with the same number of records of 100 B in each partition.

Called with TARGET TOPIC PARTITIONS RECORDS.
"""

import asyncio
import sys
from typing import Any, Final

from grpc import aio

from tidelog.v1 import (
    common_pb2,
    log_service_pb2,
    log_service_pb2_grpc,
    topic_service_pb2,
    topic_service_pb2_grpc,
)

Create: Any = topic_service_pb2.CreateTopicRequest
VALUE: Final = b"v" * 100


async def main(target: str, topic: str, *, partitions: int, records: int) -> None:
    """Make it; an answer with an error ends the program."""
    async with aio.insecure_channel(target) as channel:
        topics: Any = topic_service_pb2_grpc.TopicServiceStub(channel)
        logs: Any = log_service_pb2_grpc.LogServiceStub(channel)
        await topics.CreateTopic(Create(topic={"name": topic, "partition_count": partitions}))
        if not records:
            return
        rows = [common_pb2.Record(value=VALUE)] * records
        batches = [
            log_service_pb2.ProduceBatch(topic=topic, partition=number, records=rows)
            for number in range(partitions)
        ]
        answer = await logs.Produce(log_service_pb2.ProduceRequest(batches=batches))
        for result in answer.results:
            if result.HasField("error"):
                raise RuntimeError(f"{topic}/{result.partition}: {result.error.message}")


if __name__ == "__main__":
    to, name, count, each = sys.argv[1:5]
    asyncio.run(main(to, name, partitions=int(count), records=int(each)))
