"""A group begins in a topic: in all its partitions at once, and once."""

import pytest

from consumer_groups.codec import encode
from consumer_groups.records import Cause, MemberId, OffsetCommitted, StreamNumber
from consumer_groups.requests import (
    Begin,
    ByStream,
    Commit,
    Cursor,
    FromOutside,
    Join,
    Move,
    Revoked,
    Seek,
)
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, Offset, TopicName
from model.limits import BATCH_BYTES_MAX, JOIN_STARTS_BYTES_MAX, PARTITIONS_PER_TOPIC_MAX
from tests.group_bench import GroupBench

G = GroupId("g")


def bench() -> GroupBench:
    bench = GroupBench()
    bench.topics.create("orders", 3)
    return bench


def cursors(bench: GroupBench, *offsets: int) -> tuple[Cursor, ...]:
    return tuple(
        Cursor(partition=bench.topics.partition(f"orders/{number}"), offset=Offset(at))
        for number, at in enumerate(offsets)
    )


def join(bench: GroupBench, member: str, *starts: int, alike: tuple[str, ...] = ()) -> None:
    request = Join(
        group=G,
        new_member_id=MemberId(member),
        stream=StreamNumber(1),
        topics=(TopicName("orders"),),
        starts=cursors(bench, *starts),
        alike=frozenset(map(MemberId, alike)),
    )
    bench.take(bench.machine.join(request, now=bench.now, topics=bench.topics))


def begin(
    bench: GroupBench, member: str, *offsets: int, stream: int = 1, alike: tuple[str, ...] = ()
) -> bool:
    places = cursors(bench, *offsets)
    request = Begin(
        group=G,
        by=ByStream(MemberId(member), StreamNumber(stream)),
        topic=places[0].partition.topic,
        cursors=places,
        alike=frozenset(map(MemberId, alike)),
    )
    return bench.take(bench.machine.begin(request, now=bench.now, topics=bench.topics))


def committed(bench: GroupBench) -> list[OffsetCommitted | None]:
    return [
        bench.machine.committed(G, bench.topics.partition(f"orders/{number}"))
        for number in range(3)
    ]


def offsets(bench: GroupBench) -> list[int | None]:
    return [None if row is None else int(row.offset) for row in committed(bench)]


def test_who_comes_first_begins_for_all_also_in_what_others_hold() -> None:
    one = bench()
    join(one, "a")
    join(one, "b")
    assert begin(one, "b", 5, 6, 7, alike=("a",))
    assert offsets(one) == [5, 6, 7]
    assert {row and (row.actor, row.cause) for row in committed(one)} == {("b", Cause.COMMIT)}
    assert not begin(one, "a", 8, 9, 10)
    assert offsets(one) == [5, 6, 7]


def test_what_somebody_else_reads_from_its_beginning_is_left_to_him() -> None:
    """He may have read of it without having committed: nothing of it is to be skipped."""
    one = bench()
    join(one, "a")
    join(one, "b")
    asked = one.machine.member(G, MemberId("a")).revoking
    given = Revoked(group=G, member_id=MemberId("a"), stream=StreamNumber(1), holds=asked)
    one.take(one.machine.revoked(given))
    (mine,) = [hold.partition.number for hold in one.machine.member(G, MemberId("b")).owned]
    assert begin(one, "b", 5, 6, 7)
    assert offsets(one) == [at if number == mine else None for number, at in enumerate((5, 6, 7))]


def test_a_group_that_has_committed_somewhere_has_begun() -> None:
    one = bench()
    cursor = Cursor(partition=one.topics.partition("orders/1"), offset=Offset(0))
    outside = Commit(group=G, actor=FromOutside("anna"), cursors=(cursor,))
    one.take(one.machine.commit(outside, now=one.now, topics=one.topics))
    join(one, "a")
    assert not begin(one, "a", 5, 6, 7)
    assert offsets(one) == [None, 0, None]


def test_so_has_one_that_was_sent_to_the_beginning() -> None:
    one = bench()
    start = Move(partition=one.topics.partition("orders/0"), after=Offset(0), log_start=Offset(0))
    sent = Seek(group=G, principal="", moves=(start,))
    one.take(one.machine.seek(sent, now=one.now, topics=one.topics))
    join(one, "a")
    assert not begin(one, "a", 5, 6, 7)


