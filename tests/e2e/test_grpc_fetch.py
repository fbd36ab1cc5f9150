"""Fetch over gRPC: a row for each cursor, whole batches or records, gaps told, nothing left."""

import asyncio
from typing import Any

import pytest

from logstore.batch import encode_batch
from logstore.compression import Codec
from model.record import NewRecord
from tests.grpc_node import GrpcNode, encoded, plain, record, refusal
from tests.grpc_reading import Fetch, bomb, garbage, trim
from tidelog.v1 import common_pb2, log_service_pb2

Cursor = common_pb2.Cursor
WHOLE = common_pb2.ENCODING_BATCH


async def fetch(
    served: GrpcNode, *cursors: Cursor, **fields: Any
) -> list[log_service_pb2.FetchResult]:
    return list((await served.logs.Fetch(Fetch(cursors=cursors, **fields))).results)


async def test_reading_on_from_where_the_last_answer_ended(served: GrpcNode) -> None:
    await served.create("orders")
    for at in range(7):
        await served.produce("orders", plain(b"%d" % at, b"%d again" % at))
    cursor, seen = Cursor(topic="orders"), []
    while cursor.offset < 14:
        (row,) = await fetch(served, cursor, partition_max_bytes=100)
        assert row.records.next.offset > cursor.offset
        seen += [one.offset for batch in row.records.batches for one in batch.records]
        cursor = row.records.next
    assert seen == list(range(14))
    assert cursor.leader_epoch == 0


async def test_from_within_a_batch(served: GrpcNode) -> None:
    await served.create("orders")
    await served.produce("orders", plain(b"a", b"b", b"c"))
    (row,) = await fetch(served, Cursor(topic="orders", offset=1))
    assert [one.value for one in row.records.batches[0].records] == [b"b", b"c"]
    (whole,) = await fetch(served, Cursor(topic="orders", offset=1), encoding=WHOLE)
    assert int.from_bytes(whole.records.batches[0].encoded[:8], "big") == 0
    assert whole.records.next.offset == 3


async def test_each_cursor_has_its_row(served: GrpcNode) -> None:
    await served.create("orders", 2)
    await served.produce("orders", plain(b"a"))
    await served.produce("orders", *[plain(b"x") for _ in range(3)])
    rows = await fetch(
        served,
        Cursor(topic="orders", partition=0),
        Cursor(topic="none"),
        Cursor(topic="orders", partition=5),
        Cursor(topic="orders", partition=1),
        Cursor(topic="orders", offset=-4),
        Cursor(topic="orders", offset=99),
        Cursor(topic="."),
    )
    assert [row.WhichOneof("result") for row in rows] == [
        "records",
        "error",
        "error",
        "records",
        "error",
        "error",
        "error",
    ]
    reasons = [row.error.reason for row in rows if row.HasField("error")]
    assert reasons == [
        "UNKNOWN_TOPIC",
        "UNKNOWN_PARTITION",
        "INVALID_REQUEST",
        "OFFSET_OUT_OF_RANGE",
        "INVALID_TOPIC_NAME",
    ]
    assert rows[5].error.metadata["high_watermark"] == "4"
    assert rows[5].error.metadata["log_start_offset"] == "0"
    empty = rows[3].records
    assert (len(empty.batches), empty.next.offset, empty.high_watermark) == (0, 0, 0)


async def test_what_was_trimmed_is_a_gap_and_never_passed_over(served: GrpcNode) -> None:
    await served.create("orders")
    for at in range(4):
        await served.produce("orders", plain(b"%d" % at))
    await trim(served, "orders", 3)
    (row,) = await fetch(served, Cursor(topic="orders", offset=1))
    assert row.gap == common_pb2.Gap(
        partition=common_pb2.TopicPartition(topic="orders"), expected_offset=1, next_offset=3
    )
    (after,) = await fetch(served, Cursor(topic="orders", offset=3))
    assert after.records.log_start_offset == 3


async def test_a_log_that_was_cut_off_below_what_was_read(served: GrpcNode) -> None:
    await served.create("orders")
    await served.produce("orders", plain(b"a"), plain(b"b"))
    (row,) = await fetch(served, Cursor(topic="orders", offset=5, leader_epoch=0), min_bytes=1)
    assert row.diverged == common_pb2.Diverged(
        partition=common_pb2.TopicPartition(topic="orders"), offset=2, leader_epoch=0
    )
    (same,) = await fetch(served, Cursor(topic="orders", offset=2, leader_epoch=0))
    assert same.WhichOneof("result") == "records"
    (later,) = await fetch(served, Cursor(topic="orders", offset=2, leader_epoch=7))
    assert (later.error.reason, later.error.retryable) == ("UNKNOWN_EPOCH", True), "ask again"


async def test_a_batch_that_does_not_decode_is_told_and_still_served_whole(
    served: GrpcNode,
) -> None:
    await served.create("orders")
    good = encode_batch([NewRecord(0, None, b"good")])
    for sick, reason in ((bomb(), "RECORD_TOO_LARGE"), (garbage(), "CORRUPT_LOG")):
        results = await served.produce("orders", encoded(good), encoded(sick), encoded(good))
        first, bad, last = (result.base_offset for result in results)
        (before,) = await fetch(served, Cursor(topic="orders", offset=first))
        assert [one.value for one in before.records.batches[0].records] == [b"good"]
        assert before.records.next.offset == bad
        (told,) = await fetch(served, before.records.next)
        assert told.error.reason == reason
        assert told.error.metadata["offset"] == str(bad)
        assert told.error.metadata["next_offset"] == str(last)
        assert told.error.metadata["topic"] == "orders"
        assert not told.error.retryable
        (whole,) = await fetch(served, Cursor(topic="orders", offset=bad), encoding=WHOLE)
        assert bytes(sick[16:]) in whole.records.batches[0].encoded
        (after,) = await fetch(served, Cursor(topic="orders", offset=last))
        assert after.records.batches[0].records[0].offset == last


