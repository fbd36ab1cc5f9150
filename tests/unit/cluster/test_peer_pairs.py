"""Both links between two nodes begin and end together; nothing of an old pair is heard on a new."""

from cluster.shell.peer_pairs import PeerPairs
from model.ids import NodeId
from tests.peer_network import MemoryNetwork, Process, address_of, hello_of
from tests.peer_pair import ONE, TWO, Taken, beat


class Streams:
    """What is told of pairs; they come and go in turns."""

    def __init__(self, process: Process) -> None:
        self.told: list[str] = []
        self._up: set[NodeId] = set()
        self.pairs = PeerPairs(process.links, up=self._came, lost=self._went)

    def _came(self, node: NodeId) -> None:
        assert node not in self._up
        self._up.add(node)
        self.told.append(f"up {node}")
        assert self.pairs.say(node, [beat(len(self.told))]), "the first of the stream"

    def _went(self, node: NodeId) -> None:
        self._up.remove(node)
        self.told.append(f"lost {node}")
        assert not self.pairs.say(node, [beat(0)])

    def ended(self, node: NodeId) -> None:
        """End a pair from here."""
        self._up.remove(node)
        self.pairs.end(node)

    def taken(self) -> list[str]:
        told, self.told = self.told, []
        return told


def world() -> tuple[MemoryNetwork, list[Process], list[Streams]]:
    """Two nodes that have reached each other a while ago."""
    net = MemoryNetwork()
    processes = [Process(net, hello_of(1)), Process(net, hello_of(2))]
    streams = [Streams(process) for process in processes]
    processes[0].know(2)
    assert streams[0].told == streams[1].told == [], "one link is not two"
    processes[1].know(1)
    assert [one.taken() for one in streams] == [["up 2"], ["up 1"]]
    net.after(1_000)
    return net, processes, streams


def test_when_one_link_ends_so_does_the_other_and_both_begin_anew() -> None:
    net, (one, two), streams = world()
    taken = Taken(two.links)
    dialled_back = streams[0].pairs._pairs[TWO]
    link = one.links._nodes[TWO].link
    assert link is not None
    link.cut()
    net.after(0)
    net.after(100)
    assert streams[0].pairs._pairs[TWO] != dialled_back
    assert [one.taken() for one in streams] == [["lost 2", "up 2"], ["lost 1", "up 1"]]
    assert taken.numbers() == [2], "what was said when the pair began is heard once"
    net.after(5_000)
    assert [one.taken() for one in streams] == [[], []], "they come to rest"
    assert {end.host for end in net.ends} == {one.host, two.host} and len(net.ends) == 4


def test_a_pair_that_is_ended_here_is_told_there_alone() -> None:
    net, _, streams = world()
    streams[0].ended(TWO)
    net.after(100)
    assert [one.taken() for one in streams] == [["up 2"], ["lost 1", "up 1"]]
    net.after(5_000)
    assert [one.taken() for one in streams] == [[], []]


def test_both_ends_may_end_a_pair_at_once() -> None:
    net, _, streams = world()
    streams[0].ended(TWO)
    streams[1].ended(ONE)
    net.after(1_000)
    assert [one.told[-1] for one in streams] == ["up 2", "up 1"]
    before = [one.taken() for one in streams]
    net.after(5_000)
    assert [one.taken() for one in streams] == [[], []], before


def test_a_killed_node_is_lost_and_its_next_process_is_another_pair() -> None:
    net, (one, two), streams = world()
    two.kill()
    assert streams[0].taken() == ["lost 2"]
    again = Process(net, hello_of(2, incarnation=2))
    other = Streams(again)
    again.know(1)
    assert (streams[0].taken(), other.taken()) == (["up 2"], ["up 1"])
    assert one.links.heard_times == streams[0].pairs.heard_at()


def test_a_process_that_claims_the_id_of_another_is_no_half_of_its_pair() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    streams = Streams(one)
    Process(net, hello_of(2))
    one.know(2)
    clone = Process(net, hello_of(2, incarnation=9, directory=9), address=address_of(9))
    clone.know(1)
    assert streams.told == []


def test_nothing_is_said_on_half_a_pair() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    two = Process(net, hello_of(2))
    streams = Streams(one)
    one.know(2)
    net.after(100)
    assert one.links.peer(TWO) is not None
    assert not streams.pairs.say(TWO, [beat(1)])
    assert two.links.peer(ONE) is None


def test_a_clone_that_goes_takes_no_pair_with_it() -> None:
    net, _, streams = world()
    clone = Process(net, hello_of(2, incarnation=9, directory=9), address=address_of(9))
    clone.know(1)
    net.after(100)
    clone.kill()
    net.after(100)
    assert [one.taken() for one in streams] == [[], []]
