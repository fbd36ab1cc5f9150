"""What the controller's shell works with on every node, and waiting by the node's own clock."""

from asyncio import Future, get_running_loop
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from cluster.peer.hello import Hello
from cluster.peer.table import Frame
from cluster.settings import ClusterSettings
from cluster.shell.peer_asks import Encode
from cluster.shell.peer_network import Address
from cluster.shell.raft_quorum import RaftQuorum
from model.ids import AppendTimeMs, MonotonicMs, NodeId, RegistrationEpoch
from model.ports import Clock, Spawn

PEER_LISTENER: Final = "peer"
"""Under this name a node's registration says where other nodes reach it."""


class Note(Protocol):
    """Takes note of an event for operators."""

    def __call__(self, event: str, /, **fields: str | int) -> None:
        """Log it."""
        ...


class ControllerLinks(Protocol):
    """What the controller's shell needs of `cluster.shell.peer_links.PeerLinks`."""

    def know(self, addresses: Mapping[NodeId, Address]) -> None:
        """Reach these nodes and no others."""
        ...

    def end(self, node: NodeId) -> None:
        """End both links to a node at once, and make this node's anew."""
        ...

    def peer(self, node: NodeId) -> Hello | None:
        """Return whom the link that is up has reached."""
        ...

    def reached(self, node: NodeId) -> Address | None:
        """Return the address at which that link was dialled; None: none is up."""
        ...

    def refused_since(self, node: NodeId) -> MonotonicMs | None:
        """Return since when a node's host has refused every attempt."""
        ...

    async def ask(self, node: NodeId, encode: Encode, *, timeout_ms: int) -> Frame:
        """Return the answer of a node, or raise its refusal."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerDoors:
    """See the module."""

    me: Hello
    """The very one that links say: node, directory, incarnation and cluster."""
    clock: Clock
    spawn: Spawn
    quorum: RaftQuorum
    links: ControllerLinks
    append_time: Callable[[], AppendTimeMs]
    """What this node's append clock reads."""
    settings: ClusterSettings
    note: Note
    remember: Callable[[RegistrationEpoch], Awaitable[None]]
    """Write a registration epoch into the directory's identity, durably; raises what the disk
    does."""
    replaced: Callable[[str], None]
    """A later process has this node's id: end with exit code 12; the text says why."""


async def pause(clock: Clock, ms: int) -> None:
    """Return after so many milliseconds of that clock."""
    woken: Future[None] = get_running_loop().create_future()
    cancel = clock.call_at(MonotonicMs(clock.monotonic_ms() + ms), partial(_wake, woken))
    try:
        await woken
    finally:
        cancel()


class Bell:
    """Rung when there is something to do, heard by the one task that does it. Loop only."""

    __slots__ = ("_future", "_rung")

    def __init__(self) -> None:
        """Silent."""
        self._rung = False
        self._future: Future[None] | None = None

    def ring(self) -> None:
        """Let who waits go on; if nobody does, the next one does not wait."""
        self._rung = True
        if self._future is not None:
            _wake(self._future)

    async def rung(self) -> None:
        """Return once it was rung since the last time."""
        if not self._rung:
            self._future = get_running_loop().create_future()
            try:
                await self._future
            finally:
                self._future = None
        self._rung = False


def _wake(future: "Future[None]") -> None:
    if not future.done():
        future.set_result(None)
