"""A stream breaks, and its member goes on over another one; or it may not any more (P29)."""

from tests.group_client import (
    Member,
    Seek,
    cursor,
    described,
    filled,
    joined,
)
from tests.grpc_node import GrpcNode, plain
from tidelog.v1 import common_pb2, group_service_pb2

START = Seek(edge=common_pb2.EDGE_EARLIEST)


async def test_a_broken_stream_goes_on_without_a_rebalance(served: GrpcNode) -> None:
    await filled(served, 2)
    first = await joined(served, "billing", "orders")
    await first.holding(0, 1)
    second = await joined(served, "billing", "orders")
    await first.until("revoke")
    await first.hand_over()
    await second.until("assigned")
    epoch = (await described(served, "billing")).epoch
    ((_, number),) = first.assigned
    while first.assigned["orders", number].offset < 6:
        await first.next()
    await first.commit(cursor("orders", number, 2))
    await first.cut()
    await served.produce("orders", plain(b"meanwhile", partition=number))
    again = await first.resumed().begin()
    assert again.membership == first.membership
    assert await again.values(1) == [b"meanwhile"]  # from its own cursor, not the committed one
    assert (await described(served, "billing")).epoch == epoch
    assert len(second.assigned) == 1
    without = await again.resumed(cursors=[]).begin()
    assert len(await without.values(5)) == 5  # from the committed offset


async def test_what_was_given_since_is_not_read_on_from_an_older_place(served: GrpcNode) -> None:
    """Somebody else had it meanwhile, and has read on: its commit is the place."""
    await filled(served, 2)
    first = await joined(served, "billing", "orders")
    await first.values(12)
    second = await joined(served, "billing", "orders")
    await first.until("revoke")
    ((_, number),) = first.asked
    await first.hand_over()
    await second.until("assigned")
    await second.commit(cursor("orders", number, 5))
    await first.cut()
    await second.leave()
    again = await first.resumed(cursors=[cursor("orders", number, 1)]).begin()
    await again.holding(0, 1)
    starts = [one for told in again.told for one in told.assigned.cursors]
    assert [one.offset for one in starts if one.partition == number] == [5]


async def test_what_was_to_be_handed_over_is_asked_for_again(served: GrpcNode) -> None:
    await filled(served, 2)
    first = await joined(served, "billing", "orders")
    await first.holding(0, 1)
    second = await joined(served, "billing", "orders")
    await first.until("revoke")
    await first.cut()
    again = await first.resumed().begin()
    await again.until("revoke")
    assert again.asked == first.asked
    await again.hand_over()
    await second.until("assigned")


async def test_a_newer_stream_takes_over_and_the_older_one_ends(served: GrpcNode) -> None:
    await filled(served, 1)
    first = await joined(served, "billing", "orders")
    await first.values(6)
    again = await first.resumed().begin()
    assert (await first.refused()).reason == "STALE_MEMBER_EPOCH"
    (row,) = await again.commit(cursor("orders", 0, 6))
    assert not row.HasField("error")


async def test_an_epoch_that_nobody_was_told_does_not_resume(served: GrpcNode) -> None:
    await filled(served, 1)
    first = await joined(served, "billing", "orders")
    assert first.membership is not None
    claim = first.membership
    wrong = common_pb2.Membership(member_id=claim.member_id, member_epoch=claim.member_epoch + 1)
    for member, reason in (
        (wrong, "STALE_MEMBER_EPOCH"),
        (common_pb2.Membership(member_id="nobody", member_epoch=1), "UNKNOWN_MEMBER"),
        (common_pb2.Membership(member_epoch=1), "INVALID_REQUEST"),
    ):
        stream = Member(served, "billing", member=member)
        await stream.say(join=stream.join)
        assert (await stream.refused()).reason == reason
    other = Member(served, "billing", "payments", member=claim)
    await other.say(join=other.join)
    assert (await other.refused()).info.metadata["field"] == "topics"


async def test_who_is_sought_away_does_not_resume(served: GrpcNode) -> None:
    await filled(served, 1)
    first = await joined(served, "billing", "orders")
    await first.values(6)
    request = group_service_pb2.SeekOffsetsRequest(group="billing", topics=["orders"], force=True)
    request.seek.CopyFrom(START)
    await served.groups.SeekOffsets(request)
    assert (await first.refused()).reason == "STALE_MEMBER_EPOCH"
    again = first.resumed()
    await again.say(join=again.join)
    assert (await again.refused()).reason == "UNKNOWN_MEMBER"


async def test_a_static_member_takes_its_own_place(served: GrpcNode) -> None:
    await filled(served, 2)
    first = await joined(served, "billing", "orders", instance_id="left")
    await first.holding(0, 1)
    await first.commit(cursor("orders", 0, 4))
    second = await joined(served, "billing", "orders", instance_id="left")
    await second.holding(0, 1)
    assert second.assigned["orders", 0].offset >= 4
    assert (await first.refused()).reason == "FENCED_INSTANCE"
    again = first.resumed()
    await again.say(join=again.join)
    assert (await again.refused()).reason == "FENCED_INSTANCE"
    (member,) = (await described(served, "billing")).members
    assert member.instance_id == "left"


async def test_an_end_without_leave_is_a_broken_stream(served: GrpcNode) -> None:
    await filled(served, 1)
    member = await joined(served, "billing", "orders")
    await member.call.done_writing()
    assert "without Leave" in (await member.refused()).text
    assert (await member.resumed().begin()).membership == member.membership
