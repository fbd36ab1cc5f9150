"""Commits over one Consume stream, as many in flight as are allowed, and one line of JSON.

    python -m bench.client.commit_stream TARGET GROUP TOPIC CURSORS OFFSETS IN_FLIGHT COMMITS

TOPIC has CURSORS partitions with OFFSETS records each; every commit names all of them, each time at
another offset. The clock runs from the first commit to the last answer.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from grpc import aio

from tidelog.v1 import common_pb2, group_service_pb2, group_service_pb2_grpc

Request: Any = group_service_pb2.ConsumeRequest


async def join(call: Any, group: str, topic: str, *, partitions: int) -> None:
    """Become the group's only member, and wait for all partitions; no record is asked for."""
    await call.write(Request(join=Request.Join(group=group, topics=[topic])))
    while partitions:
        message = await call.read()
        partitions -= len(message.assigned.cursors)


async def commit(
    call: Any, cursors: list[list[common_pb2.Cursor]], *, in_flight: int, count: int
) -> None:
    """Keep so many commits unanswered until so many are answered.

    Raises:
        RuntimeError: a row was refused, or the stream ended.
    """
    sent = answered = 0
    while answered < count:
        while sent < count and sent - answered < in_flight:
            rows = cursors[sent % len(cursors)]
            await call.write(Request(commit=Request.Commit(correlation_id=sent, cursors=rows)))
            sent += 1
        message = await call.read()
        if message is aio.EOF:
            raise RuntimeError(f"the stream ended: {await call.details()}")
        if message.WhichOneof("event") != "committed":
            continue
        answered += 1
        for row in message.committed.results:
            if row.HasField("error"):
                raise RuntimeError(row.error.message)


async def main(target: str, group: str, topic: str, *, numbers: Sequence[int]) -> None:
    """Do what the command line says."""
    partitions, offsets, in_flight, count = numbers
    rows = [
        [
            common_pb2.Cursor(topic=topic, partition=number, offset=offset)
            for number in range(partitions)
        ]
        for offset in range(1, offsets + 1)
    ]
    async with aio.insecure_channel(target) as channel:
        groups: Any = group_service_pb2_grpc.ConsumerGroupServiceStub(channel)
        call = groups.Consume()
        await join(call, group, topic, partitions=partitions)
        began, cpu = time.perf_counter(), time.process_time()
        await commit(call, rows, in_flight=in_flight, count=count)
        took = {"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
        await call.write(Request(leave=Request.Leave()))
        while await call.read() is not aio.EOF:
            pass
    print(json.dumps(took))


if __name__ == "__main__":
    to, whose, name, *counts = sys.argv[1:]
    asyncio.run(main(to, whose, name, numbers=[int(count) for count in counts]))
