"""Append the lines of standard input, each once, however often an answer is lost."""

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TypeVar

import grpc
from events import say, say_row_error
from google.protobuf.message import Message
from refusal import refusal_of

from tidelog.v1 import common_pb2, log_service_pb2, log_service_pb2_grpc

LINES_PER_REQUEST = 60
CALL_S = 10
PAUSE_S = 0.2
ATTEMPTS_MAX = 50
SEQUENCES = 1 << 31
"""A sequence is 31 bits wide; after the last one comes 0."""

Answer = TypeVar("Answer")


async def produce(channel: grpc.aio.Channel, topic: str) -> None:
    """Send lines of `PARTITION TIME_MS KEY VALUE`, with tabs between, one request at a time."""
    log = log_service_pb2_grpc.LogServiceStub(channel)
    # Asked for twice it is another producer: nothing is lost by that.
    answer, _ = await until_answered(log.InitProducer, log_service_pb2.InitProducerRequest())
    producer = answer.producer
    say("producer", id=producer.id, epoch=producer.epoch)
    sequences: Counter[int] = Counter()  # of the next record, for each partition
    while lines := list(islice(sys.stdin, LINES_PER_REQUEST)):
        request = stamped(topic, lines, producer=producer, sequences=sequences)
        response, attempts = await until_answered(log.Produce, request)
        for batch, result in zip(request.batches, response.results, strict=True):
            if result.HasField("error"):
                say_row_error(batch.partition, result.error)
                raise SystemExit(1)
            say(
                "produced",
                partition=result.partition,
                base_offset=result.base_offset,
                records=len(batch.records),
                append_time_ms=result.append_time.ToMilliseconds(),
                duplicate=result.duplicate,
                attempts=attempts,
            )


def stamped(
    topic: str,
    lines: list[str],
    *,
    producer: common_pb2.ProducerId,
    sequences: Counter[int],
) -> log_service_pb2.ProduceRequest:
    """Return a request with a batch for each partition; its stamps make it safe to repeat."""
    runs: defaultdict[int, list[common_pb2.Record]] = defaultdict(list)
    for line in lines:
        partition, record = parsed(line.rstrip("\n"))
        runs[partition].append(record)
    request = log_service_pb2.ProduceRequest(acks=log_service_pb2.ACKS_ALL)
    for number, records in runs.items():
        stamp = log_service_pb2.ProducerStamp(
            producer=producer, base_sequence=sequences[number] % SEQUENCES
        )
        request.batches.add(topic=topic, partition=number, records=records, producer=stamp)
        sequences[number] += len(records)
    return request


def parsed(line: str) -> tuple[int, common_pb2.Record]:
    """Return the partition and the record of a line, or end the program with what is wrong."""
    try:
        partition, time_ms, key, value = line.split("\t")
        record = common_pb2.Record(
            timestamp_ms=int(time_ms), key=key.encode(), value=value.encode()
        )
        return common_pb2.TopicPartition(partition=int(partition)).partition, record
    except ValueError:  # also of a number that its field has no room for
        sys.stderr.write(f"not PARTITION TIME_MS KEY VALUE: {line!r}\n")
        raise SystemExit(2) from None


async def until_answered(
    method: Callable[..., Awaitable[Answer]], request: Message
) -> tuple[Answer, int]:
    """Send the very same request until there is an answer that a repetition would not change.

    A stamped batch that the log has already is answered with its first offset and `duplicate`:
    so a lost answer, an expired deadline and a row that may succeed later are all repeated.
    """
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            response = await method(request, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            refusal = refusal_of(error)
            if refusal is not None and not refusal.retryable and refusal.outcome != "UNKNOWN":
                raise
            say("retry", status=error.code().name, reason=refusal.reason if refusal else None)
        else:
            rows = getattr(response, "results", ())
            waits = [row.error for row in rows if row.HasField("error") and row.error.retryable]
            if not waits:
                return response, attempt
            say("retry", status="OK", reason=waits[0].reason)
        await asyncio.sleep(PAUSE_S)
    raise SystemExit(f"no answer after {ATTEMPTS_MAX} attempts")
