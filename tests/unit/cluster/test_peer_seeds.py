"""The beginning and the end of a node: addresses without a name, and last words."""

import asyncio

from cluster.controller.answer_frames import encode as encode_answer
from cluster.peer.table import FrameType
from cluster.shell.peer_network import Address
from model.errors import ErrorCode
from tests.peer_network import (
    MemoryNetwork,
    Process,
    address_of,
    hello_of,
)
from tests.peer_pair import ASK, EMPTY, TWO, Taken, beat, pair, refusal_of


async def test_a_seed_is_reached_asked_and_kept_as_the_node_that_it_is() -> None:
    net = MemoryNetwork()
    one, two = Process(net, hello_of(1)), Process(net, hello_of(2))
    taken = Taken(two.links)
    one.links.dial_seed(address_of(2))
    assert one.links.seed_peer(address_of(2)) is None
    net.run()
    assert one.seen.taken() == ["seed n2:7000 is 2"]
    task = asyncio.ensure_future(one.links.ask_seed(address_of(2), ASK, timeout_ms=500))
    await asyncio.sleep(0)
    net.run()
    correlation, answer = taken.asked[0]
    answer(encode_answer(EMPTY, correlation=correlation))
    net.run()
    assert (await task).type is FrameType.SEED_ANSWER
    one.know(2)
    assert one.seen.taken() == ["up 2"]
    assert two.seen.taken() == ["came 1 #1"], "one link is enough"
    again = asyncio.ensure_future(one.links.ask_seed(address_of(2), ASK, timeout_ms=500))
    await asyncio.sleep(0)
    net.run()
    assert len(taken.asked) == 2
    one.links.forget_seed(address_of(2))
    net.run()
    assert one.links.say(TWO, beat(1)), "the link is the node's"
    two.kill()
    assert (await refusal_of(again)).code is ErrorCode.UPSTREAM_LOST
    assert sorted(one.seen.taken()) == ["lost 2 CLOSED"]
    net.after(1_000)
    assert one.links.refused_since(TWO) is not None, "the node is dialled again"


def test_a_seed_that_reaches_a_known_node_leaves_one_link() -> None:
    net, one, two = pair()
    alias = Address("alias", 7_000)
    net.aliases[alias] = address_of(2)
    net.after(1_000)
    one.links.dial_seed(alias)
    net.run()
    lost, *others = one.seen.taken()
    assert lost.startswith("lost 2 ")
    assert others == ["up 2", "seed alias:7000 is 2"]
    assert two.seen.taken() == ["went 1 #1 REPLACED", "came 1 #2"]
    net.after(5_000)
    assert one.seen.taken() == []
    assert len([end for end in net.ends if end.host is one.host]) == 2, "one each way"


def test_a_node_may_find_itself_among_its_seeds() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    one.links.dial_seed(address_of(1))
    one.links.dial_seed(address_of(2))
    net.run()
    assert one.seen.taken() == ["seed n1:7000 is 1"]
    peer = one.links.seed_peer(address_of(1))
    assert peer is not None and peer.incarnation == one.me.incarnation
    one.links.forget_seed(address_of(1))
    one.links.forget_seed(address_of(2))
    net.after(2_000)
    assert one.seen.taken() == []
    assert net.ends == []


async def test_what_was_said_leaves_before_the_node_stops() -> None:
    net, one, two = pair()
    taken = Taken(two.links)
    assert one.links.say(TWO, beat(7))
    stopping = asyncio.ensure_future(one.links.stop(grace_ms=1_000))
    await asyncio.sleep(0)
    net.run()
    await stopping
    assert taken.numbers() == [7]
    assert len(one.doors.open_links) == 0
    one.know(2)
    net.after(5_000)
    assert one.links.peer(TWO) is None
    assert one.doors.memory.taken_bytes == 0


async def test_a_node_that_reads_nothing_keeps_nobody_from_stopping() -> None:
    net, one, two = pair()
    two.host.stopped = True
    assert one.links.say(TWO, beat(7))
    stopping = asyncio.ensure_future(one.links.stop(grace_ms=500))
    await asyncio.sleep(0)
    net.after(499)
    await asyncio.sleep(0)
    assert not stopping.done()
    net.after(1)
    await asyncio.wait_for(stopping, 5)
