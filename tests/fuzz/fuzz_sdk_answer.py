"""Any bytes as a node's answer to the SDK, row by row and error by error; the first byte chooses.

A program gets values, or one of the SDK's errors; a ValueError says which time or id of the answer
is none that Python can hold.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from logstore.batch import encode_batch
from model.record import NewRecord
from tidelog.checkpoint import Place
from tidelog.errors import OffsetOutOfRange, TidelogError
from tidelog.steps import Step, Trouble, Within, take_steps
from tidelog.topics import config_of, resolved_of, topic_of
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import config_service_pb2, log_service_pb2, topic_service_pb2
from tidelog.wire_errors import DETAILS, DOMAIN, failure_of_row, failure_of_status

TIME: Final = 1_700_000_000
READS: Final = 4
"""A row of a dozen bytes is parsed, read field by field, and becomes an object with times."""


class _Ended:
    """The end of a call, as gRPC tells it."""

    def __init__(self, details: bytes) -> None:
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.FAILED_PRECONDITION

    def details(self) -> str:
        return "it failed"

    def trailing_metadata(self) -> list[tuple[str, bytes]]:
        return [(DETAILS, self._details)]


def _look(error: TidelogError) -> None:
    """Read what programs read of an error."""
    assert error.outcome in {"done", "not_done", "unknown"}
    assert str(error)
    if isinstance(error, OffsetOutOfRange):
        _ = error.partition, error.requested, error.log_start_offset, error.high_watermark


def _status(data: bytes) -> None:
    failure = failure_of_status(cast(Any, _Ended(data)), "127.0.0.1:9095")
    assert failure.retry_after_s is None or isinstance(failure.retry_after_s, float)
    _look(failure.error)


def _records(message: Message) -> None:
    assert isinstance(message, common.PartitionRecords)
    times = common.TimeRange(clock=common.CLOCK_EVENT)
    times.start_time.seconds = 1
    for within in (Within(None), Within(times)):
        steps: list[Step] = []
        take_steps(message, Place(1), within=within, steps=steps)
        for step in steps:
            if isinstance(step, Trouble):
                _look(step.error)


class _Answer(NamedTuple):
    """A message that is right, and who reads it."""

    sample: Message
    read: Callable[[Any], object]


def _samples() -> list[_Answer]:
    topic = topic_service_pb2.Topic(name="t", topic_id="00000000-0000-0000-0000-000000000001")
    topic.create_time.seconds = TIME
    topic.config["retention.ms"] = "1000"
    topic.partitions.add(id=1, leader_id=0, high_watermark=7, replica_ids=[0])
    entries = config_service_pb2.GetConfigResponse()
    entries.entries.add(name="retention.ms", value="7", default_value="9")
    resolved = log_service_pb2.Resolved(offset=7, log_start_offset=1)
    resolved.time.seconds = resolved.closed_time.seconds = TIME
    refused = log_service_pb2.Resolved()
    refused.error.CopyFrom(_row())
    records = common.PartitionRecords(high_watermark=9)
    records.next.topic, records.next.partition, records.next.offset = "t", 1, 9
    plain = records.batches.add(leader_epoch=1)
    plain.append_time.seconds = TIME
    plain.records.add(offset=3, timestamp_ms=17, key=b"k", value=b"v").headers.add(key="h")
    whole = records.batches.add(encoded=bytes(encode_batch([NewRecord(5, b"k", b"v")] * 2)))
    whole.append_time.seconds = TIME
    return [
        _Answer(topic, topic_of),
        _Answer(entries, lambda message: config_of(message.entries)),
        _Answer(resolved, resolved_of),
        _Answer(refused, resolved_of),
        _Answer(records, _records),
        _Answer(_row(), lambda message: _look(failure_of_row(message).error)),
    ]


def _row() -> common.RecordError:
    row = common.RecordError(reason="OFFSET_OUT_OF_RANGE", message="gone", retryable=True)
    row.metadata["log_start_offset"] = "7"
    row.metadata["partition"] = "1"
    row.retry_delay.seconds = 1
    return row


def _status_samples() -> list[bytes]:
    found = []
    for reason in ("OFFSET_OUT_OF_RANGE", "DISK_FULL", "OF_A_NEWER_NODE"):
        info = ErrorInfo(reason=reason, domain=DOMAIN)
        info.metadata["partition"] = info.metadata["offset"] = "3"
        info.metadata["log_start_offset"] = "5"
        retry = RetryInfo()
        retry.retry_delay.seconds = 3
        status = Status(code=9, message=reason)
        for detail in (info, retry):
            status.details.add().Pack(detail)
        found.append(status.SerializeToString())
    return found


ANSWERS: Final = _samples()


def samples() -> list[bytes]:
    """Return an answer of each kind, and ends of calls."""
    each = [bytes([n]) + one.sample.SerializeToString() for n, one in enumerate(ANSWERS)]
    return each + [bytes([len(ANSWERS)]) + end for end in _status_samples()]


def fuzz(data: bytes) -> None:
    """Read the answer as a program would."""
    kind = data[0] % (len(ANSWERS) + 1) if data else 0
    with suppress(TidelogError, ValueError):
        if kind == len(ANSWERS):
            _status(data[1:])
            return
        sample, read = ANSWERS[kind]
        message = type(sample)()
        try:
            message.ParseFromString(data[1:])
        except DecodeError:
            return  # gRPC tells it as the end of the call
        read(message)
