"""Both links between two nodes as one thing, which begins and ends as a whole.

A replica stream needs both: what one node sends and what the other says of it go over different
links. So a pair is up once this node has reached another and that other process has reached this
one; when either link ends, the other one is ended too. Nothing that was said before arrives behind
the next pair's beginning, at neither end: both are made anew.
"""

from collections.abc import Callable, Mapping, Sequence

from cluster.peer.hello import Hello
from cluster.shell.peer_links import LinkEvents, PeerLinks
from cluster.shell.peer_loss import Loss
from cluster.shell.wire import Buffer
from model.ids import MonotonicMs, NodeId


class PeerPairs(LinkEvents):
    """See the module. It is `cluster.shell.replica_port.ReplicaLinks`. Loop only."""

    def __init__(
        self, links: PeerLinks, *, up: Callable[[NodeId], None], lost: Callable[[NodeId], None]
    ) -> None:
        """Tell of pairs as they come and go, in turns."""
        self._links = links
        self._tell_up = up
        self._tell_lost = lost
        self._dialled: dict[NodeId, Hello] = {}
        self._incoming: dict[int, Hello] = {}
        self._pairs: dict[NodeId, int] = {}
        """Number of the incoming link that belongs to each pair which is up."""
        links.subscribe(self)

    def say(self, node: NodeId, parts: Sequence[Buffer]) -> bool:
        """Send a frame if the pair is up; see `PeerLinks.say`."""
        return node in self._pairs and self._links.say(node, parts)

    def end(self, node: NodeId) -> None:
        """End both links and make them anew; `lost` is not called for it."""
        self._pairs.pop(node, None)
        self._links.end(node)

    def heard_at(self) -> Mapping[NodeId, MonotonicMs]:
        """Return when something came from each node last, on any link."""
        return self._links.heard_times

    # cluster.shell.peer_links.LinkEvents

    def up(self, node: NodeId, peer: Hello) -> None:
        """One of the two is there."""
        self._dialled[node] = peer
        self._form(node)

    def lost(self, node: NodeId, loss: Loss) -> None:
        """End the other one."""
        del self._dialled[node]
        self._part(node)

    def came(self, peer: Hello, number: int) -> None:
        """The other is there."""
        self._incoming[number] = peer
        self._form(peer.node)

    def went(self, peer: Hello, number: int, loss: Loss) -> None:
        """End the one that was dialled, if they belong together."""
        del self._incoming[number]
        if self._pairs.get(peer.node) == number:
            self._part(peer.node)

    def _form(self, node: NodeId) -> None:
        """Pair what leads to one process: another one may claim the same id."""
        reached = self._dialled.get(node)
        if reached is None or node in self._pairs:
            return
        for number, peer in self._incoming.items():
            if peer.node == node and peer.incarnation == reached.incarnation:
                self._pairs[node] = number
                self._tell_up(node)
                return

    def _part(self, node: NodeId) -> None:
        if self._pairs.pop(node, None) is not None:
            self._tell_lost(node)
            self._links.end(node)
