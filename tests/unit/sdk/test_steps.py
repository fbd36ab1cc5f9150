"""A message of records, taken apart."""

import pytest

from tidelog.batch import Row, encode_body, seal
from tidelog.checkpoint import Place
from tidelog.errors import DataCorrupt
from tidelog.steps import Raw, Step, Trouble, Within, take_steps
from tidelog.v1 import common_pb2 as common


def stored(base: int) -> common.RecordBatch:
    encoded = bytearray(seal(encode_body([Row(1_000, None, b"v", ())] * 2, "none")))
    encoded[:8] = base.to_bytes(8, "big")
    return common.RecordBatch(encoded=bytes(encoded))


def plain(base: int) -> common.RecordBatch:
    records = [common.Record(offset=base + n, value=b"v") for n in range(2)]
    return common.RecordBatch(records=records)


@pytest.mark.parametrize(
    ("behind", "goes_on"),
    [
        ([stored(12), stored(14)], 12),
        ([plain(12), stored(14)], 12),
        ([common.RecordBatch(encoded=b"no header"), stored(14)], 14),
        ([stored(1 << 40)], 16),
        ([], 16),
    ],
)
def test_behind_what_cannot_be_taken_apart_reading_goes_on_with_the_next_batch(
    behind: list[common.RecordBatch], goes_on: int
) -> None:
    cut = common.RecordBatch(encoded=stored(10).encoded[:-1])
    end = common.Cursor(topic="t", partition=0, offset=16)
    message = common.PartitionRecords(next=end, batches=[cut, *behind])
    steps: list[Step] = []
    take_steps(message, Place(10), within=Within(None), steps=steps)
    assert isinstance(steps[0], Trouble)
    assert isinstance(steps[0].error, DataCorrupt)
    assert steps[0].error.next_offset == goes_on
    assert all(step.offset >= goes_on for step in steps if isinstance(step, Raw))
