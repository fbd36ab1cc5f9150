"""Links of whole nodes: who is dialled, what arrives, what is told when one is lost."""

import asyncio
from errno import ETIMEDOUT
from itertools import pairwise
from struct import pack

import pytest

from cluster.peer.hello import Hello
from cluster.peer.replica import BeatAnswer
from cluster.peer.replica_frames import encode_stream
from cluster.peer.table import HEAD, Family, Frame, FrameType
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_dialler import WAIT_MS_MAX
from cluster.shell.peer_doors import (
    ACCEPTED_BYTES_MAX,
    ATTEMPT_MS,
    HANDSHAKE_MS,
    IDLE_MS,
)
from cluster.shell.peer_links import NEVER
from cluster.shell.peer_network import Address
from cluster.shell.peer_silence import LOOK_MS, SILENT_MS
from model.errors import MalformedError
from model.ids import AppendTimeMs, NodeId
from tests.peer_network import (
    MemoryNetwork,
    Process,
    address_of,
    hello_of,
)
from tests.peer_pair import ONE, THREE, TWO, Taken, beat, pair


def test_each_node_dials_the_other_and_knows_who_it_is() -> None:
    net = MemoryNetwork()
    one, two = Process(net, hello_of(1)), Process(net, hello_of(2))
    one.know(1, 2)
    assert one.seen.taken() == ["up 2"]
    assert two.seen.taken() == ["came 1 #1"]
    two.know(1)
    assert two.seen.taken() == ["up 1"]
    assert one.seen.taken() == ["came 2 #1"]
    assert [where for _, where in one.host.dials] == [address_of(2)], "it dialled itself"
    peer = one.links.peer(TWO)
    assert peer is not None and peer._replace(nonce=bytes(32)) == two.me
    assert one.links.peer(THREE) is None


def test_what_is_said_arrives_whole_in_order_and_in_one_write() -> None:
    net, one, two = pair()
    taken = Taken(two.links)
    end = next(end for end in net.ends if end.host is one.host and end.other.host is two.host)
    before = len(end.written)
    whole = [beat(number) for number in range(5)]
    assert one.links.say(TWO, whole[0])
    assert one.links.say(TWO, [whole[1][:6], memoryview(whole[1])[6:]])
    assert all(one.links.say(TWO, frame) for frame in whole[2:])
    assert taken.frames == []
    net.run()
    assert taken.numbers() == [0, 1, 2, 3, 4]
    assert {node for node, _, _ in taken.frames} == {ONE}
    assert max(len(e.written) for e in net.ends if e.host is one.host) <= before + 2


def test_nothing_is_said_where_no_link_is_up() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    assert not one.links.say(TWO, beat(1))
    one.know(2)
    assert not one.links.say(TWO, beat(1))
    two = Process(net, hello_of(2))
    taken = Taken(two.links)
    net.after(WAIT_MS_MAX)
    assert one.links.say(TWO, beat(2))
    net.run()
    assert taken.numbers() == [2]


def test_beyond_the_bound_frames_are_dropped_and_what_was_accepted_arrives() -> None:
    net, one, two = pair()
    taken = Taken(two.links)
    two.host.stopped = True
    chunk = HEAD.pack(FrameType.BATCHES, 0, 0) + bytes((16 << 20) - 2_000)
    accepted = 0
    while one.links.say(TWO, chunk):
        accepted += 1
        net.run()
        assert accepted * len(chunk) <= ACCEPTED_BYTES_MAX
    assert accepted == 4, "that many fit, with what parts have beside"
    two.host.stopped = False
    net.run()
    assert one.links.say(TWO, beat(1))
    net.run()
    assert len(taken.frames) == accepted + 1


def test_a_killed_process_is_noticed_on_both_links_and_refuses_from_then_on() -> None:
    net, one, two = pair()
    net.after(1_000)
    one.host.dials.clear()
    at = net.clock.monotonic_ms()
    two.kill(ConnectionResetError())
    assert sorted(one.seen.taken()) == ["lost 2 RESET", "went 2 #1 RESET"]
    assert one.links.refused_since(TWO) is None
    assert one.links.peer(TWO) is None
    net.after(400)
    assert one.seen.taken() == ["refused 2"] * 4
    assert [when - at for when, _ in one.host.dials] == [0, 50, 150, 350]
    assert one.links.refused_since(TWO) == at


