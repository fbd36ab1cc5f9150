"""What streams between nodes carry beside batches, and what ends them."""

import pytest

from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.peer.replica import Credit, Leave
from cluster.peer.replica_frames import encode, encode_stream
from cluster.peer.table import FrameType, parse
from cluster.shell.replica_beats import BEAT_MS, CALM_BEATS
from cluster.shell.replica_read import FileRead, Sent
from cluster.shell.replica_stream import FRAME_BYTES, ROOM_BYTES
from logstore.tail import ReadResult
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import AppendTimeMs, LeaderEpoch, NodeId, RegistrationEpoch
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.replica_process import NOON, PLACE, Process

PROGRESS = FrameType.PROGRESS


def test_a_damaged_frame_ends_the_link_and_nothing_of_it_is_taken() -> None:
    world = Cluster()
    flipped: list[bytes] = []

    def tamper(raw: bytes) -> bytes:
        if raw[0] != FrameType.BATCHES or len(raw) < 150 or flipped:
            return raw
        flipped.append(raw)
        return raw[:-1] + bytes([raw[-1] ^ 1])

    world.tamper = tamper
    told = world.nodes[ONE].append(b"a")
    world.run()
    assert "checksum" in world.malformed[0].why
    assert told.answers == []
    for node in (TWO, THREE):
        if (ONE, node) not in world.linked:
            assert world.nodes[node].log.log_end == 0
            world.link(ONE, node)
    world.run()
    assert told.answers == [None]


def test_a_stream_that_takes_no_more_is_ended_and_made_anew() -> None:
    world = Cluster()
    world.refuse_to_say = True
    told = world.nodes[ONE].append(b"a")
    world.run()
    assert world.linked == {(TWO, THREE), (THREE, TWO)}
    world.refuse_to_say = False
    world.link(ONE, TWO)
    world.link(ONE, THREE)
    world.run()
    assert told.answers == [None]


