"""What a consumer lets a node send: never more than there is room for, nor nothing for ever."""

import pytest

from tidelog.errors import DataCorrupt
from tidelog.held import BYTES_AHEAD, RECORDS_AHEAD, Held, Holdings
from tidelog.v1 import common_pb2 as common


def holding() -> tuple[Holdings, Held]:
    holdings = Holdings()
    held = Held(("t", 0), 0, None, announced=True)
    holdings.add(held)
    return holdings, held


def message(first: int, count: int) -> common.PartitionRecords:
    records = [common.Record(offset=first + n, value=b"v") for n in range(count)]
    batch = common.RecordBatch(records=records)
    after = common.Cursor(topic="t", partition=0, offset=first + count)
    return common.PartitionRecords(next=after, batches=[batch])


def test_a_new_stream_is_granted_what_there_is_room_for() -> None:
    holdings, _ = holding()
    assert holdings.begin() == common.Credit(records=RECORDS_AHEAD, bytes=BYTES_AHEAD)
    sent = message(0, 100)
    holdings.take(sent)
    size_bytes = sent.batches[0].ByteSize()
    left = common.Credit(records=RECORDS_AHEAD - 100, bytes=BYTES_AHEAD - size_bytes)
    assert holdings.begin() == left  # what is here takes its part on the next stream too


def test_credit_comes_back_with_what_is_handed_out_and_what_is_thrown_away() -> None:
    holdings, held = holding()
    holdings.begin()
    holdings.take(message(0, RECORDS_AHEAD))
    assert holdings.grant() is None
    while holdings.next() is not None:
        pass
    assert (holdings.grant() or common.Credit()).records == RECORDS_AHEAD
    holdings.take(message(RECORDS_AHEAD, RECORDS_AHEAD))
    assert (holdings.buffered, holdings.grant()) == (RECORDS_AHEAD, None)
    holdings.drop(held)
    assert (holdings.buffered, (holdings.grant() or common.Credit()).records) == (0, RECORDS_AHEAD)


def test_what_is_paused_does_not_count_as_here() -> None:
    holdings, held = holding()
    holdings.begin()
    holdings.take(message(0, 3))
    found = holdings.next()
    assert found is not None
    assert holdings.buffered == 2
    holdings.pause(held, paused=True)
    holdings.pause(held, paused=True)
    assert (holdings.buffered, holdings.next()) == (0, None)
    holdings.put_back(found[0], [found[1]])
    holdings.take(message(3, 2))
    assert holdings.buffered == 0
    holdings.pause(held, paused=False)
    assert holdings.buffered == 5
    holdings.pause(held, paused=True)
    holdings.drop(held)
    assert holdings.buffered == 0


@pytest.mark.parametrize("sought", [0, 500])
def test_damage_elsewhere_than_where_it_stands_moves_nothing(sought: int) -> None:
    holdings, held = holding()
    named = {"topic": "t", "partition": "0", "offset": "100", "next_offset": "108"}
    damage = DataCorrupt("rotten", reason="CORRUPT_LOG", metadata=named)
    held.restart(sought)
    assert not holdings.damaged(damage)
    assert (held.place.offset, list(held.items)) == (sought, [])
    held.restart(100)
    assert holdings.damaged(damage)
    assert held.place.offset == 108
