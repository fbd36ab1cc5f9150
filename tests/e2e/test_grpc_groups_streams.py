"""One member's stream: credit, pause, and the places where it goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.broker import consume_session
from logstore.batch import Stamp, encode_batch, seal
from logstore.compression import Codec, compress
from model.record import NewRecord
from tests.group_client import (
    EVERYTHING,
    Member,
    Request,
    Seek,
    commit,
    cursor,
    filled,
    joined,
    offsets,
    place,
    records,
)
from tests.grpc_node import SETTINGS, GrpcNode, encoded, grpc_node, plain
from tests.grpc_reading import trim
from tidelog.v1 import common_pb2

START, END = Seek(edge=common_pb2.EDGE_EARLIEST), Seek(edge=common_pb2.EDGE_LATEST)
COMMITTED = Seek(edge=common_pb2.EDGE_COMMITTED)


async def quiet(member: Member) -> None:
    """Fail if records come before the answer to a commit that is sent now."""
    seen = len(member.told)
    await member.commit(*member.assigned.values())
    assert not [one for message in member.told[seen:] for one in records(message)]


def credit(count: int, size_bytes: int = 1 << 20) -> common_pb2.Credit:
    return common_pb2.Credit(records=count, bytes=size_bytes)


async def test_nothing_comes_without_credit_and_no_more_than_it_says(served: GrpcNode) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders", credit=credit(0, 0))
    await member.holding(0)
    await quiet(member)
    await member.say(credit=credit(2))
    assert await member.values(2) == [b"0-0", b"0-1"]
    await quiet(member)
    await member.say(credit=credit(1))
    assert await member.values(1) == [b"0-2"]
    await quiet(member)


async def test_a_batch_overdraws_once_and_the_debt_is_paid(served: GrpcNode) -> None:
    await served.create("orders")
    await served.produce("orders", plain(*(b"%d" % at for at in range(5))))
    await served.produce("orders", plain(b"next"))
    member = await joined(served, "billing", "orders", credit=credit(1))
    assert len(await member.values(5)) == 5
    await member.say(credit=credit(4))
    await quiet(member)
    await member.say(credit=credit(1))
    assert await member.values(1) == [b"next"]


async def test_credit_in_bytes_counts_what_is_sent(served: GrpcNode) -> None:
    await served.create("orders")
    for _ in range(4):
        await served.produce("orders", plain(b"x" * 1_000))
    member = await joined(served, "billing", "orders", credit=credit(100, 1_500))
    await member.values(2)
    await quiet(member)
    await member.say(credit=credit(0, 3_000))
    await member.values(2)


async def test_credit_in_bytes_counts_decoded_records(served: GrpcNode) -> None:
    await served.create("orders")
    for _ in range(2):
        await served.produce("orders", encoded(compressed(b"x" * 100_000)))
    member = await joined(served, "billing", "orders", credit=credit(100, 50_000))
    await member.values(1)
    await quiet(member)
    await member.say(credit=credit(0, 40_000))
    await quiet(member)
    await member.say(credit=credit(0, 20_000))
    await member.values(1)


def compressed(value: bytes) -> bytearray:
    """Return a batch of one record that is far smaller than what it holds."""
    plain_batch = encode_batch([NewRecord(1_000, None, value)])
    body = compress(Codec.ZSTD, bytes(plain_batch[61:]))
    return seal([body], Stamp(), records=1, times=(1_000, 1_000), attributes=Codec.ZSTD)


async def test_a_paused_partition_stays_and_delivers_nothing(served: GrpcNode) -> None:
    await filled(served, 2)
    member = await joined(served, "billing", "orders", credit=credit(0, 0))
    await member.holding(0, 1)
    await member.say(pause=Request.Pause(partitions=[place("orders", 0)], paused=True))
    await member.say(credit=EVERYTHING)
    assert {value[:1] for value in await member.values(6)} == {b"1"}
    await member.until("caught_up")
    await quiet(member)
    await member.say(pause=Request.Pause(partitions=[place("orders", 0)], paused=False))
    assert {value[:1] for value in await member.values(6)} == {b"0"}


@pytest.mark.parametrize(
    ("seek", "first"),
    [
        (START, b"0-0"),
        (Seek(offset=4), b"0-4"),
        (Seek(before_latest=2), b"0-4"),
        (COMMITTED, b"0-3"),
    ],
)
async def test_a_member_goes_elsewhere_and_is_told_from_where(
    served: GrpcNode, seek: Any, first: bytes
) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders")
    await member.values(6)
    await member.commit(cursor("orders", 0, 3))
    await member.say(reposition=Request.Reposition(seek=seek))
    assigned = await member.until("assigned")
    assert assigned.cursors[0].offset == int(first[2:])
    assert (await member.values(1))[0] == first
    assert (await offsets(served, "billing"))["orders", 0].committed.offset == 3


async def test_to_the_end_means_only_what_comes(served: GrpcNode) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders", credit=credit(0, 0))
    await member.holding(0)
    await member.say(reposition=Request.Reposition(partitions=[place("orders")], seek=END))
    await member.until("assigned")
    await member.say(credit=EVERYTHING)
    await served.produce("orders", plain(b"new"))
    assert await member.values(1) == [b"new"]


async def test_the_last_place_asked_for_counts(served: GrpcNode) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders", credit=credit(0, 0))
    await member.holding(0)
    slow = Seek(ago={"seconds": 3_600})
    for seek in (slow, Seek(offset=5)):
        await member.say(reposition=Request.Reposition(seek=seek))
    while member.assigned["orders", 0].offset != 5:
        await member.next()
    await member.say(credit=EVERYTHING)
    assert await member.values(1) == [b"0-5"]


async def test_beyond_the_end_there_is_no_place(served: GrpcNode) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders")
    await member.say(reposition=Request.Reposition(seek=Seek(offset=7)))
    assert (await member.refused()).reason == "OFFSET_OUT_OF_RANGE"


async def test_a_start_where_nothing_is_committed_is_kept(served: GrpcNode) -> None:
    """Nothing is skipped by a member that comes later, though nobody has committed."""
    await filled(served, 2)
    first = await joined(served, "billing", "orders", start=END)
    await first.holding(0, 1)
    assert [one.offset for one in first.assigned.values()] == [6, 6]
    await served.produce("orders", plain(b"after", partition=0))
    assert await first.values(1) == [b"after"]
    await first.leave()
    second = await joined(served, "billing", "orders", start=END)
    assert await second.values(1) == [b"after"]


async def test_a_start_by_time(served: GrpcNode) -> None:
    await served.create("orders")
    await served.produce("orders", plain(b"a", b"b", b"c", time=1_000))
    begin = Seek(time={"nanos": 1_000_000, "seconds": 1})
    member = await joined(served, "billing", "orders", start=begin)
    assert await member.values(2) == [b"b", b"c"]


async def test_a_gap_is_told(served: GrpcNode) -> None:
    await filled(served, 1)
    await commit(served, "billing", cursor("orders", 0, 1))
    await trim(served, "orders", 4)
    member = await joined(served, "billing", "orders")
    gap = await member.until("gap")
    assert (gap.expected_offset, gap.next_offset) == (1, 4)
    assert await member.values(2) == [b"0-4", b"0-5"]


async def test_who_has_diverged_is_told_and_goes_on_where_it_says(served: GrpcNode) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders")
    await member.values(6)
    await member.cut()
    again = member.resumed(cursors=[cursor("orders", 0, 9, leader_epoch=0)])
    await again.begin()
    diverged = await again.until("diverged")
    assert (diverged.partition, diverged.offset) == (place("orders"), 6)
    await served.produce("orders", plain(b"other"))
    await again.say(reposition=Request.Reposition(seek=Seek(offset=6)))
    assert await again.values(1) == [b"other"]


async def test_who_stands_beyond_the_end_has_diverged(served: GrpcNode) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders")
    await member.values(6)
    await member.cut()
    again = await member.resumed(cursors=[cursor("orders", 0, 9)]).begin()
    assert (await again.until("diverged")).offset == 6


async def test_batches_as_they_are_stored(served: GrpcNode) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders", encoding=common_pb2.ENCODING_BATCH)
    step = (await member.until("records")).partitions[0]
    assert step.batches[0].encoded[16] == 2  # magic


async def test_who_is_not_heard_of_again_leaves_no_partition_behind(served: GrpcNode) -> None:
    """A client that breaks off while it joins never learns its id; nobody waits for it."""
    await filled(served, 1)
    stream = served.groups.Consume()
    await stream.write(Request(join=Request.Join(group="billing", topics=["orders"])))
    stream.cancel()
    member = await joined(served, "billing", "orders", credit=credit(0, 0))
    await member.holding(0)


async def test_signs_of_life(served: GrpcNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert consume_session.HEARTBEAT_MS == 4_000
    monkeypatch.setattr(consume_session, "HEARTBEAT_MS", 20)
    await served.create("orders")
    member = await joined(served, "billing", "orders", credit=credit(0, 0))
    await member.until("heartbeat")
    await member.until("heartbeat")


async def test_falling_behind_and_catching_up(tmp_path: Path) -> None:
    """Nothing is kept in memory: what is not delivered at once is history."""
    settings = replace(SETTINGS, log=replace(SETTINGS.log, tail_bytes=0))
    async with grpc_node(tmp_path, settings) as served:
        await served.create("orders")
        member = await joined(served, "billing", "orders", credit=credit(1))
        await member.until("caught_up")
        seen = len(member.told)
        tail = served.node.broker.partition("orders", 0).log.tail
        while tail.start < 2:
            await served.produce("orders", plain(b"x" * 100_000))
        await member.say(credit=EVERYTHING)
        while member.assigned["orders", 0].offset < tail.start:
            await member.next()
        await member.until("caught_up")
        kinds = [message.WhichOneof("event") for message in member.told[seen:]]
        switches = [kind for kind in kinds if kind not in {"records", "heartbeat"}]
        assert switches == ["fell_behind", "caught_up"] * (len(switches) // 2)
        assert switches
