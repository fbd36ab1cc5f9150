"""What a message takes of a reader's credit: by the node's count, and by the SDK's."""

from api.rpc.credit_cost import cost_of
from tests.broker_node import batch_of
from tidelog.held import BYTES_AHEAD, RECORDS_AHEAD, Held, Holdings
from tidelog.v1 import common_pb2 as common


def stored(*sizes: int) -> common.RecordBatch:
    run = b"".join(batch_of([b"v" * n for n in range(size)]) for size in sizes)
    return common.RecordBatch(encoded=run, leader_epoch=7)


def plain(count: int) -> common.RecordBatch:
    records = [
        common.Record(offset=n << 30, key=b"k" * n, headers=[common.Header(key="ä")])
        for n in range(count)
    ]
    return common.RecordBatch(records=records)


def test_both_count_the_records_and_the_bytes_of_their_batches() -> None:
    parts = [
        common.PartitionRecords(
            next=common.Cursor(topic="orders", partition=number), batches=batches
        )
        for number, batches in enumerate([[stored(3, 1, 5), plain(4)], [], [stored(200)]])
    ]
    cost = cost_of(common.Records(partitions=parts))
    assert cost.records == 3 + 1 + 5 + 4 + 200
    batches = [batch for part in parts for batch in part.batches]
    assert cost.size_bytes == sum(len(batch.SerializeToString()) for batch in batches)
    holdings = Holdings()
    for number in range(3):
        holdings.add(Held(("orders", number), 0, None, announced=True))
    holdings.begin()
    for part in parts:
        holdings.take(part)
    left = holdings._granted
    assert left == [RECORDS_AHEAD - cost.records, BYTES_AHEAD - cost.size_bytes]