@pytest.mark.parametrize("most", [False, True])
def test_the_wait_between_attempts_grows_to_its_bound(most: bool) -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1), most=most)
    one.know(2)
    net.after(5_000)
    times = [when for when, _ in one.host.dials]
    waits = [later - sooner for sooner, later in pairwise(times)]
    expected = [62, 125, 250, 500, 500] if most else [50, 100, 200, 400, 400]
    assert waits[:5] == expected
    assert max(waits) == (500 if most else 400)


def test_a_node_that_comes_back_is_dialled_when_it_comes() -> None:
    net, one, two = pair()
    net.after(1_000)
    two.kill()
    net.after(3_000)
    one.seen.taken()
    again = Process(net, hello_of(2, incarnation=2))
    again.know(1)
    assert one.seen.taken() == ["came 2 #2", "up 2"]
    assert again.seen.taken() == ["up 1", "came 1 #1"]
    peer = one.links.peer(TWO)
    assert peer is not None and peer.incarnation == again.me.incarnation


def test_a_link_that_ends_as_soon_as_it_is_up_is_not_dialled_again_at_once() -> None:
    net = MemoryNetwork()
    one, two = Process(net, hello_of(1)), Process(net, hello_of(2))
    two.links.route(Family.REPLICA, refuse)
    one.know(2)
    for _ in range(200):
        one.links.say(TWO, beat(1))
        net.after(10)
    assert 4 < len(one.host.dials) < 10
    assert one.seen.taken().count("lost 2 REFUSED") == len(one.host.dials)


def refuse(peer: Hello, frame: Frame, answer: Answer | None) -> None:
    raise MalformedError(frame.type.name, 6, "refused")


def test_what_is_not_refused_proves_no_death() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    one.know(2, 3)
    assert one.links.refused_since(TWO) is not None
    net.unknown.add(address_of(2))
    net.dark.add(address_of(3))
    net.after(WAIT_MS_MAX)
    assert one.links.refused_since(TWO) is None
    assert one.links.refused_since(THREE) is not None, "it refused, and is being dialled"
    net.after(ATTEMPT_MS)
    assert one.links.refused_since(THREE) is None
    assert one.links.refused_since(ONE) is None


def test_a_node_that_dials_this_one_is_not_dead_whatever_its_address_says() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    two = Process(net, hello_of(2), address=Address("elsewhere", 7_000))
    one.know(2)
    assert one.links.refused_since(TWO) is not None
    two.know(1)
    assert one.links.refused_since(TWO) is None
    two.kill()
    net.after(WAIT_MS_MAX)
    assert one.links.refused_since(TWO) is not None


def test_an_attempt_that_is_not_answered_ends_after_its_time() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    net.dark.add(address_of(2))
    one.know(2)
    net.after(ATTEMPT_MS + 50)
    assert [when - one.host.dials[0][0] for when, _ in one.host.dials] == [0, ATTEMPT_MS + 50]
    assert one.seen.taken() == []


def test_a_process_that_stands_still_is_lost_to_silence_and_found_again() -> None:
    net, one, two = pair()
    net.after(1_000)
    two.host.stopped = True
    net.after(SILENT_MS - 2 * LOOK_MS)
    assert one.seen.taken() == []
    net.after(4 * LOOK_MS)
    assert one.seen.taken() == ["lost 2 SILENT"]
    assert one.links.refused_since(TWO) is None
    net.after(IDLE_MS + HANDSHAKE_MS)
    assert one.seen.taken() == ["went 2 #1 SILENT"]


def test_two_quiet_nodes_keep_their_links() -> None:
    net, one, two = pair()
    net.after(3 * IDLE_MS)
    assert one.seen.taken() == two.seen.taken() == []
    assert net.clock.monotonic_ms() - one.links.heard_at(TWO) <= 1_000 + 2 * LOOK_MS
    assert one.links.heard_at(THREE) == NEVER


