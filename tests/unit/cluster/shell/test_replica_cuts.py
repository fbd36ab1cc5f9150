"""Where logs part: what is cut, what is begun anew, and what never is."""

from api.sim.disk import SimDisk
from model.ids import Offset
from tests.replica_cluster import ONE, THREE, TWO, Cluster


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


def test_a_lossy_election_takes_back_what_was_committed() -> None:
    world = Cluster()
    one = world.nodes[ONE]
    one.append(b"a", b"b")
    world.run()
    world.pass_time(100)
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
    world.pass_time(100)
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
