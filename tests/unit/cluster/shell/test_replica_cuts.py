"""Where logs part: what is cut, what is begun anew, and what never is."""

import pytest

from api.sim.disk import SimDisk
from logstore.batch import encode_batch
from logstore.producer_state import FRESH, WINDOW_BATCHES, Duplicate, Verdict
from model.ids import MonotonicMs, Offset, ProducerEpoch, ProducerId, Sequence
from model.record import NewRecord
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.replica_process import NOON, Process, Told

PRODUCER, EPOCH = ProducerId(9), ProducerEpoch(0)


def asked(process: Process, sequence: int) -> Verdict:
    """Return what a leader says to a producer's batch of one record."""
    process.one.check_leads()
    return process.log.producers.check(PRODUCER, EPOCH, Sequence(sequence), records=1)


def send(process: Process, *sequences: int) -> Told:
    """Append what an idempotent producer sends, as a leader does."""
    one, told = process.one, Told()
    now = process.append_clock.read(process.clock.monotonic_ms(), process.clock.wall_ms())
    for sequence in sequences:
        assert asked(process, sequence) == FRESH
        batch = bytearray(
            encode_batch(
                [NewRecord(NOON, None, b"%d" % sequence)],
                producer_id=PRODUCER,
                producer_epoch=EPOCH,
                base_sequence=sequence,
            )
        )
        process.memory += len(batch)
        one.log.append([batch], leader_epoch=one.leader_epoch, append_time=now)
        one.appended(one.log.log_end, now)
    one.committed_acks.park(one.log.log_end, MonotonicMs(1 << 40), told)
    process.writer.ask()
    return told


@pytest.mark.parametrize("meanwhile", [0, 1, 7])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_producer_goes_on_where_its_leader_was_cut_back_deep_and_leads_again(
    meanwhile: int, *, restarts: bool
) -> None:
    world = Cluster()
    one, two = world.nodes[ONE], world.nodes[TWO]
    send(one, *range(WINDOW_BATCHES + 2))
    world.run()
    world.pass_time(200)
    next_sequence: int = one.log.log_end
    for other in (TWO, THREE):
        world.cut(ONE, other)
    lost = 2 * WINDOW_BATCHES
    send(one, *range(next_sequence, next_sequence + lost))
    world.run()
    assert one.log.flushed_end == next_sequence + lost
    world.elect(TWO, TWO, THREE)
    world.run()
    send(two, *range(next_sequence, next_sequence + meanwhile))
    two.append(b"of nobody")  # the logs part here at the latest
    world.run()
    next_sequence += meanwhile
    for other in (TWO, THREE):
        world.link(ONE, other)
    world.pass_time(1_000)
    if restarts:
        world.kill(ONE)
        one = world.start(ONE)
        world.pass_time(1_000)
    assert one.stored() == two.stored()
    assert list(one.log.producers.items()) == list(two.log.producers.items())
    assert world.isr == {ONE, TWO, THREE}
    world.elect(ONE)
    world.run()
    for back in range(1, WINDOW_BATCHES + 1):
        repeated = asked(one, next_sequence - back)
        assert isinstance(repeated, Duplicate)
    told = send(one, next_sequence)
    world.run()
    world.pass_time(200)
    assert told.answers == [None]
    assert world.nodes[THREE].stored() == one.stored()


def test_a_producer_goes_on_where_its_leader_has_begun_anew_and_leads_again() -> None:
    world = Cluster()
    one = world.nodes[ONE]
    send(one, *range(WINDOW_BATCHES + 2))
    world.run()
    next_sequence = one.log.log_end
    world.kill(THREE)
    world.disks[THREE] = SimDisk()
    three = world.start(THREE)
    world.pass_time(1_000)
    three.one.replica.start_over()
    world.pass_time(1_000)
    assert list(three.log.producers.items()) == list(one.log.producers.items())
    world.elect(THREE, ONE, TWO, THREE)
    world.run()
    assert asked(three, next_sequence) == FRESH


def test_what_parts_above_a_trimmed_beginning_is_cut_there_and_not_begun_anew() -> None:
    world = Cluster()
    one, two = world.nodes[ONE], world.nodes[TWO]
    for number in range(3):
        one.append(b"%d" % number)
    world.run()
    world.pass_time(100)
    for other in (TWO, THREE):
        world.cut(ONE, other)
    one.append(b"only here")
    world.run()
    two.log.trim(Offset(3))
    world.elect(TWO, TWO, THREE)
    world.run()
    two.append(b"follows")
    world.run()
    world.link(ONE, TWO)
    world.pass_time(1_000)
    assert one.halts == []
    assert one.stored() == two.stored()
    assert (one.log.log_start, one.log.log_end) == (3, 4)


def test_a_follower_opens_again_only_once_its_cut_is_durable() -> None:
    world = Cluster()
    one = world.nodes[ONE]
    one.append(b"common")
    world.run()
    for other in (TWO, THREE):
        world.cut(ONE, other)
    one.slow = True
    one.append(b"on its way to the disk when the epoch ends")
    world.run()
    one.append(b"not even that")
    world.elect(TWO, TWO, THREE)
    world.link(ONE, TWO)
    world.run()
    assert (one.log.cut, one.log.log_end) == (1, 1)
    one.slow = False
    world.nodes[TWO].append(b"kept")
    world.run()
    assert one.stored() == world.nodes[TWO].stored()
    assert one.memory == 0


def test_a_log_that_is_begun_anew_leads_only_once_it_is_there() -> None:
    world = Cluster()
    one = world.nodes[ONE]
    one.append(b"old")
    world.run()
    world.kill(THREE)
    for number in range(20):
        one.append(b"%d" % number)
        world.run()
    world.pass_time(5_000)
    one.log.roll()
    one.append(b"new")
    world.run()
    one.log.trim(Offset(21))
    three = world.start(THREE)
    three.slow = True
    world.run()
    assert (three.log.log_start, three.log.log_end) == (21, 21)
    world.elect(THREE, THREE, lossy=True)  # what it had may come back until its disk has the cut
    world.run()
    assert not three.one.leads
    three.slow = False
    world.run()
    assert three.one.leads
    assert three.log.upkeep.exists


def test_a_lossy_election_takes_back_what_was_committed() -> None:
    world = Cluster()
    one = world.nodes[ONE]
    one.append(b"a", b"b")
    world.run()
    world.pass_time(500)
    assert world.nodes[THREE].one.high_watermark == 2
    world.kill(TWO)
    world.disks[TWO] = SimDisk()
    world.cut(ONE, THREE)
    world.elect(None)
    two = world.start(TWO)
    world.cut(ONE, TWO)
    world.cut(TWO, THREE)
    world.elect(TWO, TWO, lossy=True)
    world.run()
    world.link(TWO, THREE)
    world.run()
    three = world.nodes[THREE]
    assert (three.log.log_end, three.one.high_watermark, three.halts) == (0, 0, [])
    two.append(b"c")
    world.run()
    assert three.stored() == two.stored()


def test_without_a_lossy_election_nothing_committed_is_cut() -> None:
    world = Cluster()
    world.nodes[ONE].append(b"a", b"b")
    world.run()
    world.pass_time(500)
    world.kill(TWO)
    world.disks[TWO] = SimDisk()
    world.elect(None)
    world.start(TWO)
    world.elect(TWO, TWO)
    world.pass_time(1_000)
    three = world.nodes[THREE]
    assert three.log.log_end == 2
    assert len(three.halts) == 1
    assert "below what is committed" in three.halts[0]