@pytest.mark.parametrize(("away", "room_bytes"), [(False, ROOM_BYTES), (True, ROOM_BYTES // 4)])
def test_a_node_does_not_hold_more_than_its_room(away: bool, room_bytes: int) -> None:
    """Of what comes from files a part of it, since producers wait behind that."""
    world = Cluster()
    if away:
        world.cut(ONE, TWO)
    large = bytes(700_000)
    for _ in range(60):
        world.nodes[ONE].append(large)
        if away:
            world.run()
    two = world.nodes[TWO]
    highest, most = 0, 0
    if away:
        world.link(ONE, TWO)
    while world.step():
        most = max(most, sum(len(raw) for _, to, raw in world.sent if to == TWO))
        highest = max(highest, two.memory + most)
    assert room_bytes // 2 < highest <= room_bytes + FRAME_BYTES + 100_000
    assert two.log.log_end == 60


def closed_at(one: Process) -> AppendTimeMs:
    """Ask what is closed of a node's partition, as a reader does."""
    now = one.append_clock.read(one.clock.monotonic_ms(), one.clock.wall_ms())
    if one.append_clock.needs_reserve(now):
        one.directory.reserve_clock(one.append_clock.reserve_until(now))
        one.writer.ask()
    return one.one.closed_time(one.append_clock.closed_time(now))


def beats(world: Cluster, ms: int) -> int:
    """Let time pass; return how often node 1 told node 2 what its clock reads."""
    world.seen.clear()
    world.pass_time(ms)
    told = [(one, to) for one, to, frame in world.seen if frame.type is FrameType.BEAT]
    return told.count((ONE, TWO))


def test_a_clock_that_nobody_asks_for_is_told_seldom() -> None:
    world = Cluster()
    one, calm_ms = world.nodes[ONE], CALM_BEATS * BEAT_MS
    one.append(b"a")
    world.pass_time(60_000)
    assert beats(world, 20 * calm_ms) == 20
    told = 0
    for _ in range(20):
        one.append(b"b")
        told += beats(world, calm_ms)
    assert 19 <= told <= 21
    world.pass_time(4 * calm_ms - BEAT_MS)
    promised, now = one.streams.promised(), world.clock.wall_ms()
    assert now - 2 * calm_ms <= promised[TWO] < now - BEAT_MS, "as of the last sign of life"
    world.run()
    assert promised[TWO] >= now - 10, "as of the question"
    assert beats(world, 4_000) == 4_000 // BEAT_MS
    world.pass_time(1_500)
    assert beats(world, 20 * calm_ms) == 20


def test_signs_of_life_come_often_enough_for_who_judges_by_them() -> None:
    world = Cluster(replica_lag_ms_max=1_000)
    world.pass_time(1_000)
    assert beats(world, 2_000) == 10
    world = Cluster(replica_lag_ms_max=100)
    world.pass_time(1_000)
    assert beats(world, 1_000) == 10


def test_closed_time_is_what_every_replica_in_sync_has_promised() -> None:
    world = Cluster()
    one = world.nodes[ONE]

    def closed() -> AppendTimeMs:
        return closed_at(one)

    world.pass_time(1_000)
    closed()
    world.pass_time(1_000)
    first = closed()
    assert first >= NOON + 1_500
    world.cut(ONE, THREE)
    world.refuse_proposals = True
    world.pass_time(1_000)
    assert closed() == first
    world.refuse_proposals = False
    world.pass_time(5_000)
    assert world.isr == {ONE, TWO}
    assert closed() > first
    for node in (TWO,):
        clock = world.nodes[node].append_clock
        assert clock.reserved_until >= closed()


def test_who_has_promised_a_time_stamps_nothing_below_it() -> None:
    world = Cluster()
    one, two = world.nodes[ONE], world.nodes[TWO]
    one.append_clock.not_below(AppendTimeMs(NOON + 40_000))
    one.append(b"ahead")
    closed_at(one)
    world.run()
    assert two.append_clock.reserved_until >= NOON + 40_000
    world.elect(TWO, ONE, TWO, THREE)
    world.run()
    two.append(b"behind")
    world.run()
    ahead, behind = two.times()
    assert ahead is not None and behind is not None
    assert behind >= ahead
    world.kill(TWO)
    again = world.start(TWO)
    read = again.append_clock.read(world.clock.monotonic_ms(), world.clock.wall_ms())
    assert read > NOON + 40_000


def test_a_frame_in_another_node_s_name_ends_the_link() -> None:
    world = Cluster()
    frame = parse(encode(PLACE, Leave(THREE, LeaderEpoch(1))), version=1)
    with pytest.raises(MalformedError, match="speaks as another"):
        world.nodes[ONE].streams.incoming(TWO, frame)
    frame = parse(encode_stream(Credit(1)), version=1)
    with pytest.raises(MalformedError, match="never taken"):
        world.nodes[ONE].streams.incoming(TWO, frame)


def test_a_follower_without_room_on_its_disk_asks_again_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Cluster()
    two = world.nodes[TWO]

    def full(size_bytes: int, *, into_reserve: bool = False) -> None:
        del size_bytes, into_reserve
        raise RequestError(ErrorCode.DISK_FULL, "full")

    with monkeypatch.context() as patched:
        patched.setattr(two.directory, "accepts", full)
        world.nodes[ONE].append(b"a")
        world.run()
        del world.seen[:]
        world.pass_time(3_000)
        asked = [to for _, to, frame in world.seen if frame.type is FrameType.OPEN]
        assert asked == [ONE] * len(asked)
        assert 2 <= len(asked) <= 4
        assert two.log.log_end == 0
    world.pass_time(2_000)
    assert two.stored() == world.nodes[ONE].stored()
    world.pass_time(1_000)
    assert world.isr == {ONE, TWO, THREE}


def test_a_dropped_partition_gives_its_room_back() -> None:
    world = Cluster()
    world.nodes[ONE].append(bytes(500_000))
    three = world.nodes[THREE]
    while three.log.log_end == 0:
        world.step()
    delta = MetadataDelta(deleted=(PLACE.topic,))
    three.partitions.apply(MetadataImage(), delta)
    del world.seen[:]
    world.run()
    credits = [frame for _, to, frame in world.seen if frame.type is FrameType.CREDIT and to == ONE]
    assert credits


def test_nothing_is_reported_before_what_was_told_closed_is_reserved() -> None:
    world = Cluster()
    world.cut(ONE, TWO)
    ahead = AppendTimeMs(NOON + 40_000)
    world.nodes[ONE].append_clock.not_below(ahead)
    world.nodes[ONE].append(b"a")
    two = world.nodes[TWO]
    world.link(ONE, TWO)
    del world.seen[:]
    reported = 0
    while world.step():
        if world.seen and world.seen[-1][0] == TWO and world.seen[-1][2].type is PROGRESS:
            reported += 1
            assert two.append_clock.reserved_until >= ahead
        elif not reported and two.log.log_end:
            # Its batches are written before the reservation is: hold that back as long as possible.
            assert all(raw[0] != PROGRESS for sender, _, raw in world.sent if sender == TWO) or (
                two.append_clock.reserved_until >= ahead
            )
    assert reported


def test_a_promise_ends_with_its_stream() -> None:
    world = Cluster()
    world.pass_time(500)
    promised = world.nodes[ONE].streams.promised()
    assert set(promised) == {TWO, THREE}
    world.cut(ONE, TWO)
    world.link(ONE, TWO)
    assert set(promised) == {THREE}


def test_who_is_registered_anew_while_it_runs_is_counted_again() -> None:
    world = Cluster()
    world.change(world.row._replace(isr=(ONE, THREE)))
    world.registered[TWO] = 9  # the cluster had forgotten it; its process goes on
    world.nodes[TWO].streams.registered(RegistrationEpoch(9))
    told = world.nodes[ONE].append(b"a")
    world.pass_time(1_000)
    assert world.isr == {ONE, TWO, THREE}
    assert told.answers == [None]


def test_a_leader_that_has_not_heard_of_the_partition_yet_is_asked_again_soon() -> None:
    world = Cluster()
    one, two = world.nodes[ONE], world.nodes[TWO]
    one.partitions.apply(MetadataImage(), MetadataDelta(deleted=(PLACE.topic,)))
    world.cut(ONE, TWO)
    world.link(ONE, TWO)  # it asks, and nobody knows what for
    world.run()
    one.partitions.apply(MetadataImage(), MetadataDelta(created=(world.topic,)))
    world.pass_time(200)
    one.append(b"a")
    world.run()
    assert two.log.log_end == 1


def test_a_follower_that_is_refused_in_the_middle_of_what_it_is_sent_asks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another reader's times took the place of those that its second read had loaded."""
    world = Cluster()
    one = world.nodes[ONE]
    world.kill(TWO)
    for _ in range(5):
        one.append(bytes(700_000))
        world.run()
    one.log.roll()
    world.pass_time(3_000)
    one.log.sync()
    one.writer.ask()
    world.run()
    came: list[int] = []

    def sent(read: FileRead, found: ReadResult, *, guesses: bool) -> Sent:
        came.append(found.first_offset)
        if len(came) == 2:
            read.segment.forget_rows()
        return finish(read, found, guesses=guesses)

    finish = FileRead.sent
    monkeypatch.setattr(FileRead, "sent", sent)
    one.log.segment_list[0].forget_rows()
    two = world.start(TWO)
    world.pass_time(300)
    assert came[:3] == [0, 1, 1], "the second one failed, and was asked for again"
    assert two.stored() == one.stored()
    assert world.isr == {ONE, TWO, THREE}


def test_room_comes_back_for_what_was_not_taken() -> None:
    world = Cluster()
    one, three = world.nodes[ONE], world.nodes[THREE]
    three.partitions.apply(MetadataImage(), MetadataDelta(deleted=(PLACE.topic,)))
    one.append(bytes(500_000))
    del world.seen[:]
    world.run()
    assert [frame.type for _, to, frame in world.seen if to == THREE] == [FrameType.BATCHES]
    credits = [
        sender for sender, to, frame in world.seen if frame.type is FrameType.CREDIT and to == ONE
    ]
    assert THREE in credits


@pytest.mark.parametrize("next_leader", [TWO, THREE])
def test_room_comes_back_for_what_is_written_after_the_leadership_has_moved(
    next_leader: NodeId,
) -> None:
    world = Cluster()
    one, three = world.nodes[ONE], world.nodes[THREE]
    three.slow = True
    one.append(bytes(700_000))
    world.run()
    assert three.log.log_end == 1 > three.log.written_end
    world.elect(next_leader, ONE, TWO, THREE)
    three.slow = False
    world.pass_time(1_000)
    assert three.log.written_end == 1
    assert one.streams._streams[THREE].sender.room_bytes == ROOM_BYTES


def test_who_takes_over_stamps_no_record_before_those_that_it_has() -> None:
    world = Cluster()
    one, two = world.nodes[ONE], world.nodes[TWO]
    ahead = one.append_clock.read(world.clock.monotonic_ms(), world.clock.wall_ms()) + 50
    one.append_clock.not_below(AppendTimeMs(ahead))
    one.append(b"stamped between two beats")
    world.run()
    world.elect(TWO, ONE, TWO, THREE)
    world.run()
    two.append(b"and at once another one")
    world.run()
    assert two.times() == [ahead, ahead]
    assert one.times() == two.times()
