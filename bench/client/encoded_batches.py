"""Record batches of 512 KiB through the generated stubs, and one line of JSON.

    python -m bench.client.encoded_batches produce|consume TARGET TOPIC RECORDS

A batch is encoded once and sent again and again: what is measured is the way to the log and back,
not the encoder. The clock runs from the first batch handed over to the last acknowledgement, or
from the first batch read to the last.
"""

import asyncio
import json
import sys
import time
from typing import Any, Final

from grpc import aio

from tidelog.batch import Row, encode_body, info_of, seal, split
from tidelog.v1 import common_pb2, log_service_pb2, log_service_pb2_grpc

Produce: Any = log_service_pb2.ProduceRequest
Subscribe: Any = log_service_pb2.SubscribeRequest
VALUE: Final = b"v" * 1024
BATCH_RECORDS: Final = (512 << 10) // (len(VALUE) + 12)
"""A record has up to 12 bytes beside its value."""
IN_FLIGHT: Final = 5
"""Unanswered batches of one partition: no client keeps more."""


async def produce(logs: Any, topic: str, records: int) -> float:
    """Append at least so many records; return the seconds that a record of them took."""
    rows = [Row(1_700_000_000_000, None, VALUE)] * BATCH_RECORDS
    batch = log_service_pb2.ProduceBatch(
        topic=topic, partition=0, encoded=seal(encode_body(rows, "none"))
    )
    request = Produce(batches=[batch], acks=log_service_pb2.ACKS_LEADER)
    batches = -(-records // BATCH_RECORDS)
    call = logs.ProduceStream()
    began = time.perf_counter()
    for number in range(batches + IN_FLIGHT):
        if number >= IN_FLIGHT:
            answer = await call.read()
            if answer is aio.EOF or answer.produce.results[0].HasField("error"):
                raise RuntimeError(f"refused: {answer}")
        if number < batches:
            message = log_service_pb2.ProduceStreamRequest(correlation_id=number, produce=request)
            await call.write(message)
    took = time.perf_counter() - began
    await call.done_writing()
    return took / (batches * BATCH_RECORDS)


async def consume(logs: Any, topic: str, records: int) -> float:
    """Read from the beginning until so many records came; return the seconds of one."""
    request = Subscribe(
        topics=[topic],
        start=common_pb2.Seek(edge=common_pb2.EDGE_EARLIEST),
        encoding=common_pb2.ENCODING_BATCH,
    )
    began, got, uncounted = 0.0, 0, 0
    async for message in logs.Subscribe(request):
        for step in message.records.partitions:
            for run in step.batches:
                got += sum(info_of(batch).record_count for batch in split(run.encoded))
        if began == 0 and got:
            began, uncounted = time.perf_counter(), got
        if got >= records:
            return (time.perf_counter() - began) / (got - uncounted)
    raise RuntimeError(f"{got} of {records} records came")


async def main(verb: str, target: str, topic: str, *, records: int) -> None:
    """Do what the command line says."""
    async with aio.insecure_channel(target) as channel:
        logs = log_service_pb2_grpc.LogServiceStub(channel)
        cpu = time.process_time()
        record_s = await (produce if verb == "produce" else consume)(logs, topic, records)
        cpu = time.process_time() - cpu
    print(json.dumps({"bytes_per_s": len(VALUE) / record_s, "cpu_s": cpu}))


if __name__ == "__main__":
    what, to, name, count = sys.argv[1:5]
    asyncio.run(main(what, to, name, records=int(count)))