def test_the_newer_link_of_a_node_replaces_the_older_and_what_that_still_says() -> None:
    net, one, two = pair()
    taken = Taken(two.links)
    net.after(1_000)
    near = next(end for end in net.ends if end.host is one.host and end.protocol is link_of(one))
    far = near.other.protocol
    late = pack(">i", len(beat(1))) + beat(1)
    feed(far, late[:7])
    near.gone = True  # to one of the two ends alone: the cable was cut
    near.protocol.connection_lost(OSError(ETIMEDOUT, "timed out"))
    near.other.gone = True
    net.after(0)
    assert one.seen.taken() == ["lost 2 SILENT", "up 2"]
    assert two.seen.taken() == ["went 1 #1 REPLACED", "came 1 #2"]
    feed(far, late[7:])
    assert one.links.say(TWO, beat(2))
    net.run()
    assert taken.numbers() == [2]


def link_of(process: Process) -> object:
    """Return the link that a process has dialled to node 2."""
    return process.links._nodes[TWO].link


def feed(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    """Let a connection receive these bytes."""
    memoryview(protocol.get_buffer(-1))[: len(data)] = data
    protocol.buffer_updated(len(data))


def test_nodes_of_one_id_with_two_directories_are_both_heard() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    real, other = (
        Process(net, hello_of(2)),
        Process(net, hello_of(2, incarnation=9, directory=9), address=Address("clone", 7_000)),
    )
    real.know(1)
    other.know(1)
    assert one.seen.taken() == ["came 2 #1", "came 2 #2"]
    real.kill()
    assert one.links.listener.has(TWO)
    other.kill()
    assert not one.links.listener.has(TWO)


def test_a_node_that_is_not_known_any_more_is_left() -> None:
    net, one, two = pair()
    one.know()
    assert one.seen.taken() == ["lost 2 LEFT"]
    assert two.seen.taken() == ["went 1 #1 CLOSED"]
    net.after(5_000)
    assert len([1 for _, where in one.host.dials if where == address_of(2)]) == 1
    assert not one.links.say(TWO, beat(1))


def test_a_node_that_moved_is_dialled_where_it_is_now() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    there = Address("moved", 7_001)
    Process(net, hello_of(2), address=there)
    one.know(2)
    assert one.links.refused_since(TWO) is not None
    one.links.know({TWO: there})
    net.run()
    assert one.seen.taken()[-1] == "up 2"
    one.links.know({TWO: address_of(2)})
    net.run()
    assert one.links.peer(TWO) is not None, "a link that is up stays"


def test_another_node_at_the_address_another_cluster_another_secret() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    Process(net, hello_of(3), address=address_of(2))
    foreign = Process(net, hello_of(4)._replace(cluster_id="ebb"))
    guess = Process(net, hello_of(5), secret=b"a guess")
    one.links.know({NodeId(number): address_of(number) for number in (2, 4, 5)})
    net.run()
    assert sorted(one.seen.taken()) == [
        "barred n2:7000 IDENTITY here",
        "barred n4:7000 CLUSTER there",
        "barred n5:7000 PROOF there",
    ]
    assert foreign.seen.taken() == ["turned away CLUSTER here"]
    assert guess.seen.taken() == ["turned away PROOF here"]
    assert not any(one.links.say(NodeId(number), beat(1)) for number in (2, 4, 5))


def test_each_family_has_one_reader() -> None:
    _, one, _ = pair()
    Taken(one.links, Family.RAFT)
    with pytest.raises(AssertionError, match="PEER_ROUTE_ONCE"):
        Taken(one.links, Family.RAFT)


def test_beats_of_both_directions_do_not_meet() -> None:
    net, one, two = pair()
    of_one, of_two = Taken(one.links), Taken(two.links)
    for number in range(3):
        one.links.say(TWO, beat(number))
        two.links.say(ONE, encode_stream(BeatAnswer(AppendTimeMs(number + 10))))
        net.run()
    assert of_two.numbers() == [0, 1, 2]
    assert of_one.numbers() == [10, 11, 12]
