"""What links prove of other nodes' processes: which of them is no more (P51).

A process that dies resets its links, and then its host refuses: both together, for `refused_ms`,
are proof, and so is another process that answers at the address. Silence proves nothing, nor does
a reset alone. Kept on every node at all times: who becomes the active controller knows at once who
died with the one before.

Followers of the quorum's leader begin an election with the proof, and the active controller fences.
"""

from collections.abc import Callable

from cluster.peer.hello import Hello
from cluster.shell.controller_doors import ControllerLinks
from cluster.shell.peer_links import LinkEvents
from cluster.shell.peer_loss import Loss
from model.ids import MonotonicMs, NodeId
from model.ports import Clock


class DeathEvents:
    """What is told of other nodes; every method does nothing, for who needs only some."""

    def link_lost(self, node: NodeId) -> None:
        """Its kernel has ended the link."""

    def link_refused(self, node: NodeId, now: MonotonicMs) -> None:
        """Nobody listens there now."""

    def link_up(self, node: NodeId, incarnation: bytes) -> None:
        """A process answers there."""

    def dead(self, node: NodeId) -> None:
        """The process that was reached before is no more: told once."""


class Deaths(LinkEvents):
    """See the module. Loop only."""

    def __init__(self, clock: Clock, links: ControllerLinks, *, refused_ms: int) -> None:
        """Know of nobody. The owner subscribes it to the links."""
        self._clock = clock
        self._links = links
        self._refused_ms = refused_ms
        self._reached: dict[NodeId, bytes] = {}
        self._lost: dict[NodeId, bytes] = {}
        """Incarnations whose link was ended by their own end, and nothing has come since."""
        self._gone: dict[NodeId, bytes] = {}
        """Incarnations in whose place another one has answered."""
        self._told: set[NodeId] = set()
        self._listeners: list[DeathEvents] = []

    def subscribe(self, listener: DeathEvents) -> None:
        """Tell of what happens from now on."""
        self._listeners.append(listener)

    def say_again(self, node: NodeId, incarnation: bytes, listener: DeathEvents) -> None:
        """Tell a listener what is known of one process, as if it happened now."""
        if self._gone.get(node) == incarnation:
            listener.link_lost(node)
            listener.link_up(node, self._reached[node])
        elif self._lost.get(node) == incarnation:
            listener.link_lost(node)
            since = self._links.refused_since(node)
            if since is not None:
                listener.link_refused(node, since)
                listener.link_refused(node, self._clock.monotonic_ms())

    # cluster.shell.peer_links.LinkEvents

    def up(self, node: NodeId, peer: Hello) -> None:
        """A process answers; another one than before proves that the one before is gone."""
        before = self._lost.pop(node, None)
        self._reached[node] = peer.incarnation
        self._tell(lambda listener: listener.link_up(node, peer.incarnation))
        if before is not None and before != peer.incarnation:
            self._gone[node] = before
            self._dead(node)
        self._told.discard(node)

    def lost(self, node: NodeId, loss: Loss) -> None:
        """Only its own end's word counts."""
        if loss.ended_there and node in self._reached:
            self._ended(node)

    def went(self, peer: Hello, number: int, loss: Loss) -> None:
        """So it does on the link that the node has dialled; who pairs both ends the other here."""
        del number
        if loss.ended_there and self._reached.get(peer.node) == peer.incarnation:
            self._ended(peer.node)

    def _ended(self, node: NodeId) -> None:
        self._lost[node] = self._reached[node]
        self._tell(lambda listener: listener.link_lost(node))

    def refused(self, node: NodeId) -> None:
        """Nobody listens there."""
        since, now = self._links.refused_since(node), self._clock.monotonic_ms()
        if since is None or node not in self._lost:
            return
        self._tell(lambda listener: listener.link_refused(node, now))
        if now - since >= self._refused_ms:
            self._dead(node)

    def _dead(self, node: NodeId) -> None:
        if node not in self._told:
            self._told.add(node)
            self._tell(lambda listener: listener.dead(node))

    def _tell(self, what: Callable[[DeathEvents], None]) -> None:
        for listener in self._listeners:
            what(listener)
