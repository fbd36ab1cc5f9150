"""What happened, as one line of JSON an event on standard output."""

import json

from tidelog.v1 import common_pb2


def say(event: str, **fields: object) -> None:
    """Print an event, at once: whoever reads along knows of it before anything else is done."""
    print(json.dumps({"event": event, **fields}), flush=True)


def say_record(partition: int, batch: common_pb2.RecordBatch, record: common_pb2.Record) -> None:
    """Print a record; its append time is the batch's."""
    say(
        "record",
        partition=partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms if record.HasField("timestamp_ms") else None,
        append_time_ms=batch.append_time.ToMilliseconds(),
        key=record.key.decode() if record.HasField("key") else None,
        value=record.value.decode() if record.HasField("value") else None,
    )


def say_row_error(partition: int, error: common_pb2.RecordError) -> None:
    """Print why one row of an answer was refused; the call itself went well."""
    say(
        "row_error",
        partition=partition,
        reason=error.reason,
        outcome=common_pb2.Outcome.Name(error.outcome),
        retryable=error.retryable,
        message=error.message,
    )