def test_what_a_topic_gained_meanwhile_begins_at_its_beginning() -> None:
    """Its members were there before its first record; of the other partitions that says nothing."""
    one = GroupBench()
    one.topics.create("orders", 2)
    join(one, "a")
    one.topics.grow("orders", 3)
    one.take(one.machine.topics_changed(G, now=one.now, topics=one.topics))
    assert offsets(one) == [None, None, 0]
    assert begin(one, "a", 5, 6, 7)
    assert offsets(one) == [5, 6, 0]


def test_what_is_no_more_is_left_out() -> None:
    one = bench()
    join(one, "a")
    assert begin(one, "a", 5, 6, 7, 8)
    assert len(one.machine.offsets(G)) == 3


def test_a_stream_that_was_replaced_begins_nothing() -> None:
    one = bench()
    join(one, "a")
    with pytest.raises(RequestError) as refused:
        begin(one, "a", 5, 6, 7, stream=2)
    assert refused.value.code is ErrorCode.STALE_MEMBER_EPOCH
    assert offsets(one) == [None, None, None]


def test_a_group_begins_with_the_join_of_who_says_where() -> None:
    one = bench()
    join(one, "a", 5, 6, 7)
    assert offsets(one) == [5, 6, 7]
    assert {row and (row.actor, row.cause) for row in committed(one)} == {("a", Cause.COMMIT)}
    join(one, "b", 8, 9, 10, alike=("a",))
    assert offsets(one) == [5, 6, 7]


@pytest.mark.parametrize("alike", [(), ("a",)])
def test_a_join_leaves_what_somebody_else_reads_from_its_beginning(alike: tuple[str, ...]) -> None:
    one = bench()
    join(one, "a")
    join(one, "b", 5, 6, 7, alike=alike)
    assert offsets(one) == ([5, 6, 7] if alike else [None, None, None])


def test_what_a_topic_gained_before_a_join_begins_at_its_beginning() -> None:
    """Both would commit its place: members that are there have missed none of its records."""
    one = GroupBench()
    one.topics.create("orders", 2)
    join(one, "a")
    one.topics.grow("orders", 3)
    join(one, "b", 5, 6, 7, alike=("a",))
    assert offsets(one) == [5, 6, 0]


def test_a_join_begins_in_as_many_topics_as_one_batch_holds() -> None:
    """In whole ones: else what is left of a topic would begin at its beginning."""
    one, count = GroupBench(), PARTITIONS_PER_TOPIC_MAX.value
    names = [TopicName(f"t{number:02}") for number in range(31)]
    for name in names:
        one.topics.create(name, count)
    starts = [
        Cursor(partition=one.topics.partition(f"{name}/{number}"), offset=Offset(1 << 40))
        for number in range(count)
        for name in names
    ]
    request = Join(
        group=G,
        new_member_id=MemberId("m" * 200),
        stream=StreamNumber(1),
        topics=tuple(names),
        starts=tuple(starts),
    )
    records = one.machine.join(request, now=one.now, topics=one.topics).records
    begun = [row for row in records if isinstance(row, OffsetCommitted)]
    rows = [encode(row) for row in records]
    assert sum(len(row.key) + len(row.value or b"") for row in rows) < BATCH_BYTES_MAX.value * 2 / 3
    per_topic = [
        sum(row.partition.topic == one.topics.there[name].topic for row in begun) for name in names
    ]
    whole = per_topic.index(0)
    assert per_topic == [count] * whole + [0] * (len(names) - whole)
    size = sum(len(row.key) + len(row.value or b"") for row in map(encode, begun))
    assert JOIN_STARTS_BYTES_MAX.value / 2 < size <= JOIN_STARTS_BYTES_MAX.value


def test_a_join_with_a_place_that_no_log_has_is_refused() -> None:
    one = bench()
    with pytest.raises(RequestError) as refused:
        join(one, "a", -1)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert one.machine.revision(G) is None