async def test_small_batches_that_expand_are_cut_to_messages(served: GrpcNode) -> None:
    await served.create("orders")
    values = [bytes([at]) * 600_000 for at in range(30)]
    batch = encode_batch([NewRecord(0, None, value) for value in values], compression=Codec.ZSTD)
    assert len(batch) < 1 << 20
    await served.produce("orders", encoded(batch))
    cursor, seen = Cursor(topic="orders"), []
    while cursor.offset < 30:
        (row,) = await fetch(served, cursor, partition_max_bytes=3 << 20)
        assert row.ByteSize() < 4 << 20
        seen += [one.value for run in row.records.batches for one in run.records]
        cursor = row.records.next
    assert seen == values


async def test_a_record_that_fits_no_message_is_told(served: GrpcNode) -> None:
    await served.create("orders")
    batch = encode_batch([NewRecord(0, None, bytes(5 << 20))], compression=Codec.ZSTD)
    await served.produce("orders", encoded(batch))
    (row,) = await fetch(served, Cursor(topic="orders"))
    assert (row.error.reason, row.error.metadata["next_offset"]) == ("RECORD_TOO_LARGE", "1")


async def test_many_cursors_share_one_message(served: GrpcNode) -> None:
    await served.create("orders", 6)
    for partition in range(6):
        await served.produce("orders", plain(b"x" * 900_000, partition=partition))
    cursors = [Cursor(topic="orders", partition=at) for at in range(6)]
    for encoding in (WHOLE, common_pb2.ENCODING_RECORDS):
        rows = await fetch(served, *cursors, encoding=encoding)
        filled = [len(row.records.batches) for row in rows]
        assert sum(filled) in {3, 4}
        assert sum(row.ByteSize() for row in rows) < 4 << 20
        assert all(row.records.next.offset == at for row, at in zip(rows, filled, strict=True))


async def test_a_long_poll_is_answered_by_the_next_append(served: GrpcNode) -> None:
    await served.create("orders")
    poll = served.logs.Fetch(
        Fetch(cursors=[Cursor(topic="orders")], min_bytes=1, max_wait={"seconds": 30})
    )
    waiting = served.node.broker.partition("orders", 0).committed_acks
    while not len(waiting):
        await served.turn()
    await served.produce("orders", plain(b"a"))
    (row,) = (await poll).results
    assert row.records.batches[0].records[0].value == b"a"
    assert len(waiting) == 0


async def test_a_cancelled_long_poll_leaves_nothing_behind(served: GrpcNode) -> None:
    await served.create("orders")
    waiting = served.node.broker.partition("orders", 0).committed_acks
    before = len(asyncio.all_tasks())
    for _ in range(3):
        poll = served.logs.Fetch(
            Fetch(cursors=[Cursor(topic="orders")], min_bytes=1, max_wait={"seconds": 30})
        )
        while not len(waiting):
            await served.turn()
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        while len(waiting):
            await served.turn()
    while served.door.counters.running:
        await served.turn()
    while len(asyncio.all_tasks()) > before + 1:  # gRPC's own end some turns after the calls
        await served.turn()
    assert served.log.lines == []


async def test_an_empty_poll_ends_by_itself(served: GrpcNode) -> None:
    await served.create("orders")
    (row,) = await fetch(
        served, Cursor(topic="orders"), min_bytes=1, max_wait={"nanos": 20_000_000}
    )
    assert row.records.next.offset == 0
    assert not row.records.batches


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"cursors": []}, "INVALID_REQUEST", "cursors"),
        ({"max_bytes": -1}, "INVALID_REQUEST", "max_bytes"),
        ({"max_bytes": (3 << 20) + 1}, "INVALID_REQUEST", "max_bytes"),
        ({"partition_max_bytes": -1}, "INVALID_REQUEST", "partition_max_bytes"),
        ({"min_bytes": -1}, "INVALID_REQUEST", "min_bytes"),
        ({"max_wait": {"seconds": -1}}, "INVALID_REQUEST", "max_wait"),
        ({"encoding": 9}, "INVALID_REQUEST", "encoding"),
        ({"isolation_level": 9}, "INVALID_REQUEST", "isolation_level"),
        ({"consistency": common_pb2.CONSISTENCY_STALE}, "NOT_IMPLEMENTED", "consistency"),
        ({"consistency": common_pb2.CONSISTENCY_LINEARIZABLE}, "NOT_IMPLEMENTED", "consistency"),
        ({"filter": {}}, "NOT_IMPLEMENTED", "filter"),
    ],
)
async def test_requests_that_are_refused_whole(
    served: GrpcNode, *, fields: dict[str, Any], reason: str, field: str
) -> None:
    request = Fetch(**({"cursors": [Cursor(topic="orders")]} | fields))
    found = await refusal(served.logs.Fetch(request))
    assert (found.reason, found.info.metadata["field"]) == (reason, field)


async def test_header_keys_that_are_no_text(served: GrpcNode) -> None:
    await served.create("orders")
    batch = encode_batch([NewRecord(0, None, b"v", ((b"a\xff", b"x"),))])
    await served.produce("orders", encoded(batch))
    (row,) = await fetch(served, Cursor(topic="orders"))
    assert row.records.batches[0].records[0].headers[0].key == "a\ufffd"
    none = record(b"v")
    assert not none.HasField("timestamp_ms")
