"""Links over real sockets on loopback: names, refusals, frames of every size, a death."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from struct import pack

import pytest

from api.node.system_clock import SystemClock
from api.node.system_rand import SystemRand
from api.node.system_spawn import SystemSpawn
from cluster.controller.answer_frames import encode as encode_answer
from cluster.controller.bootstrap import Empty, Founder
from cluster.controller.request_frames import AskSeed
from cluster.controller.request_frames import encode as encode_request
from cluster.peer.hello import Hello
from cluster.peer.table import HEAD, Family, Frame, FrameType
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_doors import PeerDoors
from cluster.shell.peer_links import LinkEvents, PeerLinks
from cluster.shell.peer_loss import Loss
from cluster.shell.peer_network import Address, SocketNetwork
from cluster.shell.peer_silence import SILENT_MS
from cluster.shell.tick import Tick
from model.ids import NodeId
from tests.peer_network import SECRET, hello_of

ONE, TWO = NodeId(1), NodeId(2)
WAIT_S = 30
"""Nothing takes so long: a test that waits for it has failed."""


class Told(LinkEvents):
    """Sets an event for each thing that a test waits for."""

    def __init__(self) -> None:
        self.is_up = asyncio.Event()
        self.is_lost = asyncio.Event()
        self.is_refused = asyncio.Event()
        self.how: Loss | None = None

    def up(self, node: NodeId, peer: Hello) -> None:
        self.is_up.set()

    def lost(self, node: NodeId, loss: Loss) -> None:
        self.how = loss
        self.is_lost.set()

    def refused(self, node: NodeId) -> None:
        self.is_refused.set()


async def wait(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), WAIT_S)


@asynccontextmanager
async def links_of(*numbers: int) -> AsyncIterator[list[tuple[PeerLinks, Address, Told]]]:
    """Return nodes that listen on loopback and do not know each other yet."""
    failures: list[BaseException] = []
    spawn = SystemSpawn(failures.append)
    made = []
    for number in numbers:
        doors = PeerDoors(
            me=hello_of(number),
            secret=SECRET,
            clock=SystemClock(asyncio.get_running_loop()),
            rand=SystemRand(),
            tick=Tick(asyncio.get_running_loop().call_soon),
            network=SocketNetwork(spawn),
        )
        links, told = PeerLinks(doors), Told()
        links.subscribe(told)
        made.append((links, links.listen("127.0.0.1", 0, spawn), told))
    try:
        yield made
    finally:
        for links, _, _ in made:
            await links.stop(grace_ms=1_000)
        await spawn.close()
    assert failures == []


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def collect(into: list[bytes], until: int, done: asyncio.Event) -> Callable[..., None]:
    def take(peer: Hello, frame: Frame, answer: Answer | None) -> None:
        into.append(bytes(frame.body))
        if len(into) == until:
            done.set()

    return take


async def test_frames_of_every_size_arrive_in_their_order_by_name() -> None:
    sizes = [72, 100, 64 << 10, (64 << 10) + 1, 3 << 20, 72, 20 << 20, 80]
    bodies = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    taken: list[bytes] = []
    complete = asyncio.Event()
    async with links_of(1, 2) as ((one, _, told), (two, there, _)):
        two.route(Family.REPLICA, collect(taken, len(bodies), complete))
        one.know({TWO: Address("localhost", there.port)})
        await wait(told.is_up)
        head = HEAD.pack(FrameType.BATCHES, 0, 0)
        assert all(one.say(TWO, [head, body]) for body in bodies)
        await wait(complete)
    assert taken == bodies


async def test_a_question_is_answered_both_ways() -> None:
    def answer_empty(peer: Hello, frame: Frame, answer: Answer | None) -> None:
        assert answer is not None
        empty = Empty("tide", Founder(peer.node, bytes(16)))
        answer(encode_answer(empty, correlation=frame.correlation))

    ask = partial(encode_request, AskSeed())
    async with links_of(1, 2) as nodes:
        (one, here, at_one), (two, there, at_two) = nodes
        for links in (one, two):
            links.route(Family.CONTROLLER, answer_empty)
        one.know({TWO: there})
        two.know({ONE: here})
        await wait(at_one.is_up)
        await wait(at_two.is_up)
        answers = await asyncio.gather(
            one.ask(TWO, ask, timeout_ms=WAIT_S * 1_000),
            two.ask(ONE, ask, timeout_ms=WAIT_S * 1_000),
        )
    assert [answer.type for answer in answers] == [FrameType.SEED_ANSWER] * 2


async def test_a_port_without_a_listener_refuses_by_address_and_by_name() -> None:
    for host in ("127.0.0.1", "localhost"):
        async with links_of(1) as ((one, _, told),):
            one.know({TWO: Address(host, free_port())})
            await wait(told.is_refused)
            assert one.refused_since(TWO) is not None


@asynccontextmanager
async def network() -> AsyncIterator[SocketNetwork]:
    """Return a way to other nodes whose attempts must not fail unheard."""
    failures: list[BaseException] = []
    spawn = SystemSpawn(failures.append)
    try:
        yield SocketNetwork(spawn)
    finally:
        await spawn.close()
    assert failures == []


async def failure_of(reached: SocketNetwork, address: Address) -> OSError:
    """Return why an address cannot be reached."""
    failed: asyncio.Future[OSError] = asyncio.get_running_loop().create_future()
    reached.dial(address, asyncio.Protocol(), failed.set_result)
    return await asyncio.wait_for(failed, WAIT_S)


async def test_a_name_that_leads_nowhere_proves_nothing() -> None:
    async with network() as reached:
        nowhere = Address("no-such-host.invalid", 7_000)
        both = await asyncio.gather(failure_of(reached, nowhere), failure_of(reached, nowhere))
        assert not any(isinstance(error, ConnectionRefusedError) for error in both)
        refused = await failure_of(reached, Address("127.0.0.1", free_port()))
        assert isinstance(refused, ConnectionRefusedError)


async def test_an_attempt_that_is_given_up_says_nothing() -> None:
    said: list[OSError] = []
    async with network() as reached:
        nobody = Address("127.0.0.1", free_port())
        reached.dial(nobody, asyncio.Protocol(), said.append)()
        under_way = reached.dial(nobody, asyncio.Protocol(), said.append)
        await asyncio.sleep(0)
        under_way()
        assert isinstance(await failure_of(reached, nobody), ConnectionRefusedError)
    assert said == []


@pytest.mark.parametrize(("linger", "how"), [(None, Loss.CLOSED), ((1, 0), Loss.RESET)])
async def test_an_end_is_told_from_a_reset_and_the_kernel_watches_acknowledgements(
    linger: tuple[int, int] | None, how: Loss
) -> None:
    async with links_of(1, 2) as ((one, _, told), (two, there, _)):
        one.know({TWO: there})
        await wait(told.is_up)
        (near,), (far,) = sockets_of(one), sockets_of(two)
        for end in (near, far):
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == SILENT_MS
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if linger is not None:  # with no time to linger, closing resets: RFC 9293, 3.9.1.5
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", *linger))
        told.is_up.clear()
        two._doors.open_links.abort()
        await wait(told.is_lost)
        assert told.how is how
        await wait(told.is_up)


def sockets_of(links: PeerLinks) -> list[socket.socket]:
    """Return the sockets of the connections that stand."""
    transports = [link._transport for link in links._doors.open_links._links]
    return [one.get_extra_info("socket") for one in transports if one is not None]
