"""A member's life over gRPC: join, receive, commit, hand over, leave (P28, P29, P31)."""

from tests.group_client import Member, commit, cursor, described, filled, joined, offsets, place
from tests.grpc_node import GrpcNode, plain
from tidelog.v1 import group_service_pb2

Group = group_service_pb2.ConsumerGroup


async def test_a_member_joins_receives_commits_and_leaves(served: GrpcNode) -> None:
    await filled(served, 1, 4)
    member = await joined(served, "billing", "orders")
    assert member.told[0].joined.session_timeout.seconds == 8
    assert await member.values(4) == [b"0-0", b"0-1", b"0-2", b"0-3"]
    (place_of_it,) = (await member.until("caught_up")).cursors
    assert place_of_it.offset == 4
    (row,) = await member.commit(cursor("orders", 0, 3, metadata="three"))
    assert not row.HasField("error")
    await member.leave()
    lag = (await offsets(served, "billing"))["orders", 0]
    assert (lag.committed.offset, lag.committed.metadata, lag.lag) == (3, "three", 1)
    assert (await described(served, "billing")).state == Group.STATE_EMPTY

    again = await joined(served, "billing", "orders")
    assert await again.values(1) == [b"0-3"]


async def test_records_come_as_they_are_produced(served: GrpcNode) -> None:
    await served.create("orders")
    member = await joined(served, "billing", "orders")
    await member.until("caught_up")
    await served.produce("orders", plain(b"now"))
    assert await member.values(1) == [b"now"]


async def test_two_members_share_and_hand_over_step_by_step(served: GrpcNode) -> None:
    await filled(served, 4, 4)
    first = await joined(served, "billing", "orders")
    await first.holding(0, 1, 2, 3)
    await first.values(16)
    await first.commit(*(cursor("orders", number, 2) for number in range(4)))

    second = await joined(served, "billing", "orders")
    revoke = await first.until("revoke")
    assert 0 < revoke.time_left.seconds <= 60
    assert len(first.asked) == 2
    await first.until("joined")  # the epoch is told behind what goes with it
    assert first.membership == common_epoch(first, second)
    group = await described(served, "billing")
    assert group.state == Group.STATE_RECONCILING
    pending = {(one.topic, one.partition) for member in group.members for one in member.pending}
    assert pending == set(first.asked)
    given = sorted(number for _, number in first.asked)
    (last_word,) = await first.commit(cursor("orders", given[0], 3))
    assert not last_word.HasField("error")
    await first.hand_over()
    await second.holding(*given)
    # It begins at the last commit, also at one that came while the partition was handed over.
    starts = [one for told in second.told for one in told.assigned.cursors]
    begun = {one.partition: one.offset for one in starts}
    assert begun == {given[0]: 3, given[1]: 2}
    assert (await described(served, "billing")).state == Group.STATE_STABLE
    assert sorted(await second.values(3)) == sorted(
        [b"%d-3" % given[0], b"%d-2" % given[1], b"%d-3" % given[1]]
    )


def common_epoch(first: Member, second: Member) -> object:
    """Return the first member's claim in the epoch that the second one was told."""
    assert first.membership is not None
    assert second.membership is not None
    assert first.membership.member_epoch == second.membership.member_epoch
    return first.membership


async def test_what_a_member_keeps_goes_on_while_another_comes(served: GrpcNode) -> None:
    await filled(served, 2, 4)
    first = await joined(served, "billing", "orders")
    await first.values(8)
    await joined(served, "billing", "orders")
    await first.until("revoke")
    ((_, kept),) = first.assigned
    await served.produce("orders", plain(b"kept", partition=kept))
    assert await first.values(1) == [b"kept"]  # nothing was handed over yet


async def test_only_what_was_asked_for_is_handed_over(served: GrpcNode) -> None:
    await filled(served, 2, 4)
    member = await joined(served, "billing", "orders")
    await member.holding(0, 1)
    await member.say(revoked={"partitions": [place("orders", 1)]})
    refused = await member.refused()
    assert (refused.reason, refused.info.metadata["partition"]) == ("INVALID_REQUEST", "1")


async def test_commits_are_answered_one_by_one_and_row_by_row(served: GrpcNode) -> None:
    await filled(served, 2, 4)
    member = await joined(served, "billing", "orders")
    await member.holding(0, 1)
    for number, offset in ((1, 1), (2, 2), (3, 4)):
        cursors = [cursor("orders", 0, offset)]
        await member.say(commit={"correlation_id": number, "cursors": cursors})
    assert [(await member.until("committed")).correlation_id for _ in range(3)] == [1, 2, 3]
    rows = await member.commit(
        cursor("orders", 0, 0),  # back again: the member's own will
        cursor("orders", 1, -1),
        cursor("orders", 1, 5),
        cursor("nothing", 0, 0),
        cursor("orders", 9, 0),
        cursor("not a name", 0, 0),
    )
    assert [row.error.reason for row in rows] == [
        "",
        "INVALID_REQUEST",
        "OFFSET_OUT_OF_RANGE",
        "UNKNOWN_TOPIC",
        "UNKNOWN_PARTITION",
        "INVALID_TOPIC_NAME",
    ]
    assert [row.partition for row in rows][1] == place("orders", 1)
    (large,) = await member.commit(cursor("orders", 1, 0, metadata="x" * 4_097))
    assert large.error.reason == "OFFSET_METADATA_TOO_LARGE"
    assert (await offsets(served, "billing"))["orders", 0].committed.offset == 0
    twice = await member.commit(cursor("orders", 0, 1), cursor("orders", 0, 2))
    assert {row.error.reason for row in twice} == {"INVALID_REQUEST"}


async def test_commits_beside_the_stream(served: GrpcNode) -> None:
    await filled(served, 2, 4)
    (row,) = await commit(served, "billing", cursor("orders", 0, 2))
    assert not row.HasField("error")
    member = await joined(served, "billing", "orders")
    await member.holding(0, 1)
    (row,) = await commit(served, "billing", cursor("orders", 0, 3), member=member.membership)
    assert not row.HasField("error")
    assert (await offsets(served, "billing"))["orders", 0].committed.offset == 3


async def test_leaving_gives_everything_to_those_who_stay(served: GrpcNode) -> None:
    await filled(served, 2, 4)
    first = await joined(served, "billing", "orders")
    await first.holding(0, 1)
    second = await joined(served, "billing", "orders")
    await first.until("revoke")
    await first.hand_over()
    await second.until("assigned")
    await first.leave()
    await second.holding(0, 1)


async def test_hundreds_of_commits_one_after_the_other(served: GrpcNode) -> None:
    """More than may wait for their answer at once."""
    await filled(served, 1, 4)
    member = await joined(served, "billing", "orders")
    for number in range(300):
        commit_it = {"correlation_id": number, "cursors": [cursor("orders", 0, number % 5)]}
        await member.say(commit=commit_it)
    answers = [(await member.until("committed")).correlation_id for _ in range(300)]
    assert answers == list(range(300))
    assert (await offsets(served, "billing"))["orders", 0].committed.offset == 299 % 5
