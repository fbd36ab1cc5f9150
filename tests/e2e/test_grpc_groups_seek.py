"""A group is sent elsewhere: by offset, time, shift, cursors, another group; dry and by force."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.group_client import Seek, commit, cursor, described, filled, joined, offsets, place
from tests.grpc_node import GrpcNode, plain, refusal
from tests.grpc_reading import at, trim
from tidelog.v1 import (
    common_pb2,
    group_service_pb2,
)

Ask: Any = group_service_pb2.SeekOffsetsRequest
Group = group_service_pb2.ConsumerGroup
START, END = Seek(edge=common_pb2.EDGE_EARLIEST), Seek(edge=common_pb2.EDGE_LATEST)
Change = tuple[int | None, int | None, int, int, bool]


async def seek(served: GrpcNode, **fields: Any) -> Any:
    return await served.groups.SeekOffsets(Ask(**({"group": "billing"} | fields)))


def told(answer: Any) -> dict[int, Change]:
    """Return before, after, redelivered, skipped and truncated of each partition."""
    return {
        row.partition.partition: (
            row.before if row.HasField("before") else None,
            row.after if row.HasField("after") else None,
            row.redelivered,
            row.skipped,
            row.truncated,
        )
        for row in answer.changes
    }


async def stands(served: GrpcNode, group: str = "billing") -> dict[int, int]:
    rows = await offsets(served, group)
    return {number: row.committed.offset for (_, number), row in rows.items()}


async def test_a_plan_changes_nothing(served: GrpcNode) -> None:
    await filled(served)
    await commit(served, "billing", cursor("orders", 0, 4), cursor("orders", 1, 1))
    member = await joined(served, "billing", "orders")
    before = await described(served, "billing")
    answer = await seek(served, seek=Seek(offset=2), validate_only=True)
    assert told(answer) == {0: (4, 2, 2, 0, False), 1: (1, 2, 0, 1, False)}
    assert (answer.group_epoch, answer.member_count) == (before.epoch, 1)
    assert await stands(served) == {0: 4, 1: 1}
    await member.commit(cursor("orders", 0, 5))
    assert (await described(served, "billing")).epoch == before.epoch


async def test_live_members_refuse_and_force_fences_them(served: GrpcNode) -> None:
    await filled(served)
    member = await joined(served, "billing", "orders")
    await member.values(12)
    await member.commit(cursor("orders", 0, 6), cursor("orders", 1, 6))
    with_members = await refusal(served.groups.SeekOffsets(Ask(group="billing", seek=START)))
    assert with_members.reason == "GROUP_NOT_EMPTY"
    assert member.membership is not None
    assert member.membership.member_id in with_members.text
    epoch = (await described(served, "billing")).epoch
    answer = await seek(served, seek=Seek(offset=4), force=True)
    assert told(answer) == {0: (6, 4, 2, 0, False), 1: (6, 4, 2, 0, False)}
    assert (answer.group_epoch, answer.member_count) == (epoch + 1, 1)
    assert (await member.refused()).reason == "STALE_MEMBER_EPOCH"
    stale = await refusal(
        served.groups.CommitOffsets(
            group_service_pb2.CommitOffsetsRequest(
                group="billing", member=member.membership, cursors=[cursor("orders", 0, 6)]
            )
        )
    )
    assert stale.reason == "UNKNOWN_MEMBER"
    again = await joined(served, "billing", "orders")
    assert sorted(await again.values(4)) == [b"0-4", b"0-5", b"1-4", b"1-5"]


@pytest.mark.parametrize("clock", [common_pb2.CLOCK_EVENT, common_pb2.CLOCK_APPEND])
async def test_to_a_time_on_either_clock(served: GrpcNode, clock: Any) -> None:
    await filled(served)
    await commit(served, "billing", cursor("orders", 0, 6), cursor("orders", 1, 0))
    if clock == common_pb2.CLOCK_EVENT:
        when, expected = at(4_000), 3
    else:
        partition = served.node.broker.partition("orders", 0)
        times = partition.log.segments()[0].times()
        assert times is not None
        when = at(times.at(partition.log_start).append_time)
        expected = 0
    answer = await seek(served, seek=Seek(time=when, clock=clock))
    assert told(answer)[0] == (6, expected, 6 - expected, 0, False)
    assert (await stands(served))[0] == expected
    far: Timestamp = at(4_000_000_000_000)
    answer = await seek(served, seek=Seek(time=far, clock=clock), topics=["orders"])
    assert [change[1] for change in told(answer).values()] == [6, 6]


async def test_a_seek_names_what_retention_has_taken(served: GrpcNode) -> None:
    await filled(served, 1)
    await commit(served, "billing", cursor("orders", 0, 1))
    await trim(served, "orders", 3)
    answer = await seek(served, seek=Seek(offset=0))
    assert told(answer) == {0: (1, 3, 0, 0, True)}
    answer = await seek(served, shift_by=-2)
    assert told(answer) == {0: (3, 3, 0, 0, True)}


async def test_by_a_shift_held_within_the_log(served: GrpcNode) -> None:
    await filled(served)
    await commit(served, "billing", cursor("orders", 0, 2))
    assert told(await seek(served, shift_by=3)) == {0: (2, 5, 0, 3, False)}
    assert told(await seek(served, shift_by=100)) == {0: (5, 6, 0, 1, False)}
    assert told(await seek(served, shift_by=-100)) == {0: (6, 0, 6, 0, False)}
    answer = await seek(served, shift_by=1, topics=["orders"])
    assert told(answer) == {0: (0, 1, 0, 1, False), 1: (None, 1, 0, 1, False)}


async def test_to_where_another_group_is(served: GrpcNode) -> None:
    await filled(served)
    await commit(served, "audit", cursor("orders", 1, 5))
    assert told(await seek(served, other_group="audit")) == {1: (None, 5, 0, 5, False)}
    assert await stands(served) == {1: 5}
    both = [place("orders", number) for number in range(2)]
    with_none = Ask(group="billing", other_group="audit", partitions=both)
    assert (await refusal(served.groups.SeekOffsets(with_none))).info.metadata["partition"] == "0"
    plan = await seek(served, other_group="audit", partitions=both, validate_only=True)
    assert told(plan) == {0: (None, None, 0, 0, False), 1: (5, 5, 0, 0, False)}
    assert plan.changes[0].error.reason == "INVALID_REQUEST"
    one_by_one = Ask(group="billing", other_group="audit", topics=["orders"], partitions=both[:1])
    assert (await refusal(served.groups.SeekOffsets(one_by_one))).info.metadata["partition"] == "0"


@pytest.mark.parametrize("dry", [True, False])
async def test_of_a_topic_what_another_group_has_not_begun_stays(
    served: GrpcNode, *, dry: bool
) -> None:
    await filled(served, 3)
    await commit(served, "audit", cursor("orders", 1, 5))
    await commit(served, "billing", cursor("orders", 0, 4), cursor("orders", 1, 1))
    plan = await seek(served, other_group="audit", topics=["orders"], validate_only=dry)
    stays = (None, None, 0, 0, False)
    assert told(plan) == {0: stays, 1: (1, 5, 0, 4, False), 2: stays}
    assert not any(row.HasField("error") for row in plan.changes)
    assert await stands(served) == ({0: 4, 1: 1} if dry else {0: 4, 1: 5})
    await served.create("others", 1)
    await commit(served, "nothing-here", cursor("others", 0, 0))
    refused = await refusal(
        served.groups.SeekOffsets(
            Ask(group="billing", other_group="nothing-here", topics=["orders"], validate_only=dry)
        )
    )
    assert 'group "nothing-here" has committed nothing in orders' in refused.text


async def test_to_a_place_for_each_partition(served: GrpcNode) -> None:
    await filled(served)
    cursors = {"cursors": [cursor("orders", 1, 2), cursor("orders", 0, 5)]}
    assert told(await seek(served, cursors=cursors)) == {
        1: (None, 2, 0, 2, False),
        0: (None, 5, 0, 5, False),
    }
    assert await stands(served) == {0: 5, 1: 2}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "INVALID_REQUEST"),
        ({"seek": {}}, "INVALID_REQUEST"),
        ({"seek": {"edge": "EDGE_COMMITTED"}}, "INVALID_REQUEST"),
        ({"seek": {"offset": 7}}, "OFFSET_OUT_OF_RANGE"),
        ({"seek": {"offset": 1}, "group": "nobody"}, "UNKNOWN_GROUP"),
        ({"seek": {"offset": 1}, "topics": ["nothing"]}, "UNKNOWN_TOPIC"),
        ({"seek": {"offset": 1}, "partitions": [{"topic": "orders", "partition": 9}]},
         "UNKNOWN_PARTITION"),
        ({"other_group": "nobody"}, "UNKNOWN_GROUP"),
        ({"committed_at": {"seconds": 1}}, "NOT_IMPLEMENTED"),
        ({"cursors": {}}, "INVALID_REQUEST"),
        ({"cursors": {"cursors": [{"topic": "orders"}]}, "topics": ["orders"]}, "INVALID_REQUEST"),
        ({"cursors": {"cursors": [{"topic": "orders"}, {"topic": "orders"}]}}, "INVALID_REQUEST"),
        ({"cursors": {"cursors": [{"topic": "orders", "offset": -1}]}}, "INVALID_REQUEST"),
        ({"cursors": {"cursors": [{"topic": "nothing"}]}}, "UNKNOWN_TOPIC"),
    ],
)  # fmt: skip
async def test_what_is_no_seek(served: GrpcNode, fields: dict[str, Any], reason: str) -> None:
    await filled(served)
    await commit(served, "billing", cursor("orders", 0, 4))
    call = served.groups.SeekOffsets(Ask(**({"group": "billing"} | fields)))
    assert (await refusal(call)).reason == reason
    assert await stands(served) == {0: 4}


async def test_a_move_that_one_partition_cannot_make_is_made_nowhere(served: GrpcNode) -> None:
    await filled(served)
    await served.produce("orders", plain(b"more", partition=1))
    await commit(served, "billing", cursor("orders", 0, 1), cursor("orders", 1, 1))
    call = served.groups.SeekOffsets(Ask(group="billing", seek=Seek(offset=7)))
    assert (await refusal(call)).reason == "OFFSET_OUT_OF_RANGE"
    assert await stands(served) == {0: 1, 1: 1}
    plan = await seek(served, seek=Seek(offset=7), validate_only=True)
    assert plan.changes[0].error.reason == "OFFSET_OUT_OF_RANGE"
    assert told(plan)[1] == (1, 7, 0, 6, False)
    nowhere = await seek(served, seek=Seek(offset=9), validate_only=True)
    assert {row.error.reason for row in nowhere.changes} == {"OFFSET_OUT_OF_RANGE"}
