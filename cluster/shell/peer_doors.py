"""What all links of a node share: who it is, its secret, and the doors to time, chance and network.

Bounds of links stand here too. Links have a memory of their own: they are not held back while the
node is congested with what clients sent, since what relieves it is what followers say, and their
frames never wait for room that frames of clients have.

What links hold at most, for each node that is known: two read buffers of one frame, and for what
is written `ACCEPTED_BYTES_MAX` a link.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cluster.peer.handshake import FIRST_FRAME_BYTES_MAX
from cluster.peer.hello import NONCE_BYTES, Hello
from cluster.peer.table import FRAME_BYTES_MAX
from cluster.shell.peer_network import Network
from cluster.shell.peer_pace import AHEAD_BYTES_MAX
from cluster.shell.tick import Tick
from cluster.shell.wire import FrameConnection
from cluster.shell.wire_limits import Reader, WireLimits
from model.ports import Clock, Rand

KIB: Final = 1 << 10
MIB: Final = 1 << 20

ACCEPTED_BYTES_MAX: Final = 64 * MIB
"""Of one link: accepted and not yet with the kernel. Beyond it frames are dropped, which their
senders are told: what is not taken by then is too old to be worth holding."""
CALLS_LEAVE_BYTES: Final = 4 * MIB
"""Of these, what calls of clients leave to what nodes tell each other."""
UNPROVEN_MAX: Final = 64
"""Connections at once that have not proven themselves; others are hung up on (P54)."""
ASKS_MAX: Final = 10_000
"""Of one link: asked and not answered."""
HANDSHAKE_MS: Final = 3_000
"""From the connection to the proof."""
ATTEMPT_MS: Final = 1_000
"""From dialling to the connection."""
LINGER_MS: Final = 1_000
"""For the last words of a link that ends in good order."""
IDLE_MS: Final = 10_000
"""An incoming link on which nothing came for so long is dropped: whoever dials it pings it every
second."""
_READ_BUFFER_BYTES: Final = 64 * KIB
UNPROVEN_LIMITS: Final = WireLimits(
    frame_bytes_max=FIRST_FRAME_BYTES_MAX,
    read_buffer_bytes=_READ_BUFFER_BYTES,
    kept_buffer_bytes_max=_READ_BUFFER_BYTES,
    unwritten_bytes_max=MIB,
)
PROVEN_LIMITS: Final = WireLimits(
    frame_bytes_max=FRAME_BYTES_MAX,
    read_buffer_bytes=_READ_BUFFER_BYTES,
    kept_buffer_bytes_max=4 * MIB,
    unwritten_bytes_max=MIB + 2 * AHEAD_BYTES_MAX,  # of what is urgent 1 MiB, beside bulk
)


class PeerMemory:
    """Counts what links hold, and never asks them to wait."""

    __slots__ = ("taken_bytes",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self.taken_bytes = 0

    @property
    def congested(self) -> bool:
        """Never: see the module."""
        return False

    def take(self, size_bytes: int) -> None:
        """Count bytes that are held from now on."""
        self.taken_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count bytes that were let go."""
        self.taken_bytes -= size_bytes
        assert self.taken_bytes >= 0, "MEMORY_NEVER_NEGATIVE"

    def when_relieved(self, call: Callable[[], None]) -> None:
        """Call at once: there is nothing to wait for."""
        call()

    def forget(self, call: Callable[[], None]) -> None:
        """Nothing is remembered."""

    # As room for long frames.

    @property
    def contended(self) -> bool:
        """Never: nobody waits."""
        return False

    def reserve(self, reader: Reader, size_bytes: int) -> bool:
        """Count a frame that is about to be read; there is room for it."""
        del reader
        self.take(size_bytes)
        return True

    def vacate(self, reader: Reader, size_bytes: int) -> None:
        """Count it no more."""
        del reader
        self.give_back(size_bytes)

    def leave(self, reader: Reader) -> None:
        """Nobody waits."""


class OpenLinks:
    """Connections that stand, until their last byte has left or was given up."""

    __slots__ = ("_empty", "_links")

    def __init__(self) -> None:
        """Begin with none."""
        self._links: dict[FrameConnection, None] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._links)

    def add(self, link: FrameConnection) -> None:
        """One stands."""
        self._links[link] = None
        self._empty.clear()

    def discard(self, link: FrameConnection) -> None:
        """One is gone."""
        self._links.pop(link, None)
        if not self._links:
            self._empty.set()

    def abort(self) -> None:
        """Give up what has not left."""
        for link in list(self._links):
            link.abort()

    async def empty(self) -> None:
        """Return once there is none."""
        await self._empty.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDoors:
    """See the module. The nonce of `me` is made anew for every link."""

    me: Hello
    secret: bytes
    """The same at every node of the cluster."""
    clock: Clock
    rand: Rand
    """Nonces come from it: nobody may be able to guess them."""
    tick: Tick
    network: Network
    memory: PeerMemory = field(default_factory=PeerMemory)
    open_links: OpenLinks = field(default_factory=OpenLinks)

    def hello(self) -> Hello:
        """Return what this node says of itself on one more link."""
        return self.me._replace(nonce=self.rand.randbytes(NONCE_BYTES))
