"""Fetching one record with the batch that holds it, for `tidelog get`.

The record comes as the node decodes it, so that no codec is needed here; the batch comes as it is
stored, for what its header says.
"""

from typing import Final

from tidelog.batch import info_of, split
from tidelog.calls import FETCH
from tidelog.checkpoint import Place
from tidelog.connection import Connection
from tidelog.errors import LOG_GAP, LogGap, error_of
from tidelog.steps import Raw, Step, Within, take_steps
from tidelog.types import BatchInfo, Record
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import log_service_pb2 as log
from tidelog.wire_errors import failure_of_row

BYTES: Final = 1
"""The node answers with one batch at least, however large it is."""


async def fetch_record(
    connection: Connection, topic: str, partition: int, *, offset: int
) -> tuple[Record[bytes, bytes], BatchInfo]:
    """Return the record at an offset, or the next one if there is none, and its batch.

    Raises:
        OffsetOutOfRange: nothing is there, or beyond.
        LogGap: it was removed, by retention or a trim.
    """
    plain = await _fetch(connection, topic, partition, offset=offset)
    steps: list[Step] = []
    take_steps(plain, Place(offset), within=Within(None), steps=steps)
    raw = next((step for step in steps if isinstance(step, Raw)), None)
    if raw is None:
        raise error_of(
            "OFFSET_OUT_OF_RANGE",
            f"{topic}/{partition} has no record at offset {offset}: it ends at "
            f"{plain.high_watermark}",
            metadata={"topic": topic, "partition": str(partition), "offset": str(offset)},
        )
    whole = await _fetch(
        connection, topic, partition, offset=raw.offset, encoding=common.ENCODING_BATCH
    )
    batch = next(
        info
        for encoded in whole.batches
        for info in map(info_of, split(encoded.encoded))
        if info.base_offset <= raw.offset
    )
    record: Record[bytes, bytes] = Record(
        topic, partition, raw.offset, raw.timestamp_ms, raw.append_time_ms, raw.key, raw.value,
        raw.headers, raw.leader_epoch, None, batch,
    )  # fmt: skip
    return record, batch


async def _fetch(
    connection: Connection,
    topic: str,
    partition: int,
    *,
    offset: int,
    encoding: common.Encoding.ValueType = common.ENCODING_RECORDS,
) -> common.PartitionRecords:
    cursor = common.Cursor(topic=topic, partition=partition, offset=offset)
    request = log.FetchRequest(cursors=[cursor], partition_max_bytes=BYTES, encoding=encoding)
    (row,) = (await connection.call(FETCH, request)).results
    if row.HasField("error"):
        raise failure_of_row(row.error).error
    if row.HasField("gap"):
        raise LogGap(
            f"{topic}/{partition}: offset {offset} was removed; the log begins at "
            f"{row.gap.next_offset}",
            reason=LOG_GAP,
            metadata={
                "topic": topic,
                "partition": str(partition),
                "expected_offset": str(offset),
                "next_offset": str(row.gap.next_offset),
            },
        )
    return row.records
