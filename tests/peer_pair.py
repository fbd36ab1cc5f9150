"""Two nodes that know each other, over memory; what comes to each, and what each asks."""

import asyncio
from functools import partial

import pytest

from cluster.controller.bootstrap import Empty, Founder
from cluster.controller.request_frames import AskSeed
from cluster.controller.request_frames import encode as encode_request
from cluster.peer.hello import Hello
from cluster.peer.replica import Beat
from cluster.peer.replica_frames import encode_stream
from cluster.peer.table import Family, Frame, FrameType, Manner
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_links import PeerLinks
from model.errors import RequestError
from model.ids import AppendTimeMs, NodeId
from tests.peer_network import (
    MemoryNetwork,
    Process,
    hello_of,
)

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
ASK = partial(encode_request, AskSeed())
EMPTY = Empty("tide", Founder(TWO, bytes(16)))


def beat(number: int) -> bytes:
    return encode_stream(Beat(AppendTimeMs(number)))


class Taken:
    """Notes what comes of a family; answers are the test's to give."""

    def __init__(self, links: PeerLinks, *families: Family) -> None:
        self.frames: list[tuple[NodeId, FrameType, bytes]] = []
        self.asked: list[tuple[int, Answer]] = []
        for family in families or (Family.REPLICA, Family.CONTROLLER):
            links.route(family, self)

    def __call__(self, peer: Hello, frame: Frame, answer: Answer | None) -> None:
        self.frames.append((peer.node, frame.type, bytes(frame.body)))
        assert (answer is None) is (frame.row.manner is Manner.SAYS)
        if answer is not None:
            self.asked.append((frame.correlation, answer))

    def numbers(self) -> list[int]:
        """Return what beats said, in the order in which they came."""
        return [int.from_bytes(body, "big") for _, kind, body in self.frames]


def pair() -> tuple[MemoryNetwork, Process, Process]:
    """Two nodes that know each other; what was told so far is not of interest."""
    net = MemoryNetwork()
    one, two = Process(net, hello_of(1)), Process(net, hello_of(2))
    one.know(2)
    two.know(1)
    one.seen.taken()
    two.seen.taken()
    return net, one, two


async def asking(process: Process, node: NodeId, *, timeout_ms: int = 500) -> asyncio.Task[Frame]:
    """Return an ask that is under way and has not left yet."""
    task = asyncio.ensure_future(process.links.ask(node, ASK, timeout_ms=timeout_ms))
    await asyncio.sleep(0)
    return task


async def refusal_of(task: asyncio.Task[Frame]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await task
    return caught.value
